"""SmoothGrad, as a wrapper around any method."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array, spatial_axes
from camzoo.methods._base import base_map
from camzoo.noise import normal
from camzoo.types import Capture


def smoothgrad(capture: Capture, *, base: str = "gradcam", samples: int = 16, std: float = 0.15) -> Array:
    """SmoothGrad: the mean of a method's maps over noisy copies of the image.

    `M = (1/T) sum_t L(x + N(0, sigma^2))`, `sigma = std * (max x - min x)` of each image

    with `L` the RAW map of the base method and `x (N, C, H, W)` the images. The noise depends on the seed and the
    sample alone; what is explained is the clean image's class throughout.

    Args:
        capture: images, seed and the model to ask.
        base: the method.
        samples: `T`, a capture for each; the paper takes 50.
        std: of the noise, as a share of the image's range.

    Returns:
        The RAW map `(N, h, w)` of the base method.

    Source:
        Smilkov et al., SmoothGrad, 2017, arXiv 1706.03825.
    """
    images = capture.images
    xp = array_namespace(images)
    axes = spatial_axes(images)
    sigma = std * (xp.max(images, axis=axes, keepdims=True) - xp.min(images, axis=axes, keepdims=True))
    noise = (normal(images, tuple(images.shape[1:]), capture.seed, sample)[None] for sample in range(samples))
    maps = [base_map(capture, base, images=images + sigma * one) for one in noise]
    return sum(maps[1:], start=maps[0]) / samples
