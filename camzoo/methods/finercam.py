"""Finer-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._base import base_map
from camzoo.types import Capture


def finercam(
    capture: Capture,
    *,
    alpha: float = 0.6,
    similar: int = 3,
    references: Sequence[int] | None = None,
    weights: Literal["mean", "softmax"] = "mean",
    base: str = "gradcam",
) -> Array:
    """Finer-CAM: why this class rather than those most like it.

    A base method explains `T = y_c - alpha sum_d omega_d y_d` in the place of `y_c`, `sum_d omega_d = 1`

    with `y (N, classes)` the logits, `c` the class that is explained (the one whose logit the target is) and `d` the
    classes with the logits nearest to that of `c`, of equals the lower index first.

    Args:
        capture: scores and the model to ask; the explained score must be a logit of the scores.
        alpha: how much the reference classes count.
        similar: how many there are.
        references: these classes instead, the same for every image.
        weights: "mean" for `omega = 1 / similar`; "softmax" for the probabilities among the references, through which
            the derivative goes too, as in the authors' code.
        base: the method that explains the contrast.

    Returns:
        The RAW map of the base method `(N, h, w)`.

    Source:
        Zhang et al., Finer-CAM, CVPR 2025, arXiv 2501.11309.
    """
    logits = capture.scores
    xp = array_namespace(logits)
    count = logits.shape[1]
    classes = xp.arange(count, device=logits.device)
    explained = xp.argmin(xp.abs(logits - capture.explained[:, None]), axis=1)[:, None] == classes
    if references is None:
        distance = xp.abs(logits - capture.explained[:, None])
        distance = xp.where(explained, xp.full_like(distance, xp.inf), distance)
        rank = xp.argsort(xp.argsort(distance, axis=1, stable=True), axis=1, stable=True)
        chosen = (rank < min(similar, count - 1)) & ~explained
    else:
        chosen = xp.any(classes[:, None] == xp.asarray(list(references), device=logits.device), axis=1) & ~explained
    omega = xp.astype(chosen, logits.dtype)
    if weights == "softmax":
        omega = omega * xp.exp(logits - xp.max(logits, axis=1, keepdims=True))
    omega = omega / xp.sum(omega, axis=1, keepdims=True)
    slope = omega
    if weights == "softmax":
        centre = xp.sum(omega * logits, axis=1, keepdims=True)
        slope = omega * (1 + logits - centre)
    return base_map(capture, base, slopes=xp.astype(explained, logits.dtype) - alpha * slope)
