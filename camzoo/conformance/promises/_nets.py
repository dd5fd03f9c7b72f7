"""Where promises are tried: a small network that takes images of any size, and a transformer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from camzoo.conformance.promises._promise import NotRun
from camzoo.conformance.stands import CHANNELS, CLASSES, COLOURS, TRANSFORMER, Stand


class Net(nn.Module):
    """Two blocks, one more convolution, pooling and a linear layer; nothing in it tells left from right but weights.

    Every part is a module that runs once, and every module is of a kind that the rules of LRP and DeepLift know.

    Args:
        colours: channels of the images.
        axes: 2 for images, 3 for volumes.
        inplace: whether rectifiers write over their input.
    """

    def __init__(self, colours: int = COLOURS, axes: int = 2, inplace: bool = False) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        norm: Any = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[axes]
        pool: Any = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[axes]
        self.stem = conv(colours, 6, 4, stride=2, padding=1)
        self.norm = norm(6)
        self.act = nn.ReLU(inplace)
        self.last = conv(6, CHANNELS, 4, stride=2, padding=1)
        self.last_act = nn.ReLU(inplace)
        self.tail = conv(CHANNELS, CHANNELS, 3, padding=1)
        self.tail_act = nn.ReLU(inplace)
        self.pool = pool(1)
        self.head = nn.Linear(CHANNELS, CLASSES)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.5, 0.5)
            self.norm.running_var.uniform_(0.5, 2.0)
            # Maps whose range is far above the epsilons of any library, and scores that are not all alike.
            self.last.weight.mul_(5)
            self.head.weight.mul_(5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The scores `(N, classes)`."""
        grid = self.last_act(self.last(self.act(self.norm(self.stem(images)))))
        scores: torch.Tensor = self.head(torch.flatten(self.pool(self.tail_act(self.tail(grid))), 1))
        return scores


@dataclass(frozen=True, slots=True)
class Grey(Stand):
    """A Stand whose images have one channel."""

    def images(self) -> torch.Tensor:
        """The images `(N, 1, H, W)` in float64."""
        return Stand.images(self)[:, :1].contiguous()


# A width of which a seventh, a half of that and a fourteenth are whole: windows and patches lie as in a mirror.
NET = Stand("net", Net, "last_act", (16, 28), (0, 4, 2))

HOMES = (NET, replace(NET, layer="last"), replace(NET, layer="tail_act"), TRANSFORMER)
"""A method is tried at the first of these that it does: LRP reads convolutions, CAM what is pooled, some attention."""


def rebuilt(stand: Stand, **how: Any) -> Stand:
    """The stand with its network built in another way.

    Raises:
        NotRun: it is the transformer, which has no such form.
    """
    if stand.build is not Net:
        raise NotRun(f"a network as {stand.name} has no form of this kind")
    return replace(stand, build=partial(Net, **how))


def grey(stand: Stand) -> Stand:
    """The stand with images of one channel."""
    one = rebuilt(stand, colours=1)
    return Grey(one.name, one.build, one.layer, one.size, one.classes)


def volumes(stand: Stand) -> Stand:
    """The stand with at most two small volumes `(D, H, W)` in the place of images: a volume has many patches."""
    return replace(rebuilt(stand, axes=3), size=(4, *(length // 2 for length in stand.size)), classes=stand.classes[:2])


def symmetric(stand: Stand) -> Stand:
    """The stand with weights that are their own mirror image: the network of a mirrored image runs mirrored."""
    return replace(stand, build=partial(_symmetric, stand))


def _symmetric(stand: Stand) -> nn.Module:
    model = stand.build()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 4:  # a kernel
                weight.copy_((weight + weight.flip(-1)) / 2)
            if name.endswith("pos_embedding"):  # the class token, and then a square of patches
                side = round((weight.shape[1] - 1) ** 0.5)
                square = weight[:, 1:].unflatten(1, (side, side))  # type: ignore[no-untyped-call]
                weight[:, 1:] = ((square + square.flip(2)) / 2).flatten(1, 2)
    return model
