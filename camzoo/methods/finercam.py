"""Finer-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from array_api_compat import array_namespace

from camzoo.errors import NotOffered, RequestError
from camzoo.grids import Array
from camzoo.methods._arrays import ratio
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
        capture: the model to ask; the explained score must be a logit of its scores.
        alpha: how much the reference classes count.
        similar: how many there are.
        references: these classes instead, the same for every image.
        weights: "mean" for `omega = 1 / similar`; "softmax" for the probabilities among the references, through which
            the derivative goes too, as in the authors' code.
        base: the method that explains the contrast.

    Returns:
        The RAW map of the base method `(N, h, w)`; of `y_c` alone where there is no reference.

    Raises:
        NotOffered: what is explained is not the logit of a class.
        RequestError: a reference is out of range.

    Source:
        Zhang et al., Finer-CAM, CVPR 2025, arXiv 2501.11309.
    """

    def contrast(logits: Array, explained: Array, classes: Array) -> Array:
        own = _own(logits, explained, classes)
        if references is None:
            chosen = _similar(logits, explained, own, similar)
        else:
            chosen = _named(logits, references) & ~own
        return _slopes(logits, own, chosen, alpha, weights)

    return base_map(capture, base, slopes=contrast)


def _own(logits: Array, explained: Array, classes: Array) -> Array:
    """The class that is explained, true for one class of each image: `(N, classes)`."""
    xp = array_namespace(logits)
    index = _nearest(xp.abs(logits - explained[:, None])) if classes is None else classes
    return index[:, None] == xp.arange(logits.shape[1], device=logits.device)


def _similar(logits: Array, explained: Array, own: Array, similar: int) -> Array:
    """The classes with the logits nearest to that of the class that is explained."""
    xp = array_namespace(logits)
    distance = xp.where(own, xp.inf, xp.abs(logits - explained[:, None]))
    rank = xp.argsort(xp.argsort(distance, axis=1, stable=True), axis=1, stable=True)
    return (rank < min(similar, logits.shape[1] - 1)) & ~own


def _named(logits: Array, references: Sequence[int]) -> Array:
    """These classes, the same for every image: `(classes,)`."""
    xp, count = array_namespace(logits), logits.shape[1]
    if outside := [index for index in references if not 0 <= index < count]:
        raise RequestError(f"class {outside[0]} is out of range: the model has {count} classes, 0 to {count - 1}")
    classes = xp.arange(count, device=logits.device)
    named = xp.asarray(list(references), dtype=classes.dtype, device=logits.device)
    return xp.any(classes[:, None] == named, axis=1)


def _slopes(logits: Array, own: Array, chosen: Array, alpha: float, weights: str) -> Array:
    """`dT/dy (N, classes)`."""
    xp = array_namespace(logits)
    omega = xp.astype(chosen, logits.dtype)
    if weights == "softmax":
        nearest = xp.max(xp.where(chosen, logits, -xp.inf), axis=1, keepdims=True)
        omega = xp.where(chosen, xp.exp(logits - nearest), 0.0)
    omega = ratio(omega, xp.sum(omega, axis=1, keepdims=True))
    slope = omega
    if weights == "softmax":
        centre = xp.sum(omega * logits, axis=1, keepdims=True)
        slope = omega * (1 + logits - centre)
    return xp.astype(own, logits.dtype) - alpha * slope


def _nearest(distance: Array) -> Array:
    """The class whose logit the explained score is, `(N,)`, where the capture does not say."""
    xp = array_namespace(distance)
    if bool(xp.any(xp.min(distance, axis=1) > 0)):
        raise NotOffered("finercam contrasts a class with others: what is explained has to be the logit of a class")
    return xp.argmin(distance, axis=1)
