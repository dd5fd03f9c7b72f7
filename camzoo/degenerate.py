"""Says of a map that shows nothing that it shows nothing, and why that is likely."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from camzoo.types import Heatmap, Stage

ROUNDING = 4
"""Machine epsilons by which the cells of a constant map may differ, as sums in another order do."""


def reason(heatmap: Heatmap, index: int) -> str:
    """Why one map of a heatmap says nothing about its image; empty where it does say something.

    Args:
        heatmap: maps `(N, h, w)` at any stage.
        index: which of the `N`.

    Returns:
        "not finite", "all zero" or "constant" with the likely cause, or "".
    """
    values = as_numpy(heatmap.values[index])
    if not np.isfinite(values).all():
        return f"not finite in {int((~np.isfinite(values)).sum())} of {values.size} cells: an overflow on the way here"
    if values.size == 1:
        return "constant: the layer's grid has a single cell"
    if (values == 0).all():
        if heatmap.stage is Stage.RAW:
            return "all zero: this layer's output is zero, or the score does not depend on it"
        return "all zero: no cell speaks for the target, or the score does not depend on this layer's output"
    if values.max() == values.min():
        return "constant: no cell differs from another"
    if values.max() - values.min() <= ROUNDING * _epsilon(heatmap.values) * np.abs(values).max():
        return "constant but for rounding: no cell differs from another by more than the last digits"
    if heatmap.stage is Stage.RAW and values.max() <= 0:
        return "all zero once rectified: every cell speaks against the target"
    return ""


def _epsilon(values: Any) -> float:
    return float(array_namespace(values).finfo(values.dtype).eps)


def as_numpy(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """An array of any library on the host, in float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
