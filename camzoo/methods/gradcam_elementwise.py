"""Element-wise Grad-CAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array, rectify
from camzoo.types import Capture


def gradcam_elementwise(capture: Capture) -> Array:
    """Element-wise Grad-CAM: HiResCAM with the ReLU before the sum over channels.

    `M_ij = sum_k relu(G_kij A_kij)`

    with `A (N, K, h, w)` the activations of the layer and `G = dS/dA (N, K, h, w)`.

    Args:
        capture: activations and gradients.

    Returns:
        The RAW map `(N, h, w)`, zero or more.

    Source:
        No paper; defined by the library pytorch-grad-cam, as GradCAMElementWise.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    return xp.sum(rectify(gradients * activations), axis=1)
