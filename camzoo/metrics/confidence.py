"""Average Drop, Increase in Confidence and Average Gain: the image seen through its map, once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from camzoo.metrics.maps import defined, filled, shown
from camzoo.metrics.scores import Score, ask, unaltered


@dataclass(frozen=True, slots=True, eq=False)
class Confidence:
    """What a masked image scores, in three readings; each `(N,)`, NaN where undefined. Their means are the metrics.

    Attributes:
        drop: `max(0, Y - O) / Y`, in 0..1, lower is better; undefined where `Y = 0`.
        increase: `1` where `Y < O`, else `0`, higher is better.
        gain: `max(0, O - Y) / (1 - Y)`, in 0..1, higher is better; undefined where `Y = 1`, with nothing to gain.
    """

    drop: torch.Tensor
    increase: torch.Tensor
    gain: torch.Tensor


def confidence(
    score: Score,
    images: torch.Tensor,
    maps: torch.Tensor,
    *,
    original: torch.Tensor | None = None,
    chunk: int | None = None,
) -> Confidence:
    """Average Drop, Increase in Confidence and Average Gain of each image, from one masked forward pass.

    `O = score(M * x)` and `Y = score(x)`, with `x (C, H, W)` an image and `M (H, W)` its map in 0..1.

    Pitfalls. A map that is one nearly everywhere changes nothing and so drops nothing: without Complexity (see ADCC)
    the best map is the emptiest statement. Masking is a product in the model's own input space, where zero is the mean
    colour of the training data and not black. What is masked is unlike any photo, and the score answers to that too.

    Args:
        score: the model, softmax probability.
        images: `(N, C, H, W)`.
        maps: `(N, h, w)`, of any stage.
        original: `Y (N,)` where it is known already.
        chunk: how many images to run at a time; None for as many as memory allows.

    Source:
        Chattopadhay et al., Grad-CAM++, WACV 2018, arXiv 1710.11063, section 5.1; the gain: Zhang et al., Opti-CAM,
        arXiv 2301.07002.
    """
    seen = shown(maps, tuple(images.shape[2:]))
    which = defined(seen)
    before = unaltered(score, images, chunk) if original is None else original

    def masked(start: int, stop: int) -> torch.Tensor:
        part = which[start:stop]
        return images[part] * seen[part, None].to(images.dtype)

    after = filled(before, (len(images),), which, ask(score, masked, which, images, chunk))
    increase = (before < after).to(before.dtype).masked_fill(after.isnan(), torch.nan)
    return Confidence((before - after).clamp(min=0) / before, increase, (after - before).clamp(min=0) / (1 - before))
