"""The controls: maps that know nothing of the model."""

from __future__ import annotations

import itertools
import math

import numpy as np

from camzoo.oracles.grids import Floats


def random(shape: tuple[int, ...], seed: int) -> Floats:
    """Independent uniform numbers from a generator of the seed."""
    return np.random.default_rng(seed).random(shape)


def uniform(shape: tuple[int, ...]) -> Floats:
    """One everywhere."""
    return np.ones(shape)


def center(shape: tuple[int, ...], sigma: float = 0.25) -> Floats:
    """`exp(-d^2 / (2 sigma^2))`, `d` the distance of a cell's centre from the middle in units of the sides."""
    result = np.zeros(shape)
    for cell in np.ndindex(*shape):
        squares = [((i + 0.5) / length - 0.5) ** 2 for i, length in zip(cell, shape, strict=True)]
        result[cell] = math.exp(-sum(squares) / (2 * sigma**2))
    return result


def sobel(x: Floats) -> Floats:
    """Length of Sobel's gradient of the luminance of `x (C, H, W)` or `(C, D, H, W)`, the border repeated."""
    L = 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2] if len(x) == 3 else x.mean(axis=0)
    result = np.zeros(L.shape)
    for pixel in np.ndindex(L.shape):
        for axis in range(L.ndim):
            edge = 0.0
            for step in itertools.product((-1, 0, 1), repeat=L.ndim):
                place = tuple(min(max(p + s, 0), length - 1) for p, s, length in zip(pixel, step, L.shape, strict=True))
                weights = [s if a == axis else 2 - abs(s) for a, s in enumerate(step)]
                edge += math.prod(weights) * L[place]
            result[pixel] += edge**2
    return np.sqrt(result)
