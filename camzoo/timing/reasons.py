"""Why a library's map differs on the bench's own case only, where that can be shown: with the reason put into camzoo's
own formula, it gives the library's map.

Three reasons that the networks of the check do not show are known. A model may write over the layer's output in place,
and a library that keeps the tensor reads what was written; and two epsilons of pytorch-grad-cam count where values are
as small: one in its min-max, which flattens maps, and one in the formula of XGrad-CAM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch

from camzoo import degenerate, methods, native
from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences import pytorch_grad_cam
from camzoo.oracles.grids import Floats
from camzoo.types import Evidence, Problem

Ending = Callable[[Floats, tuple[int, ...]], Floats]
"""From a RAW map to what a library gives at the image's size."""

ENDINGS: dict[str, tuple[str, Ending]] = {
    "pytorch-grad-cam": ("its min-max adds 1e-7 to the maximum, more than the values here", pytorch_grad_cam.shown)
}
FORMULAS: dict[tuple[str, str], tuple[str, Callable[[Literal], Floats]]] = {
    ("xgradcam", "pytorch-grad-cam"): (
        "its formula adds 1e-7 to each channel's sum of activations, more than the sums here",
        pytorch_grad_cam.xgradcam,
    )
}
WRITTEN = "the model writes over the output of {layer} in place, and it reads what was written"


def suspected(
    problem: Problem, method: str, backend: str, raw: dict[int, Floats]
) -> Iterator[tuple[str, dict[int, Floats], Ending | None]]:
    """Every known reason for another map, the simplest first, with what camzoo's own formula gives for it.

    Args:
        problem: the case in float64.
        method: canonical name.
        backend: whose map it is.
        raw: camzoo's own RAW map of each image that is compared.

    Yields:
        The reason in words; RAW maps; and how the library ends, None where it does so as camzoo.
    """
    said, ending = ENDINGS.get(backend, ("", None))
    if ending:
        yield said, raw, ending
    for words, maps in _otherwise(problem, method, backend, raw):
        yield words, maps, None
        if ending:
            yield f"{words}; {said}", maps, ending


def _otherwise(
    problem: Problem, method: str, backend: str, rows: Iterable[int]
) -> Iterator[tuple[str, dict[int, Floats]]]:
    """Every reason that is not in how a library ends, with the RAW maps that it gives."""
    if (method, backend) in FORMULAS:
        words, formula = FORMULAS[method, backend]
        yield words, {row: formula(Literal(problem, row)) for row in rows}
    for maps in _written(problem, method):
        yield WRITTEN.format(layer=problem.layer), {row: maps[row] for row in rows}


def _written(problem: Problem, method: str) -> Iterator[Floats]:
    """The formula on activations that were written over, with the gradients before and after; none if none were."""
    if not methods.find(method).needs <= {Evidence.GRADIENTS}:
        return
    kept: list[tuple[torch.Tensor, int]] = []

    def keep(_module: object, _inputs: object, output: Any) -> torch.Tensor:
        passed: torch.Tensor = output.detach().requires_grad_().clone()
        kept.append((passed, passed._version))
        return passed

    handle = problem.layer_module.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            score = problem.target(problem.model(problem.images.clone())).sum()
    finally:
        handle.remove()
    ((passed, version),) = kept
    if passed._version == version:
        return
    (slope,) = torch.autograd.grad(score, passed)
    grid, after = (problem.layout.to_grid(each.detach()) for each in (passed, slope))
    taken = native.evidence(problem.model, problem.layer, problem.images, problem.target, method, problem.seed)
    for gradients in (taken.gradients, after):
        put = replace(taken, activations=grid, gradients=gradients)
        yield degenerate.as_numpy(native.heatmap(put, method, {}).values)
