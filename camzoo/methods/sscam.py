"""SS-CAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._scores import score_weighted
from camzoo.noise import normal
from camzoo.types import Capture


def sscam(capture: Capture, *, samples: int = 10, std: float = 2.0, top_channels: int | None = None) -> Array:
    """SS-CAM: Score-CAM with its scores averaged over noise that is added to the masks.

    `w = softmax_k (1/T) sum_t S((M_k + d_kt) * x)` and `M = sum_k w_k A_k`, `d_kt ~ N(0, std^2)` for each pixel

    with `M_k = minmax(up(A_k))` as in Score-CAM. The noise is the same for all colours of a pixel, and is not clipped.
    It depends on the seed, the channel and the sample alone.

    Args:
        capture: activations, images, seed and the model to ask.
        samples: `T`; `K * T` inputs are run for each image.
        std: of the noise, in units of the masks, which reach from 0 to 1.
        top_channels: an approximation, as in Score-CAM.

    Returns:
        The RAW map `(N, h, w)`.

    Source:
        Wang et al., SS-CAM: Smoothed Score-CAM, 2020, arXiv 2006.14255, its first variant (noise on the mask).
    """

    def alter(masks: Array, photo: Array, channels: list[int], at: list[int]) -> Array:
        xp = array_namespace(masks)
        draws = [normal(masks, tuple(photo.shape[1:]), capture.seed, k, t) for k, t in zip(channels, at, strict=True)]
        return (masks + std * xp.stack(draws))[:, None] * photo[None]

    return score_weighted(capture, samples, alter, top_channels, "softmax")
