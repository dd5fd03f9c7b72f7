"""Guided Grad-CAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array, rectify, resize
from camzoo.methods.gradcam import gradcam
from camzoo.types import Capture


def guided_gradcam(capture: Capture) -> Array:
    """Guided Grad-CAM: guided backpropagation, where Grad-CAM sees the class.

    `M = sum_c R_c * up(relu(L))`

    with `R (N, C, H, W)` the guided gradients, `L (N, h, w)` the Grad-CAM map and `up` bilinear.

    Args:
        capture: activations, gradients and guided gradients.

    Returns:
        The RAW map `(N, H, W)`, signed, at the pixels of the image.

    Source:
        Selvaraju et al., Grad-CAM, ICCV 2017 and IJCV 2019, arXiv 1610.02391, section 3.2.
    """
    guided = capture.guided
    xp = array_namespace(guided)
    return xp.sum(guided, axis=1) * resize(rectify(gradcam(capture)), tuple(guided.shape[2:]))
