"""Ablation-CAM."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from camzoo.grids import Array, spatial_axes
from camzoo.methods._arrays import ratio, weighted_sum
from camzoo.methods._scores import asked
from camzoo.types import Capture


def ablationcam(capture: Capture, *, closed_form: bool = True) -> Array:
    """Ablation-CAM: channels weighted by the drop of the score when they are set to zero.

    `w_k = (S - S_k) / |S|` and `M = sum_k w_k A_k`, `S_k` the score with channel k at zero everywhere

    with `A (N, K, h, w)` the activations. Only the part of the model after the layer is run for each channel. Where
    that part is pooling and one linear layer with weights `W`, `S - S_k = W_k mean_ij A_kij`, and nothing is run.

    Departure: the paper divides by `S`; where `S <= 0` that turns every sign round, so `|S|` is taken. 0/0 is 0.

    Args:
        capture: activations, the score and the model to ask.
        closed_form: whether the closed form may be used where it holds.

    Returns:
        The RAW map `(N, h, w)`, in units of the activations.

    Source:
        Desai and Ramaswamy, Ablation-CAM, WACV 2020, section 3.
    """
    activations = capture.activations
    xp = array_namespace(activations)
    head = asked(capture).head() if closed_form else None
    if head is None:
        drops = xp.stack([_drops(capture, image) for image in range(activations.shape[0])])
    else:
        drops = head * xp.mean(activations, axis=spatial_axes(activations, leading=2))
    return weighted_sum(ratio(drops, xp.abs(capture.explained)[:, None]), activations)


def _drops(capture: Capture, image: int) -> Array:
    """`S - S_k` for each channel of one image: `(K,)`."""
    activations = capture.activations[image]
    xp: Any = array_namespace(activations)
    channels = xp.arange(activations.shape[0], device=activations.device)

    def make(start: int, stop: int) -> Array:
        ablated = channels[start:stop, None] == channels[None]
        ablated = xp.reshape(ablated, (*ablated.shape, *[1] * (activations.ndim - 1)))
        return xp.where(ablated, xp.zeros_like(activations), activations)

    return capture.explained[image] - asked(capture).score_activations(image, make, activations.shape[0])
