"""The right weights, put together wrongly; and right maps on the wrong cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from camzoo.conformance.hypotheses.batch import Batch, Early, Step
from camzoo.oracles.grids import Floats

Combine = Callable[[Floats, Floats], Floats]
"""From weights, as wide as the activations, and activations `(N, K, h, w)` to RAW maps."""


def weighted_sum(weights: Floats, A: Floats) -> Floats:
    """`sum_k w_k A_k`; the weights are `(N, K)`, or `(N, K, h, w)` where each cell has its own."""
    return np.asarray((_spread(weights, A) * A).sum(1))


def _spread(weights: Floats, A: Floats) -> Floats:
    return weights.reshape(*weights.shape, *[1] * (A.ndim - weights.ndim))


def _centred(A: Floats) -> Floats:
    return np.asarray(A - A.mean(tuple(range(2, A.ndim)), keepdims=True))


COMBINATIONS: tuple[tuple[str, Combine], ...] = (
    ("the mean over the channels is taken, not the sum", lambda w, A: (w * A).mean(1)),
    ("each channel's term is rectified before the sum", lambda w, A: np.maximum(w * A, 0).sum(1)),
    ("the terms of the channels are taken by their absolute value", lambda w, A: np.abs(w * A).sum(1)),
    ("the largest term of any channel is taken, not the sum", lambda w, A: (w * A).max(1)),
    ("the root of the sum of squares is taken, not the sum", lambda w, A: np.sqrt(((w * A) ** 2).sum(1))),
    ("weights and activations are summed apart and then multiplied", lambda w, A: w.sum(1) * A.sum(1)),
    ("the sum is over channels less their mean", lambda w, A: (w * _centred(A)).sum(1)),
    ("the weights are added to the activations, not multiplied", lambda w, A: (w + A).sum(1)),
    ("the weights of each image meet the activations of the first one", lambda w, A: (w * A[:1]).sum(1)),
)

LAYOUTS: tuple[tuple[str, Callable[[Floats], Floats]], ...] = (
    (
        "the cells are laid out column by column, not row by row: the grid is transposed",
        lambda M: np.swapaxes(M.reshape(*M.shape[:-2], M.shape[-1], M.shape[-2]), -1, -2),
    ),
    (
        "the cells are read column by column and laid out row by row: the grid is transposed",
        lambda M: np.swapaxes(M, -1, -2).reshape(M.shape),
    ),
    ("the grid is upside down", lambda M: M[..., ::-1, :]),
    ("left and right of the grid are swapped", lambda M: M[..., ::-1]),
    ("the grid is turned by half a turn", lambda M: M[..., ::-1, ::-1]),
    ("every image has the map of the first one", lambda M: np.broadcast_to(M[:1], M.shape)),
    ("the maps of the batch are in the opposite order", lambda M: M[::-1]),
    ("every image has the mean map of the batch", lambda M: np.broadcast_to(M.mean(0, keepdims=True), M.shape)),
    ("every image has the summed map of the batch", lambda M: np.broadcast_to(M.sum(0, keepdims=True), M.shape)),
)


def sums(weights: Callable[[Batch], Floats] | None) -> Iterator[Early]:
    """Other ways of putting the channels together, where the method's weights are known, and other layouts."""
    for reason, change in LAYOUTS:
        yield Early(Step.SUM, reason, partial(_laid_out, change=change))
    if weights is not None:
        for reason, combine in COMBINATIONS:
            yield Early(Step.SUM, reason, partial(_combined, weights=weights, combine=combine))


def _laid_out(batch: Batch, change: Callable[[Floats], Floats]) -> Floats:
    return change(batch.raw)


def _combined(batch: Batch, weights: Callable[[Batch], Floats], combine: Combine) -> Floats:
    return combine(_spread(weights(batch), batch.A), batch.A)
