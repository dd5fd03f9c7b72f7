"""Says of a map that shows nothing that it shows nothing, and why that is likely."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from camzoo.grids import spatial_axes
from camzoo.types import Heatmap, Stage

ROUNDING = 4
"""Machine epsilons by which the cells of a constant map may differ, as sums in another order do."""


def reasons(heatmap: Heatmap) -> list[str]:
    """Why each map of a heatmap says nothing about its image; empty where it does say something.

    The host waits for the device once, for the smallest and largest value of every map; and once more for each map
    that is not finite, to count.

    Args:
        heatmap: maps `(N, h, w)` at any stage.

    Returns:
        "not finite", "all zero" or "constant" with the likely cause, or "", for each of the `N`.
    """
    maps = heatmap.values
    xp, axes = array_namespace(maps), spatial_axes(maps)
    low, high = as_numpy(xp.stack([xp.min(maps, axis=axes), xp.max(maps, axis=axes)]))
    return [_reason(heatmap, *of_map) for of_map in zip(maps, low.tolist(), high.tolist(), strict=True)]


def _reason(heatmap: Heatmap, values: Any, low: float, high: float) -> str:
    """Of one map `(h, w)`, its smallest and largest value known; where a cell is not finite, one of these is not."""
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = np.isfinite(as_numpy(values))
        return f"not finite in {int((~finite).sum())} of {finite.size} cells: an overflow on the way here"
    if math.prod(values.shape) == 1:
        return "constant: the layer's grid has a single cell"
    if low == high == 0:
        if heatmap.stage is Stage.RAW:
            return "all zero: this layer's output is zero, or the score does not depend on it"
        return "all zero: no cell speaks for the target, or the score does not depend on this layer's output"
    if low == high:
        return "constant: no cell differs from another"
    if high - low <= ROUNDING * _epsilon(heatmap.values) * max(abs(low), abs(high)):
        return "constant but for rounding: no cell differs from another by more than the last digits"
    if heatmap.stage is Stage.RAW and high <= 0:
        return "all zero once rectified: every cell speaks against the target"
    return ""


def _epsilon(values: Any) -> float:
    return float(array_namespace(values).finfo(values.dtype).eps)


def as_numpy(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """An array of any library on the host, in float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
