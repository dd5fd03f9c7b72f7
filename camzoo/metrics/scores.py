"""The model, as a metric may ask it: for the probability of a frozen class, of altered images, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable

import torch

from camzoo import chunks

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From altered images `(M, C, H, W)` and the number of the image that each was made from, `(M,)`, to the softmax
probability `(M,)` of the class that is frozen for that image: the one that the model predicts for it unaltered."""

Explain = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From altered images and the number of the image that each was made from to maps `(M, h, w)` of the frozen class."""

Make = Callable[[int, int], torch.Tensor]
"""Makes the altered images `start` to `stop`, so that never all of them are in memory."""

COPIES = 256
"""How many times its own size an image needs on its way through a model, as a guess."""


def ask(
    function: Score | Explain, make: Make, rows: torch.Tensor, like: torch.Tensor, chunk: int | None
) -> torch.Tensor:
    """What a model says of altered images, without gradients unless the function turns them on.

    Args:
        function: a Score or an Explain.
        make: the altered images.
        rows: the number of the image that each was made from, `(M,)`.
        like: the unaltered images `(N, C, H, W)`, for their size and device.
        chunk: how many to run at a time; None for as many as memory allows.

    Returns:
        What the function gives, `(M, ...)`; of no image at all an empty `(0,)`, and the function is not called.
    """
    if not len(rows):
        return like.new_empty(0)
    size = chunk or chunks.fitting(COPIES * like[0].numel() * like.element_size(), like.device)

    def compute(start: int, stop: int) -> torch.Tensor:
        return function(make(start, stop), rows[start:stop])

    with torch.no_grad():
        return chunks.run(compute, len(rows), size)


def unaltered(score: Score, images: torch.Tensor, chunk: int | None = None) -> torch.Tensor:
    """`Y (N,)`, the score of each image as it is.

    Args:
        score: the model.
        images: `(N, C, H, W)`.
        chunk: how many to run at a time; None for as many as memory allows.
    """
    rows = torch.arange(len(images), device=images.device)
    return ask(score, lambda start, stop: images[start:stop], rows, images, chunk)
