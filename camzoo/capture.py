"""Takes the evidence from a model: the only module with hooks in a computation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from camzoo import guard
from camzoo.errors import RequestError
from camzoo.layers import find_layout
from camzoo.targets import select
from camzoo.types import Capture, Layout, Target


@dataclass(slots=True)
class _Leaf:
    """What the hook keeps: the leaf in the graph, how it becomes a grid, and how often the layer ran."""

    tensor: torch.Tensor | None = None
    layout: Layout | None = None
    calls: int = 0
    thread: int = field(default_factory=threading.get_ident)


def take(
    model: torch.nn.Module,
    layer: str,
    images: torch.Tensor,
    targets: Sequence[Target],
    gradients: bool = True,
) -> tuple[list[Capture], Layout]:
    """One forward pass, and the derivative of each target's scores with respect to one layer's output.

    The part of the model before the layer runs without a graph, and no gradient of a parameter is computed. The
    activations that are kept are not the tensor that the model goes on with, so a later in-place operation does not
    change them. The model is as it was afterwards, also after an exception.

    Args:
        model: any module, borrowed.
        layer: dotted name of the layer.
        images: what the model takes, `(N, C, H, W)`.
        targets: what is explained; all share the forward pass.
        gradients: whether the derivatives are wanted; without, the whole pass runs without a graph.

    Returns:
        A Capture for each target, with activations and gradients `(N, K, h, w)`, and the layout of the grid.

    Raises:
        RequestError: the layer did not run, ran more than once, has no grid, or the scores do not depend on it.
    """
    leaf = _Leaf()

    def keep(_module: torch.nn.Module, _inputs: object, output: object) -> torch.Tensor | None:
        if threading.get_ident() != leaf.thread:
            return None  # another thread explains on the same model
        leaf.calls += 1
        if leaf.calls > 1:
            return None
        leaf.layout = find_layout(output, tuple(images.shape[2:]), layer)
        assert isinstance(output, torch.Tensor)
        leaf.tensor = output.detach()
        if gradients:
            leaf.tensor.requires_grad_()
            torch.set_grad_enabled(True)  # undone by the no_grad block below, on leaving it
        return leaf.tensor.clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        with guard.evaluating(model), torch.inference_mode(False), torch.no_grad():
            outputs = select(model(images))
            _check(leaf, layer)
            assert leaf.tensor is not None
            assert leaf.layout is not None
            if gradients:
                derivatives = _derivatives(outputs, leaf.tensor, targets, layer)
            else:
                derivatives = [None for _ in targets]
    finally:
        handle.remove()
    to_grid, scores = leaf.layout.to_grid, outputs.detach()
    activations = to_grid(leaf.tensor.detach())
    captures = [Capture(activations, None if d is None else to_grid(d), scores) for d in derivatives]
    return captures, leaf.layout


def _check(leaf: _Leaf, layer: str) -> None:
    if leaf.calls == 0:
        raise RequestError(f"layer {layer!r} did not run in the model's forward pass")
    if leaf.calls > 1:
        raise RequestError(
            f"layer {layer!r} runs {leaf.calls} times in one forward pass, so 'its output' means nothing; "
            "name a layer that runs once"
        )


def _derivatives(
    outputs: torch.Tensor, leaf: torch.Tensor, targets: Sequence[Target], layer: str
) -> list[torch.Tensor | None]:
    """`dS/dA` for each target, `S` summed over the images: rows of one batch do not reach each other's scores."""
    if not outputs.requires_grad:
        raise RequestError(f"the scores do not depend on layer {layer!r} in a way that can be differentiated")
    derivatives: list[torch.Tensor | None] = []
    for left, target in zip(range(len(targets) - 1, -1, -1), targets, strict=True):
        (gradient,) = torch.autograd.grad(target(outputs).sum(), leaf, retain_graph=left > 0)
        derivatives.append(gradient)
    return derivatives
