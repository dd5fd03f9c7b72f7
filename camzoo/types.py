"""The values that flow through camzoo: a Problem is asked, a Capture is taken, a Heatmap is given.

All are frozen, and none prints its contents: their `repr` shows shape, dtype and device.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import torch

from camzoo import grids
from camzoo.errors import NotInstalled, NotOffered
from camzoo.grids import Array


class Stage(enum.StrEnum):
    """How far a map has come since the formula. Only maps of one stage can be compared."""

    RAW = "raw"
    """What the formula gives: signed."""
    RECTIFIED = "rectified"
    """ReLU of RAW: zero or more."""
    NORMALISED = "normalised"
    """Min-max of RECTIFIED for each map: 0 to 1."""


class Resolution(enum.StrEnum):
    """On which grid a map lies."""

    LAYER = "layer"
    """The grid of the layer, `(h, w)` cells."""
    IMAGE = "image"
    """The pixels of the image, `(H, W)`."""


class Status(enum.StrEnum):
    """What became of one `method@backend`."""

    OK = "ok"
    READY = "ready"
    NOT_INSTALLED = "not installed"
    NOT_OFFERED = "not offered"
    FAILED = "failed"

    @classmethod
    def of(cls, error: Exception) -> Status:
        """What became of it where it raised."""
        if isinstance(error, NotInstalled):
            return cls.NOT_INSTALLED
        return cls.NOT_OFFERED if isinstance(error, NotOffered) else cls.FAILED


def describe(value: object) -> str:
    """A short text for a `repr`: shape, dtype and device of an array, never what is in it."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        device = getattr(value, "device", "cpu")
        return f"<{'x'.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')} {device}>"
    if isinstance(value, torch.nn.Module):
        return f"<{type(value).__name__}>"
    return repr(value)


