"""What the values of many images say: a mean with its interval, paired differences, and how firm a ranking is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camzoo.noise import generator

Floats = NDArray[np.float64]

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


def mean(values: Any, *, seed: int = 0, draws: int = DRAWS) -> Mean:
    """The mean of a metric over images, with a bootstrap 95 % interval.

    Images are drawn with replacement, `draws` times; the interval runs from the 2.5 % to the 97.5 % quantile of their
    means. It says how the value would move with other images of the same kind, not with another model or another seed.

    Args:
        values: `(N,)`, NaN where undefined: left out, and counted.
        seed: of the draws.
        draws: how many.

    Source:
        Efron, Bootstrap methods, Annals of Statistics 7 (1979): the percentile interval.
    """
    every = np.asarray(values, dtype=np.float64)
    known = every[~np.isnan(every)]
    low = high = math.nan
    if len(known) > 1:
        low, high = np.quantile(resampled(known[None], seed=seed, draws=draws)[0], (0.025, 0.975)).tolist()
    return Mean(float(known.mean()) if len(known) else math.nan, low, high, len(known), len(every) - len(known))


def paired(one: Any, other: Any, *, seed: int = 0, draws: int = DRAWS) -> Mean:
    """The mean difference of two methods on the same images, `one - other`, with its interval.

    Narrower than the intervals of both by far, since what is hard about an image is hard for both. An image counts only
    where both have a value.

    Args:
        one: values of a method, `(N,)`.
        other: of another, on the same images in the same order.
        seed: of the draws.
        draws: how many.
    """
    return mean(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64), seed=seed, draws=draws)


def stability(table: Any, *, seed: int = 0, draws: int = DRAWS) -> Floats:
    """How firm a ranking of methods is: the share of resamples in which each method takes each place.

    Args:
        table: values `(methods, N)`, higher is better, on the same images; those with a NaN are left out.
        seed: of the draws.
        draws: how many.

    Returns:
        `(methods, methods)`, rows sum to 1: first place first; methods that tie share their places. NaN throughout
        where no image has all values.
    """
    every = np.asarray(table, dtype=np.float64)
    known = every[:, ~np.isnan(every).any(0)]
    methods = len(every)
    if not known.shape[1]:
        return np.full((methods, methods), math.nan)
    means, shares = resampled(known, seed=seed, draws=draws), np.empty((methods, methods))
    places = np.arange(methods)[:, None]
    for method, own in enumerate(means):
        better, tied = (means > own).sum(0), (means == own).sum(0)
        shares[method] = (((places >= better) & (places < better + tied)) / tied).mean(1)
    return shares


def resampled(values: Floats, *, seed: int = 0, draws: int = DRAWS) -> Floats:
    """Means over images drawn with replacement, the same images for every row.

    Args:
        values: `(R, N)`.
        seed: of the draws.
        draws: how many.

    Returns:
        `(R, draws)`.
    """
    images, draw = values.shape[1], generator(seed)
    parts, size = [], max(1, _AT_ONCE // images)
    for start in range(0, draws, size):
        drawn = draw.integers(images, size=(min(size, draws - start), images))
        parts.append(np.stack([row[drawn].mean(1) for row in values]))
    return np.concatenate(parts, axis=1)
