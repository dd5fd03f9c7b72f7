"""Arithmetic on the grids of maps, over arrays of any library that follows the Python array API.

A map is `(N, h, w)`, or `(N, d, h, w)` for volumes; the first axis counts images. Nothing here looks at values on
the host, so nothing here waits for a device.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

Array = Any
"""An array of any library that follows the Python array API standard."""


def spatial_axes(array: Array, leading: int = 1) -> tuple[int, ...]:
    """The axes of the grid: all but the first `leading` ones."""
    return tuple(range(leading, array.ndim))


def rectify(values: Array) -> Array:
    """ReLU: `max(M, 0)`, with NaN kept as NaN.

    Args:
        values: maps `(N, h, w)`.
    """
    xp = array_namespace(values)
    return xp.maximum(values, xp.zeros_like(values))


def normalise(values: Array) -> Array:
    """Min-max of each map: `(M - min M) / (max M - min M)`, exact, without an epsilon.

    Args:
        values: maps `(N, h, w)`.

    Returns:
        Maps in 0..1 that reach both ends. A constant map gives zeros (0/0 is 0); NaN stays NaN.
    """
    xp = array_namespace(values)
    axes = spatial_axes(values)
    low = xp.min(values, axis=axes, keepdims=True)
    spread = xp.max(values, axis=axes, keepdims=True) - low
    flat = spread == 0
    scaled = (values - low) / xp.where(flat, xp.ones_like(spread), spread)
    return xp.where(flat, xp.zeros_like(scaled), scaled)


def resize(values: Array, size: tuple[int, ...]) -> Array:
    """Bilinear resizing with half-pixel centres (`align_corners=False`), without antialiasing.

    Axis by axis, each cell wanted lies between two that are there, `M_i + t (M_{i+1} - M_i)`; so volumes are resized
    trilinearly by the same lines, and a NaN stays where it is. Equal to
    `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` to rounding.

    Args:
        values: maps `(N, h, w)`.
        size: the grid wanted, `(H, W)`; one number for each axis after the first.

    Returns:
        Maps `(N, H, W)` of the same dtype; half precision is worked on in single precision.
    """
    xp = array_namespace(values)
    resized = xp.astype(values, xp.result_type(values.dtype, xp.float32), copy=False)
    for axis, length in enumerate(size, start=1):
        if resized.shape[axis] != length:
            resized = _resize_axis(xp, resized, axis, length)
    return xp.astype(resized, values.dtype, copy=False)


def _resize_axis(xp: Any, values: Array, axis: int, new: int) -> Array:
    old = values.shape[axis]
    centres = (xp.arange(new, dtype=values.dtype, device=values.device) + 0.5) * (old / new) - 0.5
    centres = xp.clip(centres, 0, old - 1)
    below = xp.floor(centres)
    share = centres - below
    cells = xp.astype(below, xp.int32)
    beside = cells + xp.astype(share > 0, xp.int32)  # itself at the border, and where a centre is met exactly
    first, second = xp.take(values, cells, axis=axis), xp.take(values, beside, axis=axis)
    return first + xp.reshape(share, (-1, *(1,) * (values.ndim - axis - 1))) * (second - first)


def grid_shape(cells: int, images: tuple[int, ...]) -> tuple[int, int] | None:
    """The grid `(h, w)` of `cells` tokens whose shape is nearest to that of the images `(H, W)`, or None.

    Only a grid whose cells are square to within a fifth is taken: `h/w` within 20 % of `H/W`.
    """
    height, width = images
    best = min(
        ((h, cells // h) for h in range(1, cells + 1) if cells % h == 0),
        key=lambda grid: abs(math.log(grid[0] * width / (grid[1] * height))),
    )
    return best if abs(math.log(best[0] * width / (best[1] * height))) <= math.log(1.2) else None
