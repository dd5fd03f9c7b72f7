"""Counterfactual Grad-CAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._arrays import flat, weighted_sum
from camzoo.types import Capture


def counterfactual_gradcam(capture: Capture) -> Array:
    """Counterfactual Grad-CAM: where the image speaks against the class, Grad-CAM of the negated gradients.

    `alpha_k = mean_ij (-G_kij)` and `M_ij = sum_k alpha_k A_kij`

    with `A (N, K, h, w)` the activations of the layer and `G = dS/dA (N, K, h, w)`.

    Args:
        capture: activations and gradients.

    Returns:
        The RAW map `(N, h, w)`, signed: Grad-CAM with the other sign. It differs from it in what the ReLU keeps.

    Source:
        Selvaraju et al., Grad-CAM, IJCV 2019, arXiv 1610.02391, equation 3.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    return weighted_sum(-xp.mean(flat(gradients), axis=-1), activations)
