"""IS-CAM."""

from __future__ import annotations

from typing import Literal

import numpy as np
from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._scores import score_weighted
from camzoo.noise import as_array
from camzoo.types import Capture


def iscam(
    capture: Capture,
    *,
    samples: int = 10,
    strength: Literal["linear", "cumulative"] = "linear",
    top_channels: int | None = None,
) -> Array:
    """IS-CAM: Score-CAM with its scores integrated over the strength of the masks.

    `w = softmax_k (1/T) sum_{t=1..T} S(s_t M_k * x)` and `M = sum_k w_k A_k`, `s_t = t/T`

    with `M_k = minmax(up(A_k))` as in Score-CAM.

    Args:
        capture: activations, images and the model to ask.
        samples: `T`; `K * T` inputs are run for each image.
        strength: "linear", or "cumulative" for `s_t = t (t + 1) / (2 T)`, the running sum, which leaves 0..1.
        top_channels: an approximation, as in Score-CAM.

    Returns:
        The RAW map `(N, h, w)`.

    Source:
        Naidu et al., IS-CAM: Integrated Score-CAM, 2020, arXiv 2010.03023.
    """
    steps = np.arange(1, samples + 1) / samples
    strengths = np.cumsum(steps) if strength == "cumulative" else steps

    def alter(masks: Array, photo: Array, _channels: list[int], at: list[int]) -> Array:
        xp = array_namespace(masks)
        factors = xp.reshape(as_array(masks, strengths[at]), (-1, *[1] * (masks.ndim - 1)))
        return (factors * masks)[:, None] * photo[None]

    return score_weighted(capture, samples, alter, top_channels, "softmax")
