"""Grad-CAM++."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.errors import unknown
from camzoo.grids import Array, rectify
from camzoo.methods._arrays import flat, weighted_sum
from camzoo.types import Capture


def gradcam_plus_plus(capture: Capture, *, alpha: str = "paper") -> Array:
    """Grad-CAM++: channels weighted by a weighted sum of their positive gradients.

    `alpha_kij = G^2 / (2 G^2 + a_k G^3)` with `a_k = sum_ij A_kij`, `w_k = sum_ij alpha_kij relu(G_kij)` and
    `M_ij = sum_k w_k A_kij`

    with `A (N, K, h, w)` the activations of the layer and `G = dS/dA (N, K, h, w)`. Cells with `G <= 0` add nothing.
    Elsewhere `G^2` cancels and `alpha = 1 / (2 + a_k G)` is computed: exact, and small gradients do not underflow.

    Args:
        capture: activations and gradients.
        alpha: "paper" as above, or "authors": as their code has it, `alpha` is `G^2` where its denominator is zero, and
            is divided by its sum over the cells of positive gradient, for each channel, unless that is zero.

    Returns:
        The RAW map `(N, h, w)`, signed if the activations are. Where `2 + a_k G = 0`, as it can be for negative
        activations, "paper" is not finite.

    Raises:
        RequestError: another `alpha`.

    Source:
        Chattopadhay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, equation 19 for an exponential class score; the
        factor exp(S), common to all channels, is left out.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    positive = rectify(flat(gradients))
    denominator = 2 + xp.sum(flat(activations), axis=-1, keepdims=True) * positive
    if alpha == "paper":
        weights = xp.sum(positive / denominator, axis=-1)
    elif alpha == "authors":
        zero = denominator == 0
        alphas = xp.where(zero, positive * positive, 1 / xp.where(zero, 1.0, denominator))
        alphas = xp.where(positive == 0, 0.0, alphas)
        total = xp.sum(alphas, axis=-1)
        weights = xp.sum(alphas * positive, axis=-1) / xp.where(total == 0, 1.0, total)
    else:
        raise unknown("alpha", alpha, ["paper", "authors"])
    return weighted_sum(weights, activations)
