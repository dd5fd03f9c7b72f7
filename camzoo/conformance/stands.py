"""The built-in problems: small networks in float64 whose every number can be followed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn
from torchvision.models import VisionTransformer

from camzoo.errors import RequestError, one_line
from camzoo.problems import pose
from camzoo.types import Problem

COLOURS, CLASSES, CHANNELS = 3, 5, 7


class Place(Protocol):
    """Where an implementation is asked for maps."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    def problem(self, dtype: torch.dtype = torch.float64) -> Problem:
        """The question, with a network that nobody else has."""
        ...

    def __hash__(self) -> int:
        """References are kept for each place."""
        ...


@dataclass(frozen=True, slots=True)
class Stand:
    """One network, one layer, some images, one class for each.

    Attributes:
        name: what to call it.
        build: makes the network; the same numbers each time.
        layer: dotted name of the layer that is explained.
        size: `(H, W)` of the images.
        classes: one for each image.
        integers: whether the images are made of small whole numbers.
    """

    name: str
    build: Callable[[], nn.Module] = field(repr=False)
    layer: str
    size: tuple[int, ...]
    classes: tuple[int, ...]
    integers: bool = False

    def images(self) -> torch.Tensor:
        """The images `(N, C, H, W)` in float64."""
        generator = torch.Generator().manual_seed(len(self.name))
        shape = (len(self.classes), COLOURS, *self.size)
        if self.integers:
            return torch.randint(-2, 3, shape, generator=generator).double()
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def problem(self, dtype: torch.dtype = torch.float64) -> Problem:
        """The question, with a network of its own."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.build().to(dtype).eval()
        return pose(model, self.images().to(dtype), self.layer, list(self.classes))


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """The user's own model and images.

    Attributes:
        name: what to call it.
        model: borrowed; every problem has a copy.
        images: `(N, C, H, W)`.
        layer: dotted name, or None for the rule's choice.
        target: a class for each image, or None for the top ones.
        seed: of every random number.
    """

    name: str
    model: nn.Module = field(repr=False)
    images: torch.Tensor = field(repr=False)
    layer: str | None = None
    target: list[int] | None = None
    seed: int = 0

    def problem(self, dtype: torch.dtype = torch.float64) -> Problem:
        """The question, with a copy of the model in a dtype.

        Raises:
            RequestError: the model cannot be copied, or the question does not fit it.
        """
        try:
            model = copy.deepcopy(self.model).to(dtype)
        except Exception as error:  # whatever a module's own copying raises
            raise RequestError(f"a check needs copies of the model, and copying it fails: {one_line(error)}") from error
        return pose(model, self.images.to(dtype), self.layer, self.target, self.seed)


class Pooled(nn.Sequential):
    """Convolution, ReLU, average pooling and one linear layer: every map of a class is known in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(COLOURS, CHANNELS, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(CHANNELS, CLASSES)
        with torch.no_grad():
            self.head.weight.mul_(30)


class Deep(nn.Sequential):
    """Two blocks, the layer, and after it a convolution, a rectifier and a linear layer over every cell.

    The gradient at the layer differs from cell to cell, so that methods which agree under average pooling part here.
    """

    def __init__(self, after: Callable[[], nn.Module], gain: float = 1.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(COLOURS, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU()
        self.last = nn.Conv2d(6, CHANNELS, 3, stride=2, padding=1)
        self.last_act = nn.ReLU()
        self.tail = nn.Conv2d(CHANNELS, 4, 3, padding=1)
        self.tail_act = after()
        self.flat = nn.Flatten()
        self.head = nn.LazyLinear(CLASSES)
        self.eval()(torch.zeros(1, COLOURS, 24, 32))
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            self.norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
            self.last.weight.mul_(10)  # maps whose range is far above the epsilons of any library
            # Scores far apart: where all are alike, a softmax over channels is flat, and hides a wrong mask.
            self.head.weight.mul_(gain)


class Straight(nn.Sequential):
    """No rectifier and no bias anywhere: the score is linear in the image, and its maps can be done on paper."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(COLOURS, CHANNELS, 2, stride=2, bias=False)
        self.flat = nn.Flatten()
        self.head = nn.Linear(CHANNELS * 4 * 6, CLASSES, bias=False)
        with torch.no_grad():
            self.head.weight.mul_(10)


class Whole(nn.Sequential):
    """Weights that are small whole numbers: in floating point every sum and product is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(COLOURS, CHANNELS, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.flat = nn.Flatten()
        self.head = nn.Linear(CHANNELS * 4 * 8, CLASSES)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randint(-2, 3, parameter.shape))


class MaxPooled(nn.Sequential):
    """Max pooling twice: its windows overlap before the first rectifier, and do not right after the second."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(COLOURS, 6, 3, padding=1)
        self.stem_pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.last = nn.Conv2d(6, CHANNELS, 3, padding=1)
        self.last_act = nn.ReLU()
        self.last_pool = nn.MaxPool2d(2)
        self.head = nn.Linear(CHANNELS * 4 * 6, CLASSES)
        with torch.no_grad():
            self.last.weight.mul_(10)
            self.head.weight.mul_(5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        *links, head = self  # no nn.Flatten, which some libraries have no rule for
        for link in links:
            images = link(images)
        return head(images.flatten(1))  # type: ignore[no-any-return]


def _vit() -> VisionTransformer:
    net = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES)
    nn.init.normal_(net.heads.head.weight)  # torchvision starts it at zero, so that no gradient would flow
    for norm in (module for module in net.modules() if isinstance(module, nn.LayerNorm)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)  # as it starts, all tokens have one energy, and EigenCAM no sign
    return net


# The grids have more cells than the layer has channels, so that weights can be told from a map.
POOLED = Stand("pooled", Pooled, "act", (12, 16), (1, 3))
RECTIFIED = Stand("rectified", lambda: Deep(nn.ReLU, gain=15), "last_act", (24, 32), (0, 4, 2))
SMOOTH = Stand("smooth", lambda: Deep(nn.Softplus, gain=15), "last_act", (24, 32), (4, 1))
STRAIGHT = Stand("straight", Straight, "conv", (8, 12), (2, 0))
WHOLE = Stand("whole", Whole, "act", (8, 16), (3, 1), integers=True)
TRANSFORMER = Stand("transformer", _vit, "encoder.layers.encoder_layer_1.ln_1", (32, 32), (1, 2))
MAX_POOLED = Stand("max-pooled", MaxPooled, "last", (16, 24), (2, 3))

STANDS: tuple[Stand, ...] = (POOLED, RECTIFIED, SMOOTH, STRAIGHT, WHOLE, TRANSFORMER, MAX_POOLED)
QUICK: tuple[Stand, ...] = (POOLED, RECTIFIED, TRANSFORMER)
"""Enough for every method to be tried at least once."""
