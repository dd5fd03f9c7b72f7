"""HiResCAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.types import Capture


def hirescam(capture: Capture) -> Array:
    """HiResCAM: every activation times its own gradient.

    `M_ij = sum_k G_kij A_kij`

    with `A (N, K, h, w)` the activations of the layer and `G = dS/dA (N, K, h, w)`.

    Args:
        capture: activations and gradients.

    Returns:
        The RAW map `(N, h, w)`, signed, in units of the score: where what follows the layer is linear, the sum over the
        grid is the score less its bias.

    Source:
        Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020, arXiv 2011.08891.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    return xp.sum(gradients * activations, axis=1)
