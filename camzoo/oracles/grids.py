"""What happens to a map after its formula: ReLU, min-max, bilinear and trilinear resizing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rectify(values: Floats) -> Floats:
    """`max(M, 0)`; NaN stays NaN."""
    result = np.empty_like(values)
    for cell in np.ndindex(values.shape):
        result[cell] = 0.0 if values[cell] < 0 else values[cell]
    return result


def normalise(values: Floats) -> Floats:
    """`(M - min M) / (max M - min M)` of one map, without an epsilon; a constant map gives zeros."""
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros_like(values)
    return np.asarray((values - low) / (high - low))


def neighbours(position: int, old: int, new: int) -> list[tuple[int, float]]:
    """The one or two old cells that pixel `position` of `new` lies between, each with its weight.

    Pixel centres lie at half integers (`align_corners=False`): pixel p of the new axis sits at
    `(p + 1/2) * old/new - 1/2` on the old one. Beyond the first and the last centre the edge is repeated.
    """
    place = min(max((position + 0.5) * old / new - 0.5, 0.0), old - 1.0)
    left = math.floor(place)
    share = place - left
    return [(left, 1.0 - share), (min(left + 1, old - 1), share)]


def resize(values: Floats, size: tuple[int, ...]) -> Floats:
    """Bilinear (two axes) or trilinear (three axes) interpolation of one map, one axis after the other."""
    for axis, (old, new) in enumerate(zip(values.shape, size, strict=True)):
        weights = np.zeros((new, old))
        for pixel in range(new):
            for cell, weight in neighbours(pixel, old, new):
                weights[pixel, cell] += weight
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return values


def bilinear(values: Floats, size: tuple[int, int]) -> Floats:
    """`(h, w)` to `(H, W)`: each pixel from the four cells around it."""
    assert values.ndim == 2
    return resize(values, size)


def trilinear(values: Floats, size: tuple[int, int, int]) -> Floats:
    """`(d, h, w)` to `(D, H, W)`: each voxel from the eight cells around it."""
    assert values.ndim == 3
    return resize(values, size)
