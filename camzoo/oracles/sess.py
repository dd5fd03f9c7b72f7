"""Saliency enhancing with scaling and sliding, on top of any map."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from camzoo.oracles.grids import Floats, normalise, resize
from camzoo.oracles.scores import gaussian_blur

Window = tuple[int, int, int, int]
"""Top, left, and height and width of the enlarged image from which the window was cut."""


def default_scales(window: int, count: int = 12, ratio: float = 2 / 7) -> list[int]:
    """`w, w + s, w + 2 s, ...` with `s = round(ratio w)`: 224, 288, ... for windows of 224."""
    return [window + round(window * ratio) * i for i in range(count)]


def starts(length: int, window: int, step: int) -> list[int]:
    """0, step, 2 step, ... and last the start at which the window ends with the axis."""
    return [*range(0, length - window, step), length - window]


def windows(x: Floats, scales: Sequence[int], window: int, step: int) -> list[tuple[Floats, Window]]:
    """Every window `(C, w, w)` of `x (C, H, W)`, whose shorter side is enlarged to each of the scales in turn."""
    found: list[tuple[Floats, Window]] = []
    short = min(x.shape[1:])
    for scale in scales:
        height, width = (scale * side // short for side in x.shape[1:])
        large = np.array([resize(colour, (height, width)) for colour in x])
        for top, left in itertools.product(starts(height, window, step), starts(width, window, step)):
            found.append((large[:, top : top + window, left : left + window], (top, left, height, width)))
    return found


def sess(
    x: Floats,
    probability: Callable[[Floats], float],
    base: Callable[[Floats], Floats],
    scales: Sequence[int],
    window: int,
    step: int | None = None,
    theta: float = 0.0,
    pool: str = "mean",
    smooth: bool = True,
) -> Floats:
    """SESS: Tursun 2022, 2207.01769; on the pixels `(H, W)`, NORMALISED. No window is left out beforehand.

    Of each window `x_i`: `F_i = p(x_i) / max_j p(x_j) * base(x_i)`, in 0..1, is put back where the window came from on
    a canvas of zeros and brought to the size of the image. At each pixel the mean of those above theta (or of all the
    largest), then a Gaussian blur of 11 taps and sigma 5, then min-max.

    Args:
        x: the image `(C, H, W)`.
        probability: the softmax of the class for a window `(C, w, w)`.
        base: the normalised map `(w, w)` of a window.
        scales: lengths of the shorter side.
        window: side of the windows.
        step: from one window to the next; `window` unless given.
        theta: what is not above it does not count in the mean.
        pool: "mean" or "max".
        smooth: whether to blur.
    """
    cut = windows(x, scales, window, window if step is None else step)
    weights = np.array([probability(part) for part, _ in cut])
    total, count = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    for (part, (top, left, height, width)), weight in zip(cut, weights / weights.max(), strict=True):
        canvas = np.zeros((height, width))
        canvas[top : top + window, left : left + window] = weight * base(part)
        one = resize(canvas, x.shape[1:])
        if pool == "max":
            total = np.maximum(total, one)
            continue
        total[one > theta] += one[one > theta]
        count += one > theta
    fused = total if pool == "max" else np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return normalise(gaussian_blur(fused[None], 11, 5.0)[0] if smooth else fused)
