"""camzoo's own backend: one capture, then the formulas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    Layout,
    Offer,
    Problem,
    Resolution,
    Settings,
    Stage,
    Target,
)

NAME = "camzoo"


def needs(names: Iterable[str]) -> frozenset[Evidence]:
    """The evidence that methods need together. What is not offered needs none here, and is refused when it is asked."""
    wanted = set(names)
    return frozenset().union(*(method.needs for method in methods.TABLE if method.name in wanted))


def evidence(
    model: torch.nn.Module,
    layer: str,
    images: torch.Tensor,
    targets: Sequence[Target],
    needed: frozenset[Evidence],
    seed: int = 0,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
) -> tuple[list[Capture], Layout]:
    """All that methods need, for each target: one capture, see `capture.take`, and a pass for each special evidence."""
    taken, layout = capture.take(model, layer, images, targets, needed, seed, settings)
    specials = [_special(model, images, target, needed, layout) for target in targets]
    return [replace(each, **special) for each, special in zip(taken, specials, strict=True)], layout


def _special(
    model: torch.nn.Module, images: torch.Tensor, target: Target, needed: frozenset[Evidence], layout: Layout
) -> dict[str, Any]:
    """The fields of a Capture that take a pass of their own, as far as they are needed."""
    found: dict[str, Any] = {}
    if needed & {Evidence.ATTENTION, Evidence.ATTENTION_GRADIENTS}:
        gradients = Evidence.ATTENTION_GRADIENTS in needed
        found["attention"], found["attention_gradients"] = attention.take(model, images, target, gradients)
        found["prefix"] = layout.prefix
    if Evidence.GUIDED in needed:
        found["guided"] = backprop.guided(model, images, target)
    if Evidence.BIASES in needed:
        found["input_gradients"], found["bias_gradients"] = backprop.biases(model, images, target)
    return found


def explain(problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The RAW map of one method, from a capture of its own."""
    (taken,), _ = evidence(
        problem.model, problem.layer, problem.images, [problem.target], needs([method]), problem.seed
    )
    return heatmap(taken, method, problem.image_size, options)


def heatmap(taken: Capture, method: str, image_size: tuple[int, ...], options: Mapping[str, Any]) -> Heatmap:
    """The RAW map of one method, from evidence that was taken before."""
    backend.offer(method, options)
    formula = methods.find(method)
    notes: list[str] = []
    if isinstance(taken.ask, Asker):  # each method has notes of its own
        taken = replace(taken, ask=replace(taken.ask, notes=notes))
    values = formula.function(taken, **options)
    # A method with a base gives maps where its base does.
    on_layer = values.shape[1:] == taken.activations.shape[2:]
    resolution = Resolution.LAYER if on_layer else Resolution.IMAGE
    return Heatmap(values, Stage.RAW, resolution, image_size, method, NAME, tuple(notes))


backend = Backend(
    name=NAME,
    distribution="camzoo",
    offers=tuple(
        Offer(m.name, f"methods.{m.function.__name__}", Stage.RAW, m.resolution, m.options) for m in methods.TABLE
    ),
    explain=explain,
)
