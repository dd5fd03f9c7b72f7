"""Explanations with free numbers: a factor, the slopes of another score, other weights.

Each is over-determined, so that it can fail: there are more cells than numbers to be found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from camzoo.conformance.hypotheses.batch import Batch, Step
from camzoo.conformance.hypotheses.formulas import raw
from camzoo.conformance.hypotheses.sources import of_score
from camzoo.conformance.hypotheses.weights import Weights
from camzoo.oracles.grids import Floats
from camzoo.types import Stage

SPARE = 3
"""How many cells there are at least beyond the numbers that are sought, for an image to decide anything."""

LINEAR = frozenset({"gradcam", "hirescam", "xgradcam", "cam", "counterfactual-gradcam"})
"""Methods whose RAW map is linear in the gradient, so that it is a sum over those of all classes."""


@dataclass(frozen=True, slots=True)
class Fit:
    """An explanation that was found by least squares.

    Attributes:
        step: where the maps part.
        reason: in words, with the numbers.
        size: how far the numbers are from the right ones.
    """

    step: Step
    reason: str
    size: float


def factor(maps: Floats, wanted: Floats, stage: Stage, tolerance: float) -> Fit | None:
    """Each map is the right one times a factor, plus an offset that may be none."""
    found = [_solve(np.stack([one.ravel(), np.ones(one.size)], 1), m.ravel()) for m, one in _pairs(maps, wanted)]
    fitted = [a * one + b for (a, b), one in zip(found, wanted, strict=True)]
    if not _same(maps, fitted, tolerance):
        return None
    factors = np.array([a for (a, _), one in zip(found, wanted, strict=True) if one.max() != one.min()])
    offsets = np.array([b for _, b in found])
    if not factors.size:
        return None
    size = float(np.abs(factors - 1).max())
    if np.abs(offsets).max() > 100 * tolerance * np.abs(maps).max() or stage is Stage.NORMALISED:
        return Fit(Step.NORMALISE, f"each map is {_listed(factors)} times the right one plus {_listed(offsets)}", size)
    if np.ptp(factors) <= 100 * tolerance * np.abs(factors).max():
        reason = f"the weights are {factors[0]:.6g} times the right ones, in every image"
    else:
        reason = f"the weights have a factor of their own in each image: {_listed(factors)}"
    return Fit(Step.WEIGHTS, reason, size)


def turned(maps: Floats, batch: Batch, ending: Callable[[Floats], Floats], tolerance: float) -> Fit | None:
    """Some of the maps, or all, have the opposite sign."""
    away = [n for n, one in enumerate(ending(batch.raw)) if not _same([maps[n]], [one], tolerance)]
    signs = np.ones((len(maps), *[1] * (maps.ndim - 1)))
    signs[away] = -1
    if not _same(maps, ending(signs * batch.raw), tolerance):
        return None
    where = "every image" if len(away) == len(maps) else f"image {', '.join(map(str, away))} of {len(maps)}"
    return Fit(Step.WEIGHTS, f"the weights have the opposite sign in {where}", 2.0)


def slopes(maps: Floats, batch: Batch, stage: Stage, tolerance: float) -> Fit | None:
    """The gradient is that of another linear function of the outputs."""
    if batch.method not in LINEAR or batch.y.shape[1] + SPARE > maps[0].size:
        return None
    classes = np.eye(batch.y.shape[1])
    each = np.stack([raw(of_score(batch, lambda *_, row=row: row)) for row in classes], 1)
    found = _span(maps, each, stage, tolerance)
    if found is None:
        return None
    right = np.array([classes[c] for c in batch.c])
    reason = f"the gradient is that of a sum of all outputs, with factors {_rows(found)}"
    return Fit(Step.GRADIENT, reason, _apart(found, right))


def span(maps: Floats, batch: Batch, right: Weights | None, stage: Stage, tolerance: float) -> Fit | None:
    """The map is a sum of the channels with other weights than the right ones."""
    found = _span(maps, batch.A, stage, tolerance)
    if found is None:
        return None
    reason = f"the map is a sum of the channels with the weights {_rows(found)}"
    wanted = None if right is None else right(batch)
    if wanted is None or wanted.ndim > 2:
        return Fit(Step.WEIGHTS, f"{reason}; right is one for each cell", np.inf)
    return Fit(Step.WEIGHTS, f"{reason}; right are {_rows(dict(enumerate(wanted)))}", _apart(found, wanted))


def _span(maps: Floats, basis: Floats, stage: Stage, tolerance: float) -> dict[int, Floats] | None:
    """Coefficients `(K,)` of each image that decides something, over `basis (N, K, h, w)`; None where they do not do.

    Of a rectified map the positive cells are used; the others have to be no more than zero. Min-max may have
    subtracted a minimum above zero, hence a constant beside the channels.
    """
    found: dict[int, Floats] = {}
    for n, (one, channels) in enumerate(zip(maps, basis, strict=True)):
        columns = channels.reshape(len(channels), -1).T
        if stage is Stage.NORMALISED:
            columns = np.concatenate([columns, np.ones((len(columns), 1))], 1)
        values = one.ravel()
        seen = np.ones(len(values), bool) if stage is Stage.RAW else values > 0
        if seen.sum() < columns.shape[1] + SPARE:
            continue
        numbers = _solve(columns[seen], values[seen])
        fitted = columns @ numbers if stage is Stage.RAW else np.maximum(columns @ numbers, 0)
        if not _same([values], [fitted], tolerance):
            return None
        found[n] = numbers[: len(channels)]
    return found or None


def _solve(columns: Floats, values: Floats) -> Floats:
    """Least squares, with the columns brought to one size."""
    lengths = np.linalg.norm(columns, axis=0)
    lengths = np.where(lengths == 0, 1.0, lengths)
    return np.asarray(np.linalg.lstsq(columns / lengths, values)[0] / lengths)


def _same(maps: Sequence[Floats] | Floats, fitted: Sequence[Floats] | Floats, tolerance: float) -> bool:
    return away(maps, fitted) <= tolerance


def away(maps: Sequence[Floats] | Floats, wanted: Sequence[Floats] | Floats) -> float:
    """`max|m - r| / max|r|` of the worst image; infinite where something is not finite or not of one shape."""
    return max(_away(m, r) for m, r in _pairs(maps, wanted))


def _away(found: Floats, wanted: Floats) -> float:
    if found.shape != wanted.shape or not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return np.inf
    difference, scale = float(np.abs(found - wanted).max()), float(np.abs(wanted).max())
    return difference / scale if scale else (np.inf if difference else 0.0)


def _pairs(maps: Sequence[Floats] | Floats, wanted: Sequence[Floats] | Floats) -> list[tuple[Floats, Floats]]:
    return list(zip(maps, wanted, strict=True))


def _apart(found: dict[int, Floats], right: Floats) -> float:
    images = list(found)
    return away([found[n] for n in images], [right[n] for n in images])


def _rows(found: dict[int, Floats]) -> str:
    """The numbers of the first image of them, the first few."""
    first, numbers = next(iter(found.items()))
    return f"{_listed(numbers)} in image {first}"


def _listed(numbers: Floats) -> str:
    shown = ", ".join(f"{number:.4g}" for number in numbers[:4])
    return shown + (", ..." if len(numbers) > 4 else "")
