"""Group-CAM."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from camzoo.grids import Array, rectify, resize, spatial_axes
from camzoo.methods._scores import asked
from camzoo.types import Capture

_KEPT = 0.7  # the share of a group's cells that is set to zero, the weakest
_KERNEL, _SIGMA = 51, 50.0


def groupcam(capture: Capture, *, groups: int = 32) -> Array:
    """Group-CAM: Score-CAM over groups of gradient-weighted channels, an approximation with few forward passes.

    `m_g = denoise(relu(sum_{k in g} mean_ij(G_k) A_k))`, `M_g = minmax(up(m_g))`,
    `a_g = S(M_g * x + (1 - M_g) * blur(x)) - S(blur(x))` and `M = sum_g a_g minmax(m_g)`

    with `A (N, K, h, w)` the activations, `G = dS/dA`, `x` the images. `denoise` sets the cells to zero that are not
    above the 70th percentile; the ends of `minmax` are those of `up(m_g)` for both, so that this map enlarged is the
    authors' map. The channels are cut, in order, into chunks of `ceil(K / groups)`. A constant group is left out. The
    authors' score is the class probability.

    Args:
        capture: activations, gradients, images and the model to ask.
        groups: how many there are; as many inputs are run for each image, and one more.

    Returns:
        The RAW map `(N, h, w)`, in units of the score.

    Source:
        Zhang et al., Group-CAM, 2021, arXiv 2103.13859, section 3, with the constants of the authors' code.
    """
    activations, gradients, images = capture.activations, capture.gradients, capture.images
    xp = array_namespace(activations)
    weighted = xp.mean(gradients, axis=spatial_axes(gradients, leading=2), keepdims=True) * activations
    length = math.ceil(activations.shape[1] / groups)
    starts = range(0, activations.shape[1], length)
    soft = blur(images)
    maps = []
    for image in range(activations.shape[0]):
        merged = xp.stack([xp.sum(weighted[image, start : start + length], axis=0) for start in starts])
        merged = _denoise(rectify(merged))
        enlarged = resize(merged, tuple(images.shape[2:]))
        axes = spatial_axes(enlarged)
        low = xp.min(enlarged, axis=axes, keepdims=True)
        spread = xp.max(enlarged, axis=axes, keepdims=True) - low
        usable = spread > 0
        spread = xp.where(usable, spread, xp.ones_like(spread))
        photo, blurred, masks = images[image], soft[image], (enlarged - low) / spread

        def make(start: int, stop: int, photo: Array = photo, blurred: Array = blurred, masks: Array = masks) -> Array:
            # The first input is the blurred image itself, the baseline of all gains.
            inputs = [blurred + masks[at - 1] * (photo - blurred) if at else blurred for at in range(start, stop)]
            return xp.stack(inputs)

        scores = asked(capture).score_inputs(image, make, masks.shape[0] + 1)
        gains = xp.reshape(scores[1:] - scores[0], spread.shape)
        parts = xp.where(usable, gains * ((merged - low) / spread), xp.zeros_like(merged))
        maps.append(xp.sum(parts, axis=0))
    return xp.stack(maps)


def _denoise(values: Array) -> Array:
    """Cells that are not above the 70th percentile of their map become zero; the percentile is interpolated."""
    xp = array_namespace(values)
    flat = xp.sort(xp.reshape(values, (values.shape[0], -1)), axis=1)
    place = _KEPT * (flat.shape[1] - 1)
    low = math.floor(place)
    high = min(low + 1, flat.shape[1] - 1)
    limit = flat[:, low] + (place - low) * (flat[:, high] - flat[:, low])
    limit = xp.reshape(limit, (-1, *[1] * (values.ndim - 1)))
    return xp.where(values > limit, values, xp.zeros_like(values))


def blur(images: Array) -> Array:
    """Gaussian blur, its border reflected without repeating the edge; one product with a matrix for each axis."""
    xp = array_namespace(images)
    half = min(_KERNEL, 2 * min(images.shape[2:]) - 1) // 2
    for axis in range(2, images.ndim):
        matrix = _blur_matrix(images, images.shape[axis], half)
        images = xp.moveaxis(xp.matmul(xp.moveaxis(images, axis, -1), matrix), -1, axis)
    return images


def _blur_matrix(images: Array, length: int, half: int) -> Array:
    """What each pixel of a line, the rows, gives to each blurred pixel, the columns."""
    xp = array_namespace(images)
    taps = [math.exp(-(step**2) / (2 * _SIGMA**2)) for step in range(-half, half + 1)]
    matrix = [[0.0] * length for _ in range(length)]
    for pixel in range(length):
        for step, tap in zip(range(-half, half + 1), taps, strict=True):
            source = abs(pixel + step)
            source = source if source < length else 2 * (length - 1) - source
            matrix[source][pixel] += tap / sum(taps)
    return xp.asarray(matrix, dtype=images.dtype, device=images.device)
