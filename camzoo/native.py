"""camzoo's own backend: one capture, then the formulas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from camzoo import capture, methods
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
    """The evidence that methods need together; one that is not offered needs none, and is refused when it is asked for."""
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
    """All that methods need, for each target, from one capture; see `capture.take`."""
    return capture.take(model, layer, images, targets, needed, seed, settings)


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
