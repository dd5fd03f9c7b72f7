"""How far maps are apart, image by image."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from camzoo.conformance.promises._promise import Breach
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject
from camzoo.degenerate import as_numpy
from camzoo.grids import Array

PRECISION = {8: 1e-10, 4: 1e-5, 2: 1e-2}
"""By the bytes of a number: what sums of some thousand terms, in another order, may change of the largest value."""


@lru_cache(maxsize=4)
def plain(subject: Subject, stand: Stand) -> Array:
    """The maps of a stand as it is, with which those of other circumstances are compared: once for all promises."""
    return subject.maps(stand.problem())


def precision(maps: Array) -> float:
    """What the dtype of maps allows, as a part of the largest value."""
    return PRECISION[maps.dtype.itemsize]


def apart(found: Array, wanted: Array) -> float:
    """`max|m - r| / max|r|` of the worst image; infinite where another cell is not finite, or only one is not zero.

    Args:
        found: maps `(N, h, w)` of any array library.
        wanted: as many maps of the same shape.
    """
    return max(_apart(*pair) for pair in zip(as_numpy(found), as_numpy(wanted), strict=True))


def _apart(found: Any, wanted: Any) -> float:
    if found.shape != wanted.shape or not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
        return np.inf
    cells = np.isfinite(wanted)
    away = float(np.abs(found - wanted)[cells].max(initial=0))
    scale = float(np.abs(wanted)[cells].max(initial=0))
    return away / scale if scale else np.inf if away else 0.0


def differing(found: Array, wanted: Array, what: str) -> Breach | None:
    """A breach where maps that should be equal are not."""
    away = apart(found, wanted)
    return Breach(f"{what}: they differ by {away:.1e} of the largest value") if away > precision(found) else None
