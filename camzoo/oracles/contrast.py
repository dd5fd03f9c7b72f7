"""Why this class and not another, and maps of several layers joined into one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from camzoo.oracles.grids import Floats, normalise, rectify, resize


def similar_classes(y: Floats, c: int, count: int = 3) -> list[int]:
    """The `count` classes other than c whose logits are nearest to that of c; of equals the lower index first."""
    others = [d for d in range(len(y)) if d != c]
    return sorted(others, key=lambda d: (abs(y[d] - y[c]), d))[:count]


def shares(y: Floats, references: Sequence[int], weights: str) -> Floats:
    """What each reference counts; they sum to one."""
    if weights == "mean":
        return np.full(len(references), 1.0 / len(references))
    assert weights == "softmax"
    odds = np.array([math.exp(y[d] - y.max()) for d in references])
    return np.asarray(odds / odds.sum())


def finercam_target(y: Floats, c: int, references: Sequence[int], alpha: float = 0.6, weights: str = "mean") -> float:
    """`T = y_c - alpha sum_d omega_d y_d`: Zhang 2025, 2501.11309; any CAM of T is a Finer-CAM.

    By default alpha = 0.6 and `omega_d = 1/|D|`. `weights="softmax"`: `omega_d = p_d / sum_D p` with p the softmax over
    all classes (with alpha = 1 what pytorch-grad-cam does by default).
    """
    omega = shares(y, references, weights)
    return float(y[c] - alpha * sum(o * y[d] for o, d in zip(omega, references, strict=True)))


def finercam_gradient(
    y: Floats, c: int, references: Sequence[int], alpha: float = 0.6, weights: str = "mean"
) -> Floats:
    """`dT/dy (classes,)`. Softmax weights depend on y and are differentiated too, as in the reference code.

    `dT/dy_j = [j = c] - alpha [j in D] omega_j (1 + y_j - sum_d omega_d y_d)`; for the plain mean the bracket is 1.
    """
    omega = shares(y, references, weights)
    centre = sum(o * y[d] for o, d in zip(omega, references, strict=True))
    result = np.zeros(len(y))
    result[c] += 1.0
    for o, d in zip(omega, references, strict=True):
        result[d] -= alpha * o * (1.0 + y[d] - centre if weights == "softmax" else 1.0)
    return result


def refinecam(maps: Sequence[Floats], size: tuple[int, ...]) -> Floats:
    """`prod_l mm(up(relu(L_l)))`: Domeniconi 2026, 2605.14641; on the pixels `(H, W)`.

    `L_l` is the RAW map of each layer (Grad-CAM++ by default), `up` resizes to `size`, `mm` is min-max to 0..1 and
    comes after the resizing. A constant map of one layer gives zeros.
    """
    result = np.ones(size)
    for one in maps:
        result = result * normalise(resize(rectify(one), size))
    return result


def layercam_fusion(
    maps: Sequence[Floats], size: tuple[int, ...], shallow: Sequence[bool], gamma: float = 2.0
) -> Floats:
    """LayerCAM's own fusion: Jiang 2021, TIP 30, eq. 9 and its text; on the pixels `(H, W)`.

    `R_l = relu(L_l) / max relu(L_l)` (0/0 = 0); for shallow layers `tanh(gamma R_l)`; each resized to `size`; the
    largest of all layers at each pixel.
    """
    result = np.full(size, -np.inf)
    for one, is_shallow in zip(maps, shallow, strict=True):
        positive = rectify(one)
        scaled = positive / positive.max() if positive.max() != 0 else np.zeros_like(positive)
        if is_shallow:
            scaled = np.tanh(gamma * scaled)
        result = np.maximum(result, resize(scaled, size))
    return result


def fuse(maps: Sequence[Floats], size: tuple[int, ...], how: str) -> Floats:
    """Mean or maximum over the layers of `mm(up(relu(L_l)))`, on the pixels `(H, W)`."""
    scaled = [normalise(resize(rectify(one), size)) for one in maps]
    result = np.zeros(size)
    for pixel in np.ndindex(*size):
        values = [float(one[pixel]) for one in scaled]
        result[pixel] = max(values) if how == "max" else sum(values) / len(values)
    return result
