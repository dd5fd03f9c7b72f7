"""Seg-Eigen-CAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array, spatial_axes
from camzoo.methods._arrays import leading_projection
from camzoo.types import Capture


def segeigencam(capture: Capture, *, centred: bool = True) -> Array:
    """Seg-Eigen-CAM: EigenCAM of the activations times the size of their gradients, the larger end made positive.

    `m = X v_1 = sigma_1 u_1`, with `X (n, K)` the cells of the grid by the channels of `|G| * A`,
    `A, G = dS/dA (N, K, h, w)`, columns centred; then `M = -m` if `|min m| > |max m|`, else `m`.

    Sign before that, ties and half precision are as in `eigencam`, with the energy of `|G| * A` before centring.

    Args:
        capture: activations and gradients.
        centred: take the mean over the cells off each channel first, as the reference implementation does.

    Returns:
        The RAW map `(N, h, w)`, signed; its largest absolute value is positive.

    Source:
        Chung and Ying, Seg-Eigen-CAM, Applied Sciences 15, 2025, doi 10.3390/app15137562, equations 10 to 13.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    projection = leading_projection(xp.abs(gradients) * activations, centred)
    axes = spatial_axes(projection)
    low, high = (end(projection, axis=axes, keepdims=True) for end in (xp.min, xp.max))
    return xp.where(xp.abs(low) > xp.abs(high), -projection, projection)
