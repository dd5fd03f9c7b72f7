"""What the values of many images say: a mean with its interval, paired differences, and how firm a ranking is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camzoo.noise import generator

Floats = NDArray[np.float64]

Summary = Callable[[Floats], Floats]
"""Of a metric that is no mean over images: from the share of images that pass each of its tests, `(P, ...)`, to its
value `(...)`."""

DRAWS = 2000
"""Resamples of a bootstrap."""
_AT_ONCE = 2**22  # numbers drawn at a time


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over images.

    Attributes:
        value: NaN where there is no image.
        low: lower end of the 95 % interval; NaN below two images.
        high: upper end.
        images: how many went into it.
        undefined: how many had no value.
    """

    value: float
    low: float
    high: float
    images: int
    undefined: int


def mean(values: Any, *, seed: int = 0, draws: int = DRAWS, summary: Summary | None = None) -> Mean:
    """The mean of a metric over images, with a bootstrap 95 % interval.

    Images are drawn with replacement, `draws` times; the interval runs from the 2.5 % to the 97.5 % quantile of their
    means. It says how the value would move with other images of the same kind, not with another model or another seed.

    Args:
        values: `(N,)`, NaN where undefined: left out, and counted. With a summary `(P, N)`: which of `P` tests an image
            passes, 1 or 0.
        seed: of the draws.
        draws: how many.
        summary: makes the value of the `P` means, of each resample anew.

    Source:
        Efron, Bootstrap methods, Annals of Statistics 7 (1979): the percentile interval.
    """
    every = np.atleast_2d(np.asarray(values, dtype=np.float64))
    known = every[:, ~np.isnan(every).any(0)]
    images, of = known.shape[1], summary or _only
    low = high = math.nan
    if images > 1:
        draw = shares if summary else resampled
        low, high = np.quantile(of(draw(known, seed=seed, draws=draws)), (0.025, 0.975)).tolist()
    return Mean(float(of(known.mean(1))) if images else math.nan, low, high, images, every.shape[1] - images)


def _only(means: Floats) -> Floats:
    return np.asarray(means[0])


def paired(one: Any, other: Any, *, seed: int = 0, draws: int = DRAWS, summary: Summary | None = None) -> Mean:
    """The mean difference of two methods on the same images, `one - other`, with its interval.

    Narrower than the intervals of both by far, since what is hard about an image is hard for both. An image counts only
    where both have a value.

    Args:
        one: values of a method, `(N,)`.
        other: of another, on the same images in the same order.
        seed: of the draws.
        draws: how many.
        summary: as in `mean`.
    """
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if summary is None:
        return mean(first - second, seed=seed, draws=draws)

    def ahead(means: Floats) -> Floats:
        return summary(means[: len(first)]) - summary(means[len(first) :])

    return mean(np.concatenate([first, second]), seed=seed, draws=draws, summary=ahead)


def stability(table: Any, *, seed: int = 0, draws: int = DRAWS, summary: Summary | None = None) -> Floats:
    """How firm a ranking of methods is: the share of resamples in which each method takes each place.

    Args:
        table: values `(methods, N)`, higher is better, on the same images; those with a NaN are left out. With a
            summary `(methods, P, N)`.
        seed: of the draws.
        draws: how many.
        summary: as in `mean`.

    Returns:
        `(methods, methods)`, rows sum to 1: first place first; methods that tie share their places. NaN throughout
        where no image has all values.
    """
    every = np.asarray(table, dtype=np.float64)
    known = every[..., ~np.isnan(every).any(tuple(range(every.ndim - 1)))]
    methods = len(every)
    if not known.shape[-1]:
        return np.full((methods, methods), math.nan)
    if summary is None:
        means = resampled(known, seed=seed, draws=draws)
    else:
        means = np.stack([summary(shares(each, seed=seed, draws=draws)) for each in known])
    taken, places = np.empty((methods, methods)), np.arange(methods)[:, None]
    for method, own in enumerate(means):
        better, tied = (means > own).sum(0), (means == own).sum(0)
        taken[method] = (((places >= better) & (places < better + tied)) / tied).mean(1)
    return taken


def resampled(values: Floats, *, seed: int = 0, draws: int = DRAWS) -> Floats:
    """Means over images drawn with replacement, the same images for every row.

    Args:
        values: `(R, N)`.
        seed: of the draws.
        draws: how many.

    Returns:
        `(R, draws)`.
    """
    parts = [np.stack([row[drawn].mean(1) for row in values]) for drawn in _drawn(values.shape[1], seed, draws)]
    return np.concatenate(parts, axis=1)


def shares(passed: Floats, *, seed: int = 0, draws: int = DRAWS) -> Floats:
    """What `resampled` gives, for many rows of nothing but 0 and 1, many times faster.

    How often each image is drawn, times what it passes: one matrix product, exact since it adds whole numbers.

    Args:
        passed: `(R, N)`.
        seed: of the draws.
        draws: how many.

    Returns:
        `(R, draws)`.
    """
    images, parts = passed.shape[1], []
    for drawn in _drawn(images, seed, draws):
        apart = drawn + images * np.arange(len(drawn))[:, None]
        counts = np.bincount(apart.ravel(), minlength=drawn.size).reshape(drawn.shape)
        parts.append(passed @ counts.T.astype(np.float64) / images)
    return np.concatenate(parts, axis=1)


def _drawn(images: int, seed: int, draws: int) -> Iterator[NDArray[np.int64]]:
    """Numbers of images drawn with replacement, `(D, images)`, some resamples at a time."""
    draw, size = generator(seed), max(1, _AT_ONCE // images)
    for start in range(0, draws, size):
        yield draw.integers(images, size=(min(size, draws - start), images))
