"""camzoo's own backend: one capture, then the formulas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from camzoo import attention, backprop, capture, methods
from camzoo.asking import Asker
from camzoo.types import (
    Backend,
    Capture,
    Evidence,
    Heatmap,
    Offer,
    Problem,
    Resolution,
    Settings,
    Stage,
    Target,
)

NAME = "camzoo"


def needs(names: Iterable[str]) -> frozenset[Evidence]:
    """The evidence that methods can share in one capture; what only one of them pays for is left to `heatmap`.

    What is not offered needs none here, and is refused when it is asked.
    """
    wanted = set(names)
    together = frozenset[Evidence]().union(*(method.needs for method in methods.TABLE if method.name in wanted))
    return together - {Evidence.HESSIAN}


def explain(problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The RAW map of one method, from a capture of its own."""
    backend.offer(method, options)
    taken = evidence(problem.model, problem.layer, problem.images, problem.target, method, problem.seed)
    return heatmap(taken, method, options)


def evidence(
    model: torch.nn.Module,
    layer: str,
    images: torch.Tensor,
    target: Target,
    method: str,
    seed: int = 0,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
) -> Capture:
    """A capture for one method alone, to be handed to `heatmap`: see `camzoo.capture.take`."""
    formula = methods.find(method)
    if not formula.plain:
        return capture.untaken(model, layer, images, target, seed, settings)
    (taken,), _ = capture.take(model, layer, images, [target], formula.needs, seed, settings)
    return taken


def heatmap(taken: Capture, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The RAW map of one method, from a capture that was taken before.

    Args:
        taken: with the evidence of `needs`, or from `evidence`; what takes a pass of its own is added here, for this
            method alone.
        method: canonical name.
        options: the method's keyword options.

    Raises:
        NotOffered: the method does not do this model, layer or target, or has no such option.
    """
    backend.offer(method, options)
    formula = methods.find(method)
    notes: list[str] = []
    if isinstance(taken.ask, Asker):
        notes += taken.ask.notes
        taken = _completed(taken, replace(taken.ask, notes=notes), formula.needs)
    values = formula.function(taken, **options)
    if formula.resolution is Resolution.IMAGE:  # what is told of the layer is no word on these maps
        notes = [note for note in notes if note != capture.OVERWRITTEN]
    size = tuple(taken.images.shape[2:])
    return Heatmap(values, Stage.RAW, formula.lies_on(options), size, method, NAME, tuple(notes))


def _completed(taken: Capture, ask: Asker, needed: frozenset[Evidence]) -> Capture:
    """A capture with the evidence that takes a pass of its own, and with notes of its own."""
    model, images, target = ask.model, ask.images, ask.target
    found: dict[str, Any] = {"ask": ask}
    if Evidence.HESSIAN in needed and taken.hessian_product is None:
        found["hessian_product"] = ask.retake(needed).hessian_product
    if needed & {Evidence.ATTENTION, Evidence.ATTENTION_GRADIENTS}:
        gradients = Evidence.ATTENTION_GRADIENTS in needed
        grids = [] if taken.activations is None else [(taken.activations, ask.layout)]
        beside = None if grids else capture.beside(model, ask.layer, images, grids)
        found["attention"], found["attention_gradients"] = attention.take(model, images, target, gradients, beside)
        ((found["activations"], layout),) = grids
        found["prefix"] = layout.prefix
    if Evidence.GUIDED in needed:
        found["guided"] = backprop.guided(model, images, target)
    if Evidence.BIASES in needed:
        found["input_gradients"], found["bias_gradients"] = backprop.biases(model, images, target)
    return replace(taken, **found)


backend = Backend(
    name=NAME,
    distribution="camzoo",
    offers=tuple(
        Offer(m.name, f"methods.{m.function.__name__}", Stage.RAW, m.resolution, m.options) for m in methods.TABLE
    ),
    explain=explain,
)
