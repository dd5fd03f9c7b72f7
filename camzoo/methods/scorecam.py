"""Score-CAM."""

from __future__ import annotations

from typing import Literal

from camzoo.grids import Array
from camzoo.methods._scores import score_weighted
from camzoo.types import Capture


def scorecam(
    capture: Capture, *, top_channels: int | None = None, weights: Literal["softmax", "score"] = "softmax"
) -> Array:
    """Score-CAM: channels weighted by the score of the image seen through them.

    `w = softmax_k S(M_k * x)` and `M = sum_k w_k A_k`, `M_k = minmax(up(A_k))`

    with `x (N, C, H, W)` the images, `A (N, K, h, w)` the activations, `up` bilinear to `(H, W)`. The paper's baseline
    score drops out of the softmax. A constant channel cannot be scaled to 0..1: its mask is not run, and it has weight
    zero and no part in the softmax.

    Args:
        capture: activations, images and the model to ask.
        top_channels: an approximation: only this many channels, those of largest standard deviation, take part.
        weights: "softmax", or "score" for the score itself, as in the authors' code, where the score is the
            class probability.

    Returns:
        The RAW map `(N, h, w)`, in units of the activations where weighted by softmax.

    Source:
        Wang et al., Score-CAM, CVPR workshops 2020, arXiv 1910.01279, algorithm 1.
    """
    return score_weighted(capture, 1, lambda masks, photo, *_: masks[:, None] * photo[None], top_channels, weights)