class _Frozen:
    """Shares one `repr` among the values of this module."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (f"{f.name}={describe(getattr(self, f.name))}" for f in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


@runtime_checkable
class Target(Protocol):
    """What is explained: a function from the model's outputs `(N, ...)` to one score an image, `(N,)`."""

    def __call__(self, outputs: Any) -> torch.Tensor:
        """The scores `(N,)` of the outputs, differentiable."""
        ...


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Layout(_Frozen):
    """How a layer's output is laid out, and how it becomes a grid `(N, K, h, w)`.

    Attributes:
        kind: "channels-first" `(N, K, h, w)`, "channels-last" `(N, h, w, K)` or "tokens" `(N, prefix + h*w, K)`.
        shape: the grid, `(h, w)` or `(d, h, w)`.
        prefix: how many tokens stand before those of the grid (class token, registers).
    """

    kind: str
    shape: tuple[int, ...]
    prefix: int = 0

    def to_grid(self, output: torch.Tensor) -> torch.Tensor:
        """The output of the layer as a grid `(N, K, h, w)`: a view, nothing is copied."""
        if self.kind == "tokens":
            output = output[:, self.prefix :].unflatten(1, self.shape)  # type: ignore[no-untyped-call]
        return output if self.kind == "channels-first" else output.movedim(-1, 1)

    def from_grid(self, grid: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        """Grids `(M, K, h, w)` as the layer would give them; prefix tokens are those of its output `(1, ...)`."""
        if self.kind == "channels-first":
            return grid
        output = grid.movedim(1, -1)
        if self.kind == "tokens":
            prefix = original[:, : self.prefix].expand(len(grid), -1, -1)
            output = torch.cat([prefix, output.flatten(1, -2)], 1)
        return output

    def channels(self, output: torch.Tensor) -> int:
        """`K`, the number of channels in the layer's output."""
        return output.shape[1 if self.kind == "channels-first" else -1]

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        extra = f" after {self.prefix} prefix token{'s'[: self.prefix != 1]}" if self.prefix else ""
        return f"{size} {self.kind}{extra}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Problem(_Frozen):
    """The whole question, asked once, so that no library picks its own class or layer.

    Attributes:
        model: the classifier, borrowed.
        layer: dotted name of the layer whose output is explained.
        layout: how that output becomes a grid.
        images: what the model takes, `(N, C, H, W)`.
        target: the score that is explained, a function from outputs to `(N,)`.
        classes: the class of each image where the target is its logit, else None.
        seed: where every random number of a method comes from.
    """

    model: torch.nn.Module
    layer: str
    layout: Layout
    images: torch.Tensor
    target: Target
    classes: tuple[int, ...] | None = None
    seed: int = 0

    @property
    def layer_module(self) -> torch.nn.Module:
        """The layer itself."""
        return self.model.get_submodule(self.layer)

    @property
    def image_size(self) -> tuple[int, ...]:
        """`(H, W)` of the images, or `(D, H, W)`."""
        return tuple(self.images.shape[2:])

    def class_indices(self, library: str) -> list[int]:
        """The class of each image, for a library that explains class logits only.

        Raises:
            NotOffered: the target is something else than the logit of a class.
        """
        if self.classes is None:
            raise NotOffered(f"{library} explains the logit of a class only, not {self.target}")
        return list(self.classes)

    def require_channels_first(self, library: str) -> None:
        """Refuses a layer that a library cannot read.

        Raises:
            NotOffered: the layer's output is not `(N, K, h, w)`.
        """
        if self.layout.kind != "channels-first":
            raise NotOffered(f"{library} reads (N, K, h, w) outputs only; {self.layer} gives {self.layout}")


Make = Callable[[int, int], Array]
"""Makes the altered inputs or activations `start` to `stop` of a longer list, so that never all are in memory."""


class Ask(Protocol):
    """The model, as a method may ask it: for scores of altered inputs or activations of one image, and no more."""

    def score_inputs(self, image: int, make: Make, count: int) -> Array:
        """The explained score of image number `image` for each of `count` altered inputs `(C, H, W)`: `(count,)`."""
        ...

    def score_activations(self, image: int, make: Make, count: int) -> Array:
        """The same for altered activations `(K, h, w)` of the layer: only what comes after the layer is run."""
        ...

    def retake(
        self,
        needs: frozenset[Evidence],
        *,
        images: Array = None,
        slopes: Any = None,
    ) -> Capture:
        """The evidence again: from altered images `(N, C, H, W)`, or for another score.

        The other score is `sum_j slopes_nj y_nj`, a fixed linear function of the outputs `y (N, classes)`; the slopes
        are given, or a function that gives them from the outputs, the score that is explained and its class.
        """
        ...

    def retake_at(self, layers: Sequence[str], needs: frozenset[Evidence]) -> list[Capture]:
        """The evidence at several layers, all from one pass."""
        ...

    def stages(self) -> tuple[str, ...]:
        """The layers at which the model's grid changes its size, from shallow to deep: the last one of each size."""
        ...

    def head(self) -> Array | None:
        """The weights `(N, K)` of each image's class where scores are pooling plus one linear layer, else None."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How a method's many runs of the model are carried out; none of it changes what is computed, but for `amp`.

    Attributes:
        chunk: how many inputs to run at a time; None for as many as memory allows.
        amp: the dtype of autocast in these runs, None for the model's own precision.
        progress: called with the number of inputs done and their number.
    """

    chunk: int | None = None
    amp: torch.dtype | None = None
    progress: Callable[[int, int], None] | None = None


class Evidence(enum.StrEnum):
    """What a method needs beside the activations."""

    GRADIENTS = "gradients"
    HESSIAN = "hessian product"
    IMAGES = "images"
    INPUT_SCORES = "scores of altered inputs"
    ACTIVATION_SCORES = "scores of altered activations"
    RETAKE = "further captures"
    HEAD = "weights of a linear head"
    ATTENTION = "attention probabilities"
    ATTENTION_GRADIENTS = "attention gradients"
    GUIDED = "guided gradients"
    BIASES = "input and bias gradients"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Capture(_Frozen):
    """The evidence from which maps are computed: arrays of any library, detached.

    What a method has not declared as needed may be None.

    Attributes:
        activations: `A`, the layer's output as a grid, `(N, K, h, w)`.
        gradients: `G = dS/dA`, `(N, K, h, w)`.
        scores: the model's outputs, `(N, classes)`.
        explained: `S`, the score that is explained, `(N,)`.
        classes: the class of each image, `(N,)`, where the score is its logit.
        images: what the model was given, `(N, C, H, W)`.
        hessian_product: `d/dA <G, A>` with the second `A` held fixed, `(N, K, h, w)`.
        seed: where every random number of a method comes from.
        ask: the model, for methods that need more scores.
        attention: of each block the softmax probabilities `(N, heads, t, t)`.
        attention_gradients: `ds_l/d attention_l` of each block, `s_l` the score read off that block's tokens.
        prefix: how many tokens stand before those of the grid.
        guided: guided backpropagation to the images, `(N, C, H, W)`.
        input_gradients: `dS/dx`, `(N, C, H, W)`.
        bias_gradients: `b * dS/db` of each layer with biases and a grid, `(N, K_l, h_l, w_l)`.
    """

    activations: Array
    gradients: Array = None
    scores: Array = None
    explained: Array = None
    classes: Array = None
    images: Array = None
    hessian_product: Array = None
    seed: int = 0
    ask: Ask | None = None
    attention: tuple[Array, ...] = ()
    attention_gradients: tuple[Array, ...] = ()
    prefix: int = 0
    guided: Array = None
    input_gradients: Array = None
    bias_gradients: tuple[Array, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Heatmap(_Frozen):
    """Maps with their stage.

    Attributes:
        values: `(N, h, w)`, on the layer's grid or the image's pixels.
        stage: how far they have come since the formula.
        resolution: on which grid they lie.
        image_size: `(H, W)` of the images.
        method: canonical name of the method.
        backend: who computed it.
        notes: what the reader should know, such as a fallback that was taken.
    """

    values: Array
    stage: Stage
    resolution: Resolution
    image_size: tuple[int, ...]
    method: str
    backend: str
    notes: tuple[str, ...] = ()

    def at(self, stage: Stage | str) -> Heatmap:
        """The same maps at a later stage.

        Raises:
            NotOffered: the maps are past that stage already; what was cut off does not come back.
        """
        order = list(Stage)
        have, want = order.index(self.stage), order.index(Stage(stage))
        if want < have:
            raise NotOffered(f"{self.method}@{self.backend} gives {self.stage} maps, too late for {stage}")
        values = self.values
        for step in order[have + 1 : want + 1]:
            values = grids.rectify(values) if step is Stage.RECTIFIED else grids.normalise(values)
        return replace(self, values=values, stage=Stage(stage))

    def resize(self, size: tuple[int, ...] | None = None) -> Array:
        """The values at the size of the images (or another), bilinear with half-pixel centres: `(N, H, W)`."""
        return grids.resize(self.values, size or self.image_size)


@dataclass(frozen=True, slots=True)
class Offer:
    """One method of one backend, as a row of its coverage.

    Attributes:
        method: the canonical name, one for the same idea in every library.
        calls: what the library calls it.
        stage: the earliest stage that the library's public surface gives.
        resolution: the grid on which the library gives it.
        options: names of the keyword options that it takes.
        note: one line that a reader of the matrix should know.
    """

    method: str
    calls: str
    stage: Stage
    resolution: Resolution = Resolution.LAYER
    options: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """Whoever computes maps. Making one imports no library; only `explain` does.

    Attributes:
        name: as in `gradcam@name`.
        distribution: the distribution that has to be installed, as pip knows it.
        offers: its coverage.
        explain: called with a Problem, a method's name and its options; gives a Heatmap at the offer's stage, or
            raises NotOffered with the reason.
        package: what is imported of it beforehand, so that an import is not counted as a part of a map's time.
    """

    name: str
    distribution: str
    offers: tuple[Offer, ...]
    explain: Callable[[Problem, str, Mapping[str, Any]], Heatmap] = field(repr=False)
    package: str = ""

    def offer(self, method: str, options: Iterable[str] = ()) -> Offer:
        """The offer for a method, with the options that are wanted.

        Raises:
            NotOffered: there is none, or it has no such option.
        """
        for offer in self.offers:
            if offer.method == method:
                break
        else:
            raise NotOffered(f"{self.name} has no {method}")
        for option in options:
            if option not in offer.options:
                listed = ", ".join(offer.options) or "none"
                raise NotOffered(f"{method}@{self.name} has no option {option!r}; its options: {listed}")
        return offer
