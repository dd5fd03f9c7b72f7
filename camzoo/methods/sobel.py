"""A control: edges of the image."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from camzoo.grids import Array, spatial_axes
from camzoo.types import Capture

LUMINANCE = (0.299, 0.587, 0.114)
"""What red, green and blue add to brightness, by ITU-R BT.601."""
DERIVATIVE, SMOOTHING = (-1, 0, 1), (1, 2, 1)


def sobel(capture: Capture) -> Array:
    """The strength of edges, to compare with: a map like this one shows the image, not the model.

    `M = sqrt(sum_a (D_a L)^2)`, with `L (N, H, W)` the luminance of the image and `D_a` Sobel's derivative along axis
    `a`: `(-1, 0, 1)` along it and `(1, 2, 1)` along every other, the border repeated.

    Luminance is `0.299 R + 0.587 G + 0.114 B` of what the model is given, so after its preprocessing; images of another
    number of colours are averaged.

    Args:
        capture: images `(N, C, H, W)`.

    Returns:
        The RAW map `(N, H, W)`, zero or more, on the image's pixels.

    Source:
        Sobel and Feldman, 1968; as a control for heatmaps: Adebayo et al., Sanity checks for saliency maps, NeurIPS
        2018, arXiv 1810.03292.
    """
    images = capture.images
    xp = array_namespace(images)
    colours = images.shape[1]
    shares = LUMINANCE if colours == len(LUMINANCE) else (1 / colours,) * colours
    luminance = sum(share * images[:, colour, ...] for colour, share in enumerate(shares))
    squares = xp.zeros_like(luminance)
    for along in spatial_axes(luminance):
        edge = luminance
        for axis in spatial_axes(luminance):
            edge = _filtered(xp, edge, axis, DERIVATIVE if axis == along else SMOOTHING)
        squares = squares + edge * edge
    return xp.sqrt(squares)


def _filtered(xp: Any, values: Array, axis: int, taps: tuple[int, int, int]) -> Array:
    """One axis filtered by three taps, the border repeated."""
    values = xp.moveaxis(values, axis, 0)
    padded = xp.concat([values[:1], values, values[-1:]], axis=0)
    below, middle, above = taps
    return xp.moveaxis(below * padded[:-2] + middle * values + above * padded[2:], 0, axis)
