"""What is done to a RAW map afterwards: the right ending for what a subject gives, and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch.nn.functional import interpolate

from camzoo.conformance.hypotheses.batch import Step
from camzoo.oracles.grids import Floats
from camzoo.types import Resolution, Stage

Change = Callable[[Floats], Floats]
Resize = Callable[[Floats, tuple[int, ...]], Floats]

EPSILONS = (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
"""Small numbers that are added to a denominator."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Three steps from RAW maps `(N, h, w)` to what is given; the right ones unless said."""

    rectify: Change
    normalise: Change
    resize: Resize

    def __call__(self, raw: Floats, size: tuple[int, ...]) -> Floats:
        """The maps, where the images have this size."""
        return self.resize(self.normalise(self.rectify(raw)), size)


@dataclass(frozen=True, slots=True)
class Late:
    """What may have gone wrong after the RAW map.

    Attributes:
        step: where it parts from what the stage means.
        reason: in words.
        changed: from an ending to the same one with this mistake in it.
    """

    step: Step
    reason: str
    changed: Callable[[Ending], Ending]


def right(stage: Stage, resolution: Resolution) -> Ending:
    """What maps of a stage and a resolution mean."""
    return Ending(
        keep if stage is Stage.RAW else relu,
        minmax if stage is Stage.NORMALISED else keep,
        stay if resolution is Resolution.LAYER else RIGHT_SIZE[stage],
    )


def wrong(stage: Stage, resolution: Resolution) -> Iterator[Late]:
    """Every mistake in one step of the ending, the last step first."""
    if resolution is Resolution.IMAGE:
        for reason, resize in _resizings(stage):
            yield Late(Step.RESIZE, reason, partial(replace, resize=resize))
        if stage is not Stage.RAW:
            last = minmax if stage is Stage.NORMALISED else keep
            yield Late(
                Step.RESIZE,
                "the map is enlarged before its ReLU",
                partial(replace, rectify=keep, normalise=keep, resize=_first(last)),
            )
    for reason, change in UNASKED if stage is not Stage.NORMALISED else NORMALISATIONS:
        yield Late(Step.NORMALISE, reason, partial(_normalised_by, change=change))
    for reason, change in RECTIFIED_RAW if stage is Stage.RAW else RECTIFICATIONS:
        yield Late(Step.RECTIFY, reason, partial(replace, rectify=change))


def _normalised_by(ending: Ending, change: Change) -> Ending:
    """Wherever it is normalised: before enlarging, and of a normalised map after it too."""
    if ending.resize is RIGHT_SIZE[Stage.NORMALISED]:
        return replace(ending, normalise=change, resize=_then(bilinear, change))
    return replace(ending, normalise=change)


def keep(maps: Floats) -> Floats:
    """Nothing is done."""
    return maps


def relu(maps: Floats) -> Floats:
    """`max(M, 0)`."""
    return np.maximum(maps, 0)


# ---- rectify

RECTIFICATIONS: tuple[tuple[str, Change], ...] = (
    ("there is no ReLU: the map is signed", keep),
    ("the absolute value is taken, not the ReLU", np.abs),
    ("the map is cut to 0..1, not only at 0", lambda M: np.clip(M, 0, 1)),
    ("negative cells are kept at a hundredth, as by a leaky ReLU", lambda M: np.where(M < 0, 0.01 * M, M)),
)
RECTIFIED_RAW: tuple[tuple[str, Change], ...] = (
    ("what is called raw has been through a ReLU", relu),
    ("what is called raw is the absolute value", np.abs),
)


# ---- normalise


def minmax(maps: Floats, axes: tuple[int, ...] | None = None, epsilon: float = 0.0) -> Floats:
    """`(M - min) / (max - min + epsilon)` over the cells of each map, or over the axes given; 0/0 is 0."""
    axes = _cells(maps) if axes is None else axes
    low = maps.min(axes, keepdims=True)
    spread = maps.max(axes, keepdims=True) - low + epsilon
    return np.asarray((maps - low) / np.where(spread == 0, 1.0, spread))


def _cells(maps: Floats) -> tuple[int, ...]:
    return tuple(range(1, maps.ndim))


def _over(maps: Floats, size: Floats) -> Floats:
    return np.asarray(maps / np.where(size == 0, 1.0, size))


