"""Eigen-Grad-CAM."""

from __future__ import annotations

from camzoo.grids import Array
from camzoo.methods._arrays import leading_projection
from camzoo.types import Capture


def eigengradcam(capture: Capture, *, centred: bool = False) -> Array:
    """Eigen-Grad-CAM: EigenCAM of the activations times their gradients, so that the class counts.

    `M = X v_1 = sigma_1 u_1`, with `X (n, K)` the cells of the grid by the channels of `G * A`,
    `A, G = dS/dA (N, K, h, w)`, and `v_1 (K,)` its first right singular vector, for each image alone.

    Sign, ties and half precision are as in `eigencam`, with the energy of `G * A`.

    Args:
        capture: activations and gradients.
        centred: take the mean over the cells off each channel first, as pytorch-grad-cam does.

    Returns:
        The RAW map `(N, h, w)`, signed, in units of the score.

    Source:
        No paper; defined by the library pytorch-grad-cam, as EigenGradCAM.
    """
    return leading_projection(capture.gradients * capture.activations, centred)
