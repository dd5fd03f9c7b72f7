"""camzoo's own backend: capture, then the formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camzoo import capture, methods
from camzoo.types import Backend, Capture, Evidence, Heatmap, Offer, Problem, Stage

NAME = "camzoo"


def explain(problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The RAW map of one method, from a capture of its own."""
    gradients = Evidence.GRADIENTS in methods.find(method).needs
    (evidence,), _ = capture.take(problem.model, problem.layer, problem.images, [problem.target], gradients)
    return heatmap(evidence, method, problem.image_size, options)


def heatmap(evidence: Capture, method: str, image_size: tuple[int, ...], options: Mapping[str, Any]) -> Heatmap:
    """The RAW map of one method, from evidence that was taken before."""
    formula = methods.find(method)
    return Heatmap(formula.function(evidence, **options), Stage.RAW, formula.resolution, image_size, method, NAME)


backend = Backend(
    name=NAME,
    distribution="camzoo",
    offers=tuple(
        Offer(m.name, f"methods.{m.function.__name__}", Stage.RAW, m.resolution, m.options) for m in methods.TABLE
    ),
    explain=explain,
)