def _by_max(maps: Floats) -> Floats:
    return _over(maps, maps.max(_cells(maps), keepdims=True))


def _standardised(maps: Floats) -> Floats:
    cells = _cells(maps)
    return _over(maps - maps.mean(cells, keepdims=True), maps.std(cells, keepdims=True))


def _softmax(maps: Floats) -> Floats:
    odds = np.exp(maps - maps.max(_cells(maps), keepdims=True))
    return np.asarray(odds / odds.sum(_cells(maps), keepdims=True))


def _with(epsilon: float) -> tuple[str, Change]:
    return f"{epsilon:g} is added to the range before dividing", lambda M: minmax(M, epsilon=epsilon)


SCALINGS: tuple[tuple[str, Change], ...] = (
    ("the whole batch shares one minimum and maximum", lambda M: minmax(M, tuple(range(M.ndim)))),
    ("the whole batch shares one maximum", lambda M: _over(M, M.max())),
    ("the map is divided by its maximum, its minimum is not subtracted", _by_max),
    ("minimum and maximum are those of each row", lambda M: minmax(M, (-1,))),
    ("minimum and maximum are those of each column", lambda M: minmax(M, (-2,))),
    ("the map is divided by its largest absolute value", lambda M: _over(M, np.abs(M).max(_cells(M), keepdims=True))),
    ("the map is scaled to mean 0 and deviation 1", _standardised),
    ("the map is divided by its sum", lambda M: _over(M, M.sum(_cells(M), keepdims=True))),
    ("the map is divided by its length", lambda M: _over(M, np.sqrt((M**2).sum(_cells(M), keepdims=True)))),
    ("a softmax over the cells is taken", _softmax),
    ("a sigmoid is taken", lambda M: 1 / (1 + np.exp(-M))),
    ("the map is scaled to 0..255", lambda M: 255 * minmax(M)),
    *map(_with, EPSILONS),
)
NORMALISATIONS: tuple[tuple[str, Change], ...] = (("the map is not scaled", keep), *SCALINGS)
UNASKED: tuple[tuple[str, Change], ...] = (
    ("the map has been scaled to 0..1, which this stage does not have yet", minmax),
    *SCALINGS,
)


# ---- resize


def stay(maps: Floats, _size: tuple[int, ...]) -> Floats:
    """The layer's grid is kept."""
    return maps


def _by(mode: str, align_corners: bool | None = None, antialias: bool = False) -> Resize:
    """Another interpolation; a map that has the size already is left alone."""

    def resize(maps: Floats, size: tuple[int, ...]) -> Floats:
        if maps.shape[1:] == size:
            return maps
        linear = "trilinear" if mode == "bilinear" and len(size) == 3 else mode
        values = torch.from_numpy(np.ascontiguousarray(maps))[:, None]
        return interpolate(values, size, mode=linear, align_corners=align_corners, antialias=antialias)[:, 0].numpy()

    return resize


bilinear = _by("bilinear", False)


def _then(resize: Resize, change: Change) -> Resize:
    return lambda maps, size: change(resize(maps, size))


def _first(last: Change) -> Resize:
    return lambda maps, size: last(relu(bilinear(maps, size)))


RIGHT_SIZE: dict[Stage, Resize] = {
    Stage.RAW: bilinear,
    Stage.RECTIFIED: bilinear,
    Stage.NORMALISED: _then(bilinear, minmax),  # enlarging loses the peak
}

INTERPOLATIONS: tuple[tuple[str, Resize], ...] = (
    ("bilinear with align_corners=True", _by("bilinear", True)),
    ("nearest neighbour", _by("nearest")),
    ("nearest neighbour by centres", _by("nearest-exact")),
    ("bicubic", _by("bicubic", False)),
    ("bicubic with align_corners=True", _by("bicubic", True)),
)


def _resizings(stage: Stage) -> Iterator[tuple[str, Resize]]:
    if stage is Stage.NORMALISED:
        yield "the map is normalised before it is enlarged, and not after: its peak is lost", bilinear
    for name, resize in INTERPOLATIONS:
        if stage is Stage.NORMALISED:
            yield f"the map is enlarged by {name}", _then(resize, minmax)
            yield f"the map is enlarged by {name}, and not normalised after it", resize
        else:
            yield f"the map is enlarged by {name}", resize
