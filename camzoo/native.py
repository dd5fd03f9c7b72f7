"""camzoo's own backend: one capture, then the formulas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

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
    Stage,
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
    needed = methods.find(method).needs
    (taken,), _ = capture.take(problem.model, problem.layer, problem.images, [problem.target], needed, problem.seed)
    return heatmap(taken, method, options)


def heatmap(taken: Capture, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The RAW map of one method, from a capture that was taken before.

    Args:
        taken: with the evidence of `needs`; what takes a pass of its own is added here, for this method alone.
        method: canonical name.
        options: the method's keyword options.

    Raises:
        NotOffered: the method does not do this model, layer or target, or has no such option.
    """
    backend.offer(method, options)
    formula = methods.find(method)
    notes: list[str] = []
    if isinstance(taken.ask, Asker):
        notes += taken.ask.notes if formula.resolution is Resolution.LAYER else []
        taken = _completed(taken, replace(taken.ask, notes=notes), formula.needs)
    values = formula.function(taken, **options)
    # A method of the layer with a base gives maps where its base does.
    on_layer = values.shape[1:] == taken.activations.shape[2:]
    resolution = formula.resolution if on_layer else Resolution.IMAGE
    return Heatmap(values, Stage.RAW, resolution, tuple(taken.images.shape[2:]), method, NAME, tuple(notes))


def _completed(taken: Capture, ask: Asker, needed: frozenset[Evidence]) -> Capture:
    """A capture with the evidence that takes a pass of its own, and with notes of its own."""
    model, images, target = ask.model, ask.images, ask.target
    found: dict[str, Any] = {"ask": ask}
    if Evidence.HESSIAN in needed and taken.hessian_product is None:
        found["hessian_product"] = ask.retake(needed).hessian_product
    if needed & {Evidence.ATTENTION, Evidence.ATTENTION_GRADIENTS}:
        gradients = Evidence.ATTENTION_GRADIENTS in needed
        found["attention"], found["attention_gradients"] = attention.take(model, images, target, gradients)
        found["prefix"] = ask.layout.prefix
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
