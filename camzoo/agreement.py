"""How alike are two maps? Pure numbers, in float64, on the host. Similarity is no validation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float64]]

MEASURES = ("pearson", "spearman", "top-10% overlap")
TOP_SHARE = 0.1
LEVELS = ("layer", "image")


def pearson(one: Vector, other: Vector) -> float:
    """Pearson's correlation of two maps, in -1..1.

    `r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)`

    Args:
        one: values of a map, any shape.
        other: values of another map on the same grid.

    Returns:
        The correlation; NaN where a map is constant or not finite, since 0/0 says nothing.
    """
    return _cosine(_direction(one), _direction(other)) if varies(one) and varies(other) else math.nan


def spearman(one: Vector, other: Vector) -> float:
    """Spearman's correlation: Pearson's of the ranks, ties at their average rank.

    Args:
        one: values of a map, any shape.
        other: values of another map on the same grid.
    """
    return pearson(ranks(one), ranks(other)) if varies(one) and varies(other) else math.nan


def ranks(values: Vector) -> Vector:
    """Ranks from 1, ties at their average rank."""
    _, inverse, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def top_overlap(one: Vector, other: Vector, share: float = TOP_SHARE, seed: int = 0) -> float:
    """The share of the top cells that two maps have in common: `|T(x) & T(y)| / k`, in 0..1.

    `T` holds the `k = ceil(share * cells)` largest cells. Ties are broken by one seeded order of the cells, the same
    for both maps, so that a map agrees with itself.

    Args:
        one: values of a map, any shape.
        other: values of another map on the same grid.
        share: the share of the cells that counts as the top.
        seed: of the order that breaks ties.
    """
    if not (varies(one) and varies(other)):
        return math.nan
    return _common(_top(one, share, seed), _top(other, share, seed))


def varies(values: Vector) -> bool:
    """Whether a map is finite and not constant: only then can it be compared."""
    return bool(values.size and np.isfinite(values).all() and values.max() > values.min())


def _direction(values: Vector) -> Vector:
    """`(x - mean x) / ||x - mean x||`, of a map that varies."""
    x = values.ravel()
    # Brought to 0..1 first, with a power of two that costs no digit, so that neither a tiny nor a huge map under- or
    # overflows when squared, and a large constant below the values does not swallow them.
    x = np.ldexp(x, -int(np.frexp(np.abs(x).max())[1]))
    x = (x - x.min()) / (x.max() - x.min())
    x = x - x.mean()
    return np.asarray(x / np.linalg.norm(x), dtype=np.float64)


def _cosine(one: Vector, other: Vector) -> float:
    return float(np.clip(one @ other, -1, 1))


def _top(values: Vector, share: float = TOP_SHARE, seed: int = 0) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which cells are the largest `ceil(share * cells)`."""
    order = np.random.default_rng(seed).permutation(values.size)
    top = np.zeros(values.size, dtype=bool)
    # The product can land just above a whole number.
    top[np.lexsort((order, -values.ravel()))[: math.ceil(share * values.size - 1e-9)]] = True
    return top


def _common(one: np.ndarray[Any, np.dtype[np.bool_]], other: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    return float((one & other).sum() / one.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """Every pair of maps of one image and target.

    Attributes:
        names: of the maps, `n` of them.
        values: for each measure a matrix `(n, n)`; NaN stands for undefined.
        undefined: the name of each map that cannot be compared, with the reason.
        grids: for each pair the grid on which it was compared, "layer" or "image".
    """

    names: tuple[str, ...]
    values: dict[str, Vector]
    undefined: dict[str, str]
    grids: list[list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class _Profile:
    """What of a map enters into its pairs, worked out once: sorting for every pair would take most of the time."""

    values: Vector
    ranks: Vector
    top: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, values: Vector, share: float) -> _Profile:
        return cls(_direction(values), _direction(ranks(values)), _top(values, share))

    def measures(self, other: _Profile) -> tuple[float, float, float]:
        """In the order of MEASURES."""
        return _cosine(self.values, other.values), _cosine(self.ranks, other.ranks), _common(self.top, other.top)


def compare(
    maps: dict[str, tuple[Vector | None, Vector]], undefined: dict[str, str], share: float = TOP_SHARE
) -> Agreement:
    """The agreement of every pair of maps.

    Args:
        maps: for each name the map on the layer's grid, or None where there is none, and on the image's pixels.
            A pair is compared on the layer's grid where both have it, else on the pixels.
        undefined: names of maps that cannot be compared, with the reason.
        share: the share of the cells that counts as the top.
    """
    names = tuple(maps)
    matrices = {measure: np.full((len(names), len(names)), math.nan) for measure in MEASURES}
    levels = [["" for _ in names] for _ in names]
    profiles = {
        (name, level): _Profile.of(values, share)
        for name, pair in maps.items()
        for level, values in zip(LEVELS, pair, strict=True)
        if values is not None and varies(values) and name not in undefined
    }
    for i, one in enumerate(names):
        for j, other in enumerate(names[: i + 1]):
            level = levels[i][j] = levels[j][i] = _level(maps[one][0], maps[other][0])
            if (one, level) in profiles and (other, level) in profiles:
                found = profiles[one, level].measures(profiles[other, level])
                for measure, value in zip(MEASURES, found, strict=True):
                    matrices[measure][i, j] = matrices[measure][j, i] = value
    flat = {name: "constant or not finite" for name, (_, pixels) in maps.items() if not varies(pixels)}
    return Agreement(names, matrices, flat | undefined, levels)


def _level(one: Vector | None, other: Vector | None) -> str:
    """The layer's grid where two maps share one, else the pixels."""
    return LEVELS[0] if one is not None and other is not None and one.shape == other.shape else LEVELS[1]
