"""Takes the evidence from a model: the only module with hooks in a computation."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
Grid = tuple[torch.Tensor, Layout]
_Derivatives = dict[str, tuple[torch.Tensor | None, torch.Tensor | None]]


@dataclass(slots=True)
class _Seen:
    """Of one layer: the output in the graph, what the model goes on with, the grid, and the number of runs."""

    output: torch.Tensor | None = None
    passed_on: torch.Tensor | None = None
    layout: Layout | None = None
    calls: int = 0
    recording: tail.Recording = field(default_factory=tail.Recording)
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
    return take_layers(model, [layer], images, targets, needs, seed, settings)[0]


def take_layers(
    model: torch.nn.Module,
    layers: Sequence[str],
    images: torch.Tensor,
    targets: Sequence[Target],
    needs: frozenset[Evidence] = GRADIENTS,
    seed: int = 0,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
) -> list[tuple[list[Capture], Layout]]:
    """What `take` gives for each of several layers, from one forward pass; the graph begins at the first that runs."""
    seen = {layer: _Seen() for layer in layers}
    # The hooks come and go within `evaluating`, where no borrower takes them for the model's own.
    with guard.evaluating(model), torch.inference_mode(False), torch.no_grad(), ExitStack() as hooks:
        if Evidence.HESSIAN in needs:  # the fused kernels of attention have no second derivative
            hooks.enter_context(sdpa_kernel(SDPBackend.MATH))
        for layer, here in seen.items():
            hooks.enter_context(model.get_submodule(layer).register_forward_hook(_keep(seen, layer, images, needs)))
            if needs & _TAIL:
                for handle in tail.record(model, layer, here.recording, here.mine):
                    hooks.enter_context(handle)
        outputs = select(model(images.clone()))  # a copy: a model may begin in place, or be given an inference tensor
        for layer, here in seen.items():
            _check(here, layer)
        scored = [explained(target, outputs, len(images)) for target in targets]
        overwritten = {layer for layer, here in seen.items() if here.passed_on is not None and here.passed_on._version}
        derivatives = _derivatives(scored, seen, needs)
    scores = outputs.detach()

    def captures(layer: str) -> tuple[list[Capture], Layout]:
        here = seen[layer]
        assert here.output is not None
        assert here.layout is not None
        output, layout = here.output.detach(), here.layout
        notes = [OVERWRITTEN] if layer in overwritten else []
        again = functools.partial(take_layers, model, seed=seed, settings=settings)

        def capture(target: Target, score: torch.Tensor, found: _Derivatives) -> Capture:
            gradient, hessian = found[layer]
            return Capture(
                activations=layout.to_grid(output),
                gradients=None if gradient is None else layout.to_grid(gradient),
                scores=scores,
                explained=score.detach(),
                classes=class_indices(target, scores),
                images=images,
                hessian_product=None if hessian is None else layout.to_grid(hessian),
                seed=seed,
                ask=Asker(
                    model, layer, images, target, layout, output, scores, here.recording, settings, again, [*notes]
                ),
            )

        return [capture(*each) for each in zip(targets, scored, derivatives, strict=True)], layout

    return [captures(layer) for layer in layers]


def untaken(
    model: torch.nn.Module,
    layer: str,
    images: torch.Tensor,
    target: Target,
    seed: int = 0,
    settings: Settings = Settings(),  # noqa: B008 (frozen)
) -> Capture:
    """The question alone, before any pass: for methods that read no activations or scores of the images as they are."""
    again, nothing = functools.partial(take_layers, model, seed=seed, settings=settings), images.new_empty(0)
    ask = Asker(model, layer, images, target, Layout("", ()), nothing, nothing, tail.Recording(), settings, again)
    return Capture(activations=None, images=images, seed=seed, ask=ask)


def _keep(
    seen: Mapping[str, _Seen], layer: str, images: torch.Tensor, needs: frozenset[Evidence]
) -> Callable[..., torch.Tensor | None]:
    """The hook of a layer: it keeps the output, and begins the graph unless a layer before it has."""
    here = seen[layer]

    def hook(_module: torch.nn.Module, _inputs: object, output: object) -> torch.Tensor | None:
        if not here.mine():
            return None
        here.calls += 1
        if here.calls > 1:
            return None
        here.recording.open = False
        here.layout = find_layout(output, tuple(images.shape[2:]), layer)
        assert isinstance(output, torch.Tensor)
        within = any(other.output is not None for other in seen.values()) and output.requires_grad
        # A clone: a layer that passes its input on gives a tensor that is not its own.
        here.output = output.clone() if within else output.detach().clone()
        if needs & _DERIVATIVES and not within:
            here.output.requires_grad_()
            torch.set_grad_enabled(True)  # undone by the no_grad block of `take_layers`, on leaving it
        here.passed_on = here.output.clone()
        return here.passed_on

    return hook


@contextmanager
def beside(model: torch.nn.Module, layer: str, images: torch.Tensor, found: list[Grid]) -> Iterator[None]:
    """While it lasts, one pass that somebody else makes is watched; then the layer's output is found, as a grid.

    Raises:
        RequestError: the layer did not run, ran more than once, or has no grid.
    """
    here = _Seen()

    def look(_module: torch.nn.Module, _inputs: object, output: object) -> None:
        if here.mine():
            here.calls += 1
            if here.calls == 1:
                here.layout = find_layout(output, tuple(images.shape[2:]), layer)
                assert isinstance(output, torch.Tensor)
                here.output = output.detach().clone()

    with model.get_submodule(layer).register_forward_hook(look):
        yield
    _check(here, layer)
    assert here.layout is not None
    assert here.output is not None
    found.append((here.layout.to_grid(here.output), here.layout))


def _check(here: _Seen, layer: str) -> None:
    if here.calls == 0:
        raise RequestError(f"layer {layer!r} did not run in the model's forward pass")
    if here.calls > 1:
        raise RequestError(
            f"layer {layer!r} runs {here.calls} times in one forward pass, so 'its output' means nothing; "
            "name a layer that runs once"
        )


def _derivatives(
    scored: Sequence[torch.Tensor], seen: Mapping[str, _Seen], needs: frozenset[Evidence]
) -> list[_Derivatives]:
    """`dS/dA`, and `d/dA <dS/dA, A>` where needed, for each target and layer; one run of the engine for all layers.

    `S` is summed over the images: rows of one batch do not reach each other's scores.
    """
    if not needs & _DERIVATIVES:
        return [dict.fromkeys(seen, (None, None)) for _ in scored]
    second = Evidence.HESSIAN in needs
    outputs = [here.output for here in seen.values() if here.output is not None]
    derivatives: list[_Derivatives] = []
    for left, score in zip(range(len(scored) - 1, -1, -1), scored, strict=True):
        found: Sequence[torch.Tensor | None] = [None] * len(outputs)
        if score.requires_grad:
            found = torch.autograd.grad(score.sum(), outputs, None, left > 0 or second, second, allow_unused=True)
        of_target: _Derivatives = {}
        for (layer, here), output, gradient in zip(seen.items(), outputs, found, strict=True):
            if gradient is None:
                raise RequestError(f"the scores do not depend on layer {layer!r} in a way that can be differentiated")
            retain = left > 0 or len(of_target) < len(seen) - 1
            hessian = _hessian_product(gradient, output, here.layout, retain) if second and here.layout else None
            of_target[layer] = (gradient.detach(), hessian)
        derivatives.append(of_target)
    return derivatives


def _hessian_product(gradient: torch.Tensor, output: torch.Tensor, layout: Layout, retain: bool) -> torch.Tensor:
    """`H A`, the derivative of `<G, A>` with `A` held fixed: zero where the tail is piecewise linear.

    `A` is the grid: prefix tokens are no part of it.
    """
    if not gradient.requires_grad:
        return torch.zeros_like(output)
    along = (layout.to_grid(gradient) * layout.to_grid(output.detach())).sum()
    (product,) = torch.autograd.grad(along, output, retain_graph=retain, allow_unused=True)
    return torch.zeros_like(output) if product is None else product
