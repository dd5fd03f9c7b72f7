"""What Score-CAM and its kin share: masks made of channels, and a softmax over those channels that can be masks."""

from __future__ import annotations

from collections.abc import Callable

from array_api_compat import array_namespace

from camzoo.grids import Array, normalise, resize, spatial_axes
from camzoo.methods._arrays import weighted_sum
from camzoo.types import Ask, Capture

Alter = Callable[[Array, Array, list[int], list[int]], Array]
"""Inputs `(M, C, H, W)` from masks `(M, H, W)`, the image `(C, H, W)`, and for each which channel and sample it is."""


def asked(capture: Capture) -> Ask:
    """The model behind a capture.

    Raises:
        ValueError: the capture has none.
    """
    if capture.ask is None:
        raise ValueError("this method asks the model for scores: the Capture needs `ask`")
    return capture.ask


def candidates(activations: Array, top_channels: int | None) -> list[list[int]]:
    """For each image the channels that can be masks: those that are not constant, or the widest of them.

    One look at values on the host for the whole batch. Widest means of largest standard deviation over the grid.
    """
    xp = array_namespace(activations)
    axes = spatial_axes(activations, leading=2)
    varies = xp.max(activations, axis=axes) != xp.min(activations, axis=axes)
    usable = [[k for k, yes in enumerate(row) if yes] for row in varies.tolist()]
    if top_channels is None:
        return usable
    order = xp.argsort(-xp.std(activations, axis=axes), axis=1, stable=True).tolist()
    return [sorted(set(widest[:top_channels]) & set(row)) for widest, row in zip(order, usable, strict=True)]


def channel_scores(capture: Capture, image: int, channels: list[int], samples: int, alter: Alter) -> Array:
    """The mean score over `samples` altered inputs of each channel's mask: `(channels,)`.

    The mask of channel k is `M_k = minmax(up(A_k))`: enlarged first, then scaled to 0..1. Masks are made chunk by
    chunk, as the model asks for them.
    """
    activations, photo = capture.activations[image], capture.images[image]
    xp = array_namespace(activations)

    def make(start: int, stop: int) -> Array:
        channel = [channels[at // samples] for at in range(start, stop)]
        sample = [at % samples for at in range(start, stop)]
        # Neighbours share a channel where there are several samples of it: each mask is made once a chunk.
        distinct = sorted(set(channel))
        chosen = xp.take(activations, xp.asarray(distinct, device=activations.device), axis=0)
        masks = normalise(resize(chosen, tuple(photo.shape[1:])))
        at = {k: place for place, k in enumerate(distinct)}
        if samples > 1:
            masks = xp.take(masks, xp.asarray([at[k] for k in channel], device=masks.device), axis=0)
        return alter(masks, photo, channel, sample)

    scores = asked(capture).score_inputs(image, make, len(channels) * samples)
    return xp.mean(xp.reshape(scores, (len(channels), samples)), axis=1)


def softmax(values: Array) -> Array:
    """Softmax of `(K,)`, its largest entry taken out first."""
    xp = array_namespace(values)
    odds = xp.exp(values - xp.max(values))
    return odds / xp.sum(odds)


def combine(capture: Capture, image: int, channels: list[int], weights: Array) -> Array:
    """`sum_k w_k A_k` over the channels that have a weight: `(h, w)`."""
    activations = capture.activations[image]
    xp = array_namespace(activations)
    chosen = xp.take(activations, xp.asarray(channels, device=activations.device), axis=0)
    return weighted_sum(xp.astype(weights, activations.dtype)[None], chosen[None])[0]


def score_weighted(capture: Capture, samples: int, alter: Alter, top_channels: int | None, weigh: str) -> Array:
    """`sum_k w_k A_k` for each image, `w` from the channels' scores: their softmax, or the scores themselves."""
    activations = capture.activations
    xp = array_namespace(activations)
    maps = []
    for image, channels in enumerate(candidates(activations, top_channels)):
        if not channels:  # no channel can be a mask
            maps.append(xp.zeros_like(activations[image, 0]))
            continue
        scores = channel_scores(capture, image, channels, samples, alter)
        maps.append(combine(capture, image, channels, softmax(scores) if weigh == "softmax" else scores))
    return xp.stack(maps)
