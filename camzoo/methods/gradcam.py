"""Grad-CAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._arrays import flat, weighted_sum
from camzoo.types import Capture


def gradcam(capture: Capture) -> Array:
    """Grad-CAM: channels weighted by the mean of their gradient over the grid.

    `alpha_k = mean_ij G_kij` and `M_ij = sum_k alpha_k A_kij`

    with `A (N, K, h, w)` the activations of the layer, `G = dS/dA (N, K, h, w)` and `S` the score, the class logit
    unless said. Volumes `(N, K, d, h, w)` are treated alike.

    Args:
        capture: activations and gradients.

    Returns:
        The RAW map `(N, h, w)`, signed, in units of the score per cell. The paper's ReLU is the next stage.

    Source:
        Selvaraju et al., Grad-CAM, ICCV 2017 and IJCV 2019, arXiv 1610.02391, equations 1 and 2.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    return weighted_sum(xp.mean(flat(gradients), axis=-1), activations)
