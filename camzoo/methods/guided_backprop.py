"""Guided backpropagation."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.types import Capture


def guided_backprop(capture: Capture) -> Array:
    """Guided backpropagation: the gradient of the image, with every ReLU passing positive gradients only.

    `M = sum_c R_c`, with `g_in = relu(g_out) [z > 0]` at each ReLU on the way to `R (N, C, H, W)`

    where `z` is the input of the ReLU and `C` counts colour channels. The map hardly depends on the class.

    Args:
        capture: guided gradients.

    Returns:
        The RAW map `(N, H, W)`, signed, at the pixels of the image.

    Source:
        Springenberg et al., Striving for simplicity, ICLR 2015 workshop, arXiv 1412.6806, section 4.
    """
    xp = array_namespace(capture.guided)
    return xp.sum(capture.guided, axis=1)
