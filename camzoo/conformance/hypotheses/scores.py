"""The weights of the methods that run the model again, right and wrong: Score-CAM and Ablation-CAM."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from camzoo.conformance.hypotheses.batch import Batch
from camzoo.conformance.hypotheses.endings import INTERPOLATIONS, Resize, bilinear
from camzoo.conformance.hypotheses.weights import Wrong, ratio
from camzoo.oracles.grids import Floats

Masks = Callable[[Floats, tuple[int, ...]], Floats]
"""From the activations of one image `(K, h, w)` and `(H, W)` to a mask for each channel `(K, H, W)`."""


# ---- Score-CAM


def unit(maps: Floats, epsilon: float = 0.0) -> Floats:
    """Min-max of each map to 0..1, with an epsilon beside the range; a constant map gives zeros."""
    low, high = _ends(maps)
    return np.asarray((maps - low) / np.where(high == low, 1.0, high - low + epsilon))


def _ends(maps: Floats) -> tuple[Floats, Floats]:
    cells = tuple(range(1, maps.ndim))
    return maps.min(cells, keepdims=True), maps.max(cells, keepdims=True)


def paper(A: Floats, size: tuple[int, ...]) -> Floats:
    """`mm(up(A_k))`."""
    return unit(bilinear(A, size))


def _by_largest(A: Floats, size: tuple[int, ...]) -> Floats:
    large = bilinear(A, size)
    high = _ends(large)[1]
    return np.asarray(large / np.where(high == 0, 1.0, high))


def _together(A: Floats, size: tuple[int, ...]) -> Floats:
    large = bilinear(A, size)
    return np.asarray((large - large.min()) / (large.max() - large.min()))


def _softened(epsilon: float) -> tuple[tuple[str, Masks], ...]:
    return (
        (f"those of masks with {epsilon:g} added to their range", lambda A, size: unit(bilinear(A, size), epsilon)),
        (
            f"those of masks scaled before they are enlarged, with {epsilon:g} added to their range",
            lambda A, size: bilinear(unit(A, epsilon), size),
        ),
    )


def _enlarged_by(resize: Resize) -> Masks:
    return lambda A, size: unit(resize(A, size))


MASKS: tuple[tuple[str, Masks], ...] = (
    ("those of masks scaled to 0..1 before they are enlarged, not after", lambda A, size: bilinear(unit(A), size)),
    ("those of masks that are not scaled to 0..1", bilinear),
    ("those of masks divided by their maximum, their minimum is not subtracted", _by_largest),
    ("those of masks scaled by the minimum and maximum of all channels together", _together),
    ("those of rectified masks", lambda A, size: unit(np.maximum(bilinear(A, size), 0))),
    ("those of inverted masks", lambda A, size: 1 - paper(A, size)),
    ("those of binary masks, cut at one half", lambda A, size: np.where(paper(A, size) > 0.5, 1.0, 0.0)),
    *((f"those of masks enlarged by {name}", _enlarged_by(resize)) for name, resize in INTERPOLATIONS),
    (
        "those of masks scaled before they are enlarged with align_corners=True",
        lambda A, size: INTERPOLATIONS[0][1](unit(A), size),
    ),
    *_softened(1e-8),
    *_softened(1e-7),
)


@functools.lru_cache(maxsize=64)
def masked(batch: Batch, masks: Masks) -> Floats:
    """The outputs `(N, K, classes)` for each image seen through each mask."""
    found = []
    for image, A in zip(batch.images, batch.A, strict=True):
        x = image.x
        found.append([image.outputs(mask * x) for mask in masks(A, image.size)])
    return np.array(found)


def logits(batch: Batch, outputs: Floats) -> Floats:
    """The output of the class `(N, K)`, of outputs `(N, K, classes)`."""
    return np.stack([outputs[n, :, c] for n, c in enumerate(batch.c)])


def probabilities(batch: Batch, outputs: Floats) -> Floats:
    """The softmax over the classes at the class, `(N, K)`."""
    return logits(batch, softmax(outputs))


def softmax(values: Floats, axis: int = -1) -> Floats:
    """Over one axis."""
    odds = np.exp(values - values.max(axis, keepdims=True))
    return np.asarray(odds / odds.sum(axis, keepdims=True))


def channel_softmax(batch: Batch, values: Floats) -> Floats:
    """Over the channels `(N, K)`, without the constant ones, which have no mask."""
    low, high = batch.A.min(batch.cells), batch.A.max(batch.cells)
    return softmax(np.where(low == high, -np.inf, values))


def scorecam(batch: Batch) -> Floats:
    """`softmax_k S(M_k * x)`."""
    return _softmax_of(batch, paper)


def _softmax_of(b: Batch, masks: Masks) -> Floats:
    return channel_softmax(b, logits(b, masked(b, masks)))


def _top(b: Batch) -> Floats:
    top = b.y.argmax(1)
    return np.stack([masked(b, paper)[n, :, c] for n, c in enumerate(top)])


def _of_first(b: Batch) -> Floats:
    return np.asarray(masked(b, paper)[:, :, b.c[0]])


def _gain(b: Batch, of: Callable[[Batch, Floats], Floats]) -> Floats:
    """Above the score of a black image, for each image."""
    black = np.stack([image.outputs(np.zeros_like(image.x)) for image in b.images])
    return of(b, masked(b, paper)) - of(b, black[:, None])


def _loss(b: Batch) -> Floats:
    """The drop from the score of the image itself."""
    return logits(b, masked(b, paper)) - logits(b, b.y[:, None])


def _p(b: Batch) -> Floats:
    return probabilities(b, masked(b, paper))


SCORECAM: tuple[Wrong, ...] = (
    ("the logits: there is no softmax over the channels", lambda b: logits(b, masked(b, paper))),
    ("the logits less that of a black image: there is no softmax over the channels", lambda b: _gain(b, logits)),
    ("the logits less that of the image: there is no softmax over the channels", _loss),
    ("the softmax probabilities of the class: there is no softmax over the channels", _p),
    (
        "the softmax probabilities less that of a black image: there is no softmax over the channels",
        lambda b: _gain(b, probabilities),
    ),
    ("the softmax over channels of the class's probability, not of its logit", lambda b: channel_softmax(b, _p(b))),
    (
        "the softmax over channels of the class's log-probability, not of its logit",
        lambda b: channel_softmax(b, np.log(_p(b))),
    ),
    ("the softmax over the batch, not over the channels", lambda b: softmax(logits(b, masked(b, paper)), 0)),
    (
        "the softmax over batch and channels together",
        lambda b: softmax(logits(b, masked(b, paper)).reshape(1, -1)).reshape(b.A.shape[:2]),
    ),
    ("those of the top class, not of the class that was asked for", lambda b: channel_softmax(b, _top(b))),
    ("those of the first image's class", lambda b: channel_softmax(b, _of_first(b))),
    (
        "those of a softmax in which constant channels take part with a black mask",
        lambda b: softmax(logits(b, masked(b, paper))),
    ),
    *((reason, functools.partial(_softmax_of, masks=masks)) for reason, masks in MASKS),
)


# ---- Ablation-CAM

Ablate = Callable[[Batch, int, int], Floats]
"""From a batch, the number of an image and a channel to the activations `(K, h, w)` with that channel ablated."""


def _set(A: Floats, k: int, value: float | Floats) -> Floats:
    changed = A.copy()
    changed[k] = value
    return changed


def zeroed(b: Batch, n: int, k: int) -> Floats:
    """The channel at zero."""
    return _set(b.A[n], k, 0.0)


def _all_up_to(b: Batch, n: int, k: int) -> Floats:
    changed: Floats = b.A[n].copy()
    changed[: k + 1] = 0.0
    return changed


def _alone(b: Batch, n: int, k: int) -> Floats:
    return _set(np.zeros_like(b.A[n]), k, b.A[n][k])


ABLATIONS: tuple[tuple[str, Ablate], ...] = (
    ("a channel is replaced by its mean, not by zero", lambda b, n, k: _set(b.A[n], k, b.A[n][k].mean())),
    ("a channel is replaced by its smallest value, not by zero", lambda b, n, k: _set(b.A[n], k, b.A[n][k].min())),
    ("a channel is replaced by the mean of all, not by zero", lambda b, n, k: _set(b.A[n], k, b.A[n].mean())),
    ("a channel is replaced by the batch's mean of it", lambda b, n, k: _set(b.A[n], k, b.A[:, k].mean(0))),
    ("a channel is replaced by the batch's mean number", lambda b, n, k: _set(b.A[n], k, b.A[:, k].mean())),
    ("a channel is not given back before the next one is taken away", _all_up_to),
    ("all channels but one are taken away", _alone),
)


@functools.lru_cache(maxsize=64)
def ablated(batch: Batch, ablate: Ablate) -> Floats:
    """The outputs `(N, K, classes)` with each channel ablated."""
    channels = range(batch.A.shape[1])
    return np.array(
        [[image.tail_outputs(ablate(batch, n, k)) for k in channels] for n, image in enumerate(batch.images)]
    )


@functools.lru_cache(maxsize=64)
def full(batch: Batch) -> Floats:
    """The outputs `(N, 1, classes)` with the activations of the batch."""
    return np.array([[image.tail_outputs(A)] for image, A in zip(batch.images, batch.A, strict=True)])


def ablationcam(batch: Batch) -> Floats:
    """`(S - S_k) / |S|`."""
    return _share(batch, ablated(batch, zeroed))


def _share(b: Batch, outputs: Floats) -> Floats:
    S = logits(b, full(b))
    return ratio(S - logits(b, outputs), np.abs(S))


def _drop(b: Batch) -> Floats:
    return logits(b, full(b)) - logits(b, ablated(b, zeroed))


def _of_probabilities(b: Batch) -> tuple[Floats, Floats]:
    return probabilities(b, full(b)), probabilities(b, ablated(b, zeroed))


def _of_class(b: Batch, classes: list[int]) -> Floats:
    S = np.stack([full(b)[n, :, c] for n, c in enumerate(classes)])
    without = np.stack([ablated(b, zeroed)[n, :, c] for n, c in enumerate(classes)])
    return ratio(S - without, np.abs(S))


def _ablated_by(b: Batch, ablate: Ablate) -> Floats:
    return _share(b, ablated(b, ablate))


def _of_share(p: tuple[Floats, Floats]) -> Floats:
    return ratio(p[0] - p[1], p[0])


ABLATIONCAM: tuple[Wrong, ...] = (
    ("the drops of the score: they are not divided by it", _drop),
    (
        "divided by S, not by its absolute value: a negative score turns them",
        lambda b: ratio(_drop(b), logits(b, full(b))),
    ),
    ("the rises of the score, not its drops", lambda b: -ablationcam(b)),
    (
        "divided by the score without the channel",
        lambda b: ratio(_drop(b), logits(b, ablated(b, zeroed))),
    ),
    (
        "divided by the absolute score without the channel",
        lambda b: ratio(_drop(b), np.abs(logits(b, ablated(b, zeroed)))),
    ),
    ("the scores without the channel, not the drops", lambda b: logits(b, ablated(b, zeroed))),
    (
        "the scores without the channel over the score",
        lambda b: ratio(logits(b, ablated(b, zeroed)), logits(b, full(b))),
    ),
    ("divided by the batch's mean score", lambda b: _drop(b) / logits(b, full(b)).mean()),
    ("divided by the absolute value of the batch's mean score", lambda b: _drop(b) / abs(logits(b, full(b)).mean())),
    ("divided by the batch's mean absolute score", lambda b: _drop(b) / np.abs(logits(b, full(b))).mean()),
    ("divided by the score of the first image", lambda b: _drop(b) / np.abs(logits(b, full(b))[:1])),
    ("divided by the largest drop", lambda b: ratio(_drop(b), _drop(b).max(1, keepdims=True))),
    ("the drops of the softmax probability, over it", lambda b: _of_share(_of_probabilities(b))),
    ("the drops of the softmax probability", lambda b: np.subtract(*_of_probabilities(b))),
    ("those of the top class, not of the class that was asked for", lambda b: _of_class(b, list(b.y.argmax(1)))),
    ("those of the first image's class", lambda b: _of_class(b, [b.c[0]] * len(b.c))),
    *(
        (f"those of another ablation: {reason}", functools.partial(_ablated_by, ablate=ablate))
        for reason, ablate in ABLATIONS
    ),
)
