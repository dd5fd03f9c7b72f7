"""XGrad-CAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._arrays import flat, ratio, weighted_sum
from camzoo.types import Capture


def xgradcam(capture: Capture) -> Array:
    """XGrad-CAM: channels weighted by the mean of their gradient, each cell counted by its share of the activation.

    `w_k = sum_ij G_kij A_kij / sum_ij A_kij` and `M_ij = sum_k w_k A_kij`

    with `A (N, K, h, w)` the activations of the layer and `G = dS/dA (N, K, h, w)`. Both sums are computed as means,
    which do not overflow in float16.

    Args:
        capture: activations and gradients.

    Returns:
        The RAW map `(N, h, w)`, signed. A channel without activation has weight 0; one whose activations cancel to
        zero, as they can before a ReLU, has an infinite weight, and the map is not finite.

    Source:
        Fu et al., Axiom-based Grad-CAM, BMVC 2020, arXiv 2008.02312.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    share = xp.mean(flat(gradients * activations), axis=-1)
    return weighted_sum(ratio(share, xp.mean(flat(activations), axis=-1)), activations)
