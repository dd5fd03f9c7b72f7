"""Cascading randomisation over a batch: at which depths, and how alike the maps of every method stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import nn

from camzoo import metrics
from camzoo.errors import NotOffered

MOST = 7
"""Depths at which maps are compared."""

Maps = Mapping[str, torch.Tensor | Exception]
"""The RAW maps of each method `(N, h, w)`, or what it broke with."""
Alike = dict[str, torch.Tensor]
"""By block, from the output to the input, how alike maps stay, `(N,)`; NaN where one of both says nothing."""


def depths(model: nn.Module, most: int = MOST) -> dict[str, str]:
    """Where a cascade through a model stops: at the ends of its blocks, some of them evenly spread where it has many.

    The blocks are the model's children with something learnt in them; one with more than half of all such layers is
    replaced by its own children, and so on: a ResNet's stages, the blocks in a transformer's encoder. What a module
    that is replaced has learnt itself belongs to its first child.

    Args:
        model: any.
        most: how many stops at most; the first and the last block are always among them.

    Returns:
        From the layer that is randomised last before a stop, as `camzoo.metrics.randomised` names it, to the block, in
        order from the output to the input.
    """
    layers = [name for name, each in model.named_modules() if list(each.parameters(recurse=False))][::-1]
    blocks = list(_blocks(model, "", len(layers)))
    last: dict[str, str] = {}
    for layer in layers:
        own = next((block for block in blocks if f"{layer}.".startswith(f"{block}.")), None)
        last[own or next(reversed(last), "the model")] = layer
    kept = np.unique(np.linspace(0, len(last) - 1, min(most, len(last))).round().astype(int))
    stops = list(last.items())
    return {layer: block for block, layer in (stops[at] for at in kept)}


def _blocks(module: nn.Module, name: str, layers: int) -> Iterator[str]:
    for child_name, child in module.named_children():
        within = f"{name}.{child_name}" if name else child_name
        learnt = sum(bool(list(each.parameters(recurse=False))) for each in child.modules())
        if 2 * learnt > layers and list(child.children()):
            yield from _blocks(child, within, layers)
        elif learnt:
            yield within


def similarities(
    model: nn.Module, trained: Maps, maps_of: Callable[[nn.Module, int], Maps], seed: int
) -> dict[str, Alike | Exception]:
    """How alike the maps of each method stay when the model loses what it learnt, block after block.

    They are compared on their own grid: to enlarge them adds pixels, and tells nothing more. There is one copy of the
    model at a time.

    Args:
        model: the trained one, which is not touched.
        trained: its maps.
        maps_of: gives the maps of another model, at the stop of that number, from 1 on.
        seed: of what the layers are drawn from.

    Returns:
        Of each method the similarities, or what it broke with.

    Raises:
        NotOffered: the model has learnt nothing.
    """
    stops = depths(model)
    if not stops:
        raise NotOffered("the model has no parameters, so there is nothing to randomise")
    found: dict[str, Alike | Exception] = {
        method: maps if isinstance(maps, Exception) else {} for method, maps in trained.items()
    }
    for layer, other in metrics.randomised(model, seed=seed):
        if layer not in stops:
            continue
        for method, maps in maps_of(other, list(stops).index(layer) + 1).items():
            known, before = found[method], trained[method]
            if isinstance(maps, Exception):
                found[method] = maps
            elif not isinstance(known, Exception) and not isinstance(before, Exception):
                known[stops[layer]] = metrics.similarity(before, maps, tuple(before.shape[1:]))
    return found
