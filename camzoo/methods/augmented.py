"""Test-time augmentation, as a wrapper around any method."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._base import base_map
from camzoo.types import Capture

_FACTORS = (0.9, 1.0, 1.1)


def augmented(capture: Capture, *, base: str = "gradcam") -> Array:
    """Test-time augmentation: the mean of a method's maps over flipped and dimmed copies of the image.

    `M = mean over f and flips of flip(L(f * flip(x)))`, `f` in 0.9, 1 and 1.1

    with `L` the RAW map of the base method and `x (N, C, H, W)` the images; the map of a mirrored image is mirrored
    back. What is explained is the clean image's class throughout.

    Args:
        capture: images and the model to ask.
        base: the method.

    Returns:
        The RAW map `(N, h, w)` of the base method.

    Source:
        Common practice; pytorch-grad-cam's `aug_smooth` takes the same six copies, and their mean after scaling.
    """
    images = capture.images
    xp = array_namespace(images)
    mirrored = xp.flip(images, axis=-1)
    maps = [base_map(capture, base, images=factor * images) for factor in _FACTORS]
    maps += [xp.flip(base_map(capture, base, images=factor * mirrored), axis=-1) for factor in _FACTORS]
    return sum(maps[1:], start=maps[0]) / len(maps)
