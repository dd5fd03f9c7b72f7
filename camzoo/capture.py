"""Takes the evidence from a model: the only module with hooks in a computation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from camzoo import guard, tail
from camzoo.asking import Asker
from camzoo.errors import RequestError
from camzoo.layers import find_layout
from camzoo.targets import class_indices, explained, select
from camzoo.types import Capture, Evidence, Layout, Settings, Target

GRADIENTS = frozenset({Evidence.GRADIENTS})
_DERIVATIVES = frozenset({Evidence.GRADIENTS, Evidence.HESSIAN})
OVERWRITTEN = "the layer's output before the in-place operation that follows it, such as a ReLU"
_TAIL = frozenset({Evidence.ACTIVATION_SCORES, Evidence.HEAD})


@dataclass(slots=True)
class _Leaf:
    """What the hook keeps: the leaf in the graph, what the model goes on with, the grid, and the number of runs."""

    tensor: torch.Tensor | None = None
    passed_on: torch.Tensor | None = None
    layout: Layout | None = None
    calls: int = 0
    thread: int = field(default_factory=threading.get_ident)

    def mine(self) -> bool:
        """Whether this is the thread that takes the capture; others may explain on the same model."""
        return threading.get_ident() == self.thread


def take(
    model: torch.nn.Module,
    layer: str,
    images: torch.Tensor,
    targets: Sequence[Target],
    needs: frozenset[Evidence] = GRADIENTS,
    seed: int = 0,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
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
        needs: what is wanted beside the activations; without gradients the whole pass runs without a graph.
        seed: where every random number of a method comes from.
        settings: of the runs that a method asks for.

    Returns:
        A Capture for each target, with activations and gradients `(N, K, h, w)`, and the layout of the grid.

    Raises:
        RequestError: the layer did not run, ran more than once, has no grid, or the scores do not depend on it.
    """
    leaf, recording = _Leaf(), tail.Recording()

    def keep(_module: torch.nn.Module, _inputs: object, output: object) -> torch.Tensor | None:
        if not leaf.mine():
            return None
        leaf.calls += 1
        if leaf.calls > 1:
            return None
        recording.open = False
        leaf.layout = find_layout(output, tuple(images.shape[2:]), layer)
        assert isinstance(output, torch.Tensor)
        leaf.tensor = output.detach().clone()  # a layer that passes its input on gives a tensor that is not its own
        if needs & _DERIVATIVES:
            leaf.tensor.requires_grad_()
            torch.set_grad_enabled(True)  # undone by the no_grad block below, on leaving it
        leaf.passed_on = leaf.tensor.clone()
        return leaf.passed_on

    # The hooks come and go within `evaluating`, where no borrower takes them for the model's own.
    with guard.evaluating(model), torch.inference_mode(False), torch.no_grad(), ExitStack() as hooks:
        if Evidence.HESSIAN in needs:  # the fused kernels of attention have no second derivative
            hooks.enter_context(sdpa_kernel(SDPBackend.MATH))
        hooks.enter_context(model.get_submodule(layer).register_forward_hook(keep))
        if needs & _TAIL:
            for handle in tail.record(model, layer, recording, leaf.mine):
                hooks.enter_context(handle)
        outputs = select(model(images.clone()))  # a copy: a model may begin in place, or be given an inference tensor
        _check(leaf, layer)
        assert leaf.tensor is not None
        assert leaf.passed_on is not None
        overwritten = leaf.passed_on._version > 0
        scored = [explained(target, outputs, len(images)) for target in targets]
        derivatives = _derivatives(scored, leaf.tensor, leaf.layout, needs, layer)
    layout, output, scores = leaf.layout, leaf.tensor.detach(), outputs.detach()
    assert layout is not None

    def asker(target: Target) -> Asker:
        def again(at: str, inputs: torch.Tensor, score: Target, needed: frozenset[Evidence]) -> Capture:
            return take(model, at, inputs, [score], needed, seed, settings)[0][0]

        notes = [OVERWRITTEN] if overwritten else []
        return Asker(model, layer, images, target, layout, output, scores, recording, settings, again, notes)

    captures = [
        Capture(
            activations=layout.to_grid(output),
            gradients=None if gradient is None else layout.to_grid(gradient),
            scores=scores,
            explained=score.detach(),
            classes=class_indices(target, scores),
            images=images,
            hessian_product=None if hessian is None else layout.to_grid(hessian),
            seed=seed,
            ask=asker(target),
        )
        for target, score, (gradient, hessian) in zip(targets, scored, derivatives, strict=True)
    ]
    return captures, layout


def _check(leaf: _Leaf, layer: str) -> None:
    if leaf.calls == 0:
        raise RequestError(f"layer {layer!r} did not run in the model's forward pass")
    if leaf.calls > 1:
        raise RequestError(
            f"layer {layer!r} runs {leaf.calls} times in one forward pass, so 'its output' means nothing; "
            "name a layer that runs once"
        )


def _derivatives(
    scored: Sequence[torch.Tensor], leaf: torch.Tensor, layout: Layout | None, needs: frozenset[Evidence], layer: str
) -> list[tuple[torch.Tensor | None, torch.Tensor | None]]:
    """`dS/dA`, and `d/dA <dS/dA, A>` where needed, for each target.

    `S` is summed over the images: rows of one batch do not reach each other's scores.
    """
    if not needs & _DERIVATIVES:
        return [(None, None) for _ in scored]
    second = Evidence.HESSIAN in needs
    derivatives: list[tuple[torch.Tensor | None, torch.Tensor | None]] = []
    for left, score in zip(range(len(scored) - 1, -1, -1), scored, strict=True):
        gradient = None
        if score.requires_grad:
            retain = left > 0 or second
            (gradient,) = torch.autograd.grad(score.sum(), leaf, None, retain, second, allow_unused=True)
        if gradient is None:
            raise RequestError(f"the scores do not depend on layer {layer!r} in a way that can be differentiated")
        hessian = _hessian_product(gradient, leaf, layout, left > 0) if second and layout else None
        derivatives.append((gradient.detach(), hessian))
    return derivatives


def _hessian_product(gradient: torch.Tensor, leaf: torch.Tensor, layout: Layout, retain: bool) -> torch.Tensor:
    """`H A`, the derivative of `<G, A>` with `A` held fixed: zero where the tail is piecewise linear.

    `A` is the grid: prefix tokens are no part of it.
    """
    if not gradient.requires_grad:
        return torch.zeros_like(leaf)
    along = (layout.to_grid(gradient) * layout.to_grid(leaf.detach())).sum()
    (product,) = torch.autograd.grad(along, leaf, retain_graph=retain, allow_unused=True)
    return torch.zeros_like(leaf) if product is None else product
