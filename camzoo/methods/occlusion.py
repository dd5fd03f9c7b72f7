"""Occlusion."""

from __future__ import annotations

import itertools
import math
from functools import reduce

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._arrays import ratio
from camzoo.methods._scores import asked
from camzoo.types import Capture


def occlusion(
    capture: Capture, *, window: int | None = None, stride: int | None = None, baseline: float = 0.0
) -> Array:
    """Occlusion: the drop of the score under a sliding patch.

    `M_p = mean over windows v that cover p of S(x) - S(x with v at the baseline)`

    with `x (N, C, H, W)` the images. Windows start at 0, stride, 2 stride ... until the image is covered.
    A pixel that no window covers, where the stride is larger than the window, is 0.

    Args:
        capture: images, the score and the model to ask.
        window: side of the patch in pixels; a seventh of each side of the image where not given.
        stride: step of the patch; half the window where not given.
        baseline: what hides a pixel, in the model's input space: with the usual normalising 0 is the mean colour.

    Returns:
        The RAW map `(N, H, W)` on the image's pixels, in units of the score.

    Source:
        Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014, arXiv 1311.2901.
    """
    images = capture.images
    xp = array_namespace(images)
    axes = [_windows(images, length, window, stride) for length in images.shape[2:]]
    places = list(itertools.product(*(range(axis.shape[0]) for axis in axes)))
    maps = []
    for image in range(images.shape[0]):
        photo = images[image]

        def make(start: int, stop: int, photo: Array = photo) -> Array:
            hidden = xp.stack([_patch(axes, place) for place in places[start:stop]])
            return xp.where(hidden[:, None] > 0, xp.asarray(baseline, dtype=photo.dtype, device=photo.device), photo)

        scores = asked(capture).score_inputs(image, make, len(places))
        drops = xp.reshape(capture.explained[image] - scores, tuple(axis.shape[0] for axis in axes))
        maps.append(ratio(_spread(drops, axes), _spread(xp.ones_like(drops), axes)))
    return xp.stack(maps)


def _windows(images: Array, length: int, window: int | None, stride: int | None) -> Array:
    """For each window along one axis which pixels it covers, as ones: `(windows, length)`."""
    xp = array_namespace(images)
    side = window or max(1, round(length / 7))
    step = stride or max(1, side // 2)
    count = math.ceil(max(length - side, 0) / step) + 1
    starts = xp.reshape(xp.arange(count, device=images.device) * step, (count, 1))
    pixels = xp.arange(length, device=images.device)
    return xp.astype((pixels >= starts) & (pixels < starts + side), images.dtype)


def _patch(axes: list[Array], place: tuple[int, ...]) -> Array:
    """Which pixels one window covers, as ones: `(H, W)`."""
    return reduce(lambda grid, line: grid[..., None] * line, (axis[at] for axis, at in zip(axes, place, strict=True)))


def _spread(values: Array, axes: list[Array]) -> Array:
    """The sum, at each pixel, of the values of the windows that cover it."""
    xp = array_namespace(values)
    for axis in axes:
        # The leading axis of windows becomes a trailing axis of pixels; after all axes the order is as before.
        values = xp.tensordot(values, axis, axes=((0,), (0,)))
    return values
