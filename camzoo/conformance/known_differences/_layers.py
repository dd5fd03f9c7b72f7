"""Which layers a library's RefineCAM is given: the choice of the adapters, which the libraries leave to their users."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn

from camzoo.conformance.evidence import Literal


def coarse_to_fine(evidence: Literal) -> list[str]:
    """The layer, and the last and outermost one on each of the two coarsest grids that are finer."""
    model, problem = evidence.problem.model, evidence.problem
    finer: dict[tuple[int, ...], str] = {}
    done: list[str] = []

    def note(name: str, _module: nn.Module, _inputs: object, output: Any) -> None:
        done.append(name)
        if problem.layer in done or not isinstance(output, torch.Tensor) or output.ndim != problem.images.ndim:
            return
        grid = tuple(problem.layout.to_grid(output).shape[2:])
        scales = [cells / own for cells, own in zip(grid, problem.layout.shape, strict=True)]
        outermost = name.count(".") <= finer.get(grid, name).count(".")
        if min(scales) > 1 and max(scales) < 1.5 * min(scales) and outermost:
            finer[grid] = name

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            hooks.enter_context(module.register_forward_hook(partial(note, name)))
        evidence.outputs(evidence.x)
    return [*(finer[grid] for grid in sorted(finer, reverse=True)[-2:]), problem.layer]
