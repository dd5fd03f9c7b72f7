"""How alike are two maps? Pure numbers, in float64, on the host. Similarity is no validation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float64]]

MEASURES = ("pearson", "spearman", "top-10% overlap")
TOP_SHARE = 0.1


def pearson(one: Vector, other: Vector) -> float:
    """Pearson's correlation of two maps, in -1..1.

    `r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)`

    Args:
        one: values of a map, any shape.
        other: values of another map on the same grid.

    Returns:
        The correlation; NaN where a map is constant or not finite, since 0/0 says nothing.
    """
    x, y = one.ravel(), other.ravel()
    if not (varies(x) and varies(y)):
        return math.nan
    # Scaled first, so that neither tiny nor huge maps under- or overflow when squared.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1))


def spearman(one: Vector, other: Vector) -> float:
    """Spearman's correlation: Pearson's of the ranks, ties at their average rank.

    Args:
        one: values of a map, any shape.
        other: values of another map on the same grid.
    """
    if not (varies(one) and varies(other)):
        return math.nan
    return pearson(ranks(one), ranks(other))


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
    count = math.ceil(share * one.size - 1e-9)
    order = np.random.default_rng(seed).permutation(one.size)
    first, second = (set(np.lexsort((order, -values.ravel()))[:count].tolist()) for values in (one, other))
    return len(first & second) / count


def varies(values: Vector) -> bool:
    """Whether a map is finite and not constant: only then can it be compared."""
    return bool(np.isfinite(values).all() and values.size and values.max() > values.min())


@dataclass(frozen=True, slots=True)
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
    grids = [["" for _ in names] for _ in names]
    ranked = {key: ranks(grid) for key, grid in _grids(maps) if varies(grid)}
    for i, one in enumerate(names):
        for j, other in enumerate(names[: i + 1]):
            level = 0 if maps[one][0] is not None and maps[other][0] is not None else 1
            grids[i][j] = grids[j][i] = ("layer", "image")[level]
            x, y = maps[one][level], maps[other][level]
            if one in undefined or other in undefined or x is None or y is None:
                continue
            if (one, level) not in ranked or (other, level) not in ranked:
                continue
            found = (
                pearson(x, y),
                pearson(ranked[one, level], ranked[other, level]),
                top_overlap(x, y, share),
            )
            for measure, value in zip(MEASURES, found, strict=True):
                matrices[measure][i, j] = matrices[measure][j, i] = value
    return Agreement(names, matrices, undefined, grids)


def _grids(maps: dict[str, tuple[Vector | None, Vector]]) -> list[tuple[tuple[str, int], Vector]]:
    return [((name, level), grid) for name, pair in maps.items() for level, grid in enumerate(pair) if grid is not None]
