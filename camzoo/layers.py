"""Finds the layer that is explained: by name, by module, or by rule; and the grid in its output."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from camzoo import guard
from camzoo.binding import of_image
from camzoo.errors import RequestError, unknown
from camzoo.grids import grid_shape
from camzoo.types import Layout

_MOST_PREFIX_TOKENS = 16  # class, distillation and register tokens of the vision transformers in use


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One module as it ran.

    Attributes:
        name: dotted name.
        kind: class of the module.
        shape: shape of its output, or None if that is no tensor.
        parameters: number of parameters in it, children included.
        layout: how its output becomes a grid, or None if it is none.
        cumulative: number of parameters in it and in all that finished before it, each counted once.
        memory: bytes of its output; 0 where that is no tensor, or lies in memory that an earlier one fills already, as
            after an in-place ReLU.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    layout: Layout | None
    cumulative: int
    memory: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The layer that the rule chose, and why."""

    layer: LayerInfo
    why: str


@dataclass(frozen=True, slots=True)
class _Run:
    """A module's run, with the first thing that it took and what it gave: kept while a trace is read, so that no memory
    is reused.
    """

    info: LayerInfo
    module: torch.nn.Module
    given: object
    output: object
    started: int


def find_layout(output: object, image_size: tuple[int, ...], name: str = "the layer") -> Layout:
    """How a layer's output becomes a grid `(N, K, h, w)`.

    Of the two readings of a four-axis output, `(N, K, h, w)` and `(N, h, w, K)`, the one whose grid is shaped more
    like the image is taken, the first on a tie. Of tokens `(N, T, K)`, the fewest prefix tokens are dropped that
    leave a grid shaped as the image is.

    Args:
        output: what the layer gave.
        image_size: `(H, W)` of the images, or `(D, H, W)`.
        name: the layer's name, for the error.

    Raises:
        RequestError: there is no grid in it.
    """
    if isinstance(output, torch.Tensor):
        axes = len(image_size)
        if output.ndim == axes + 2:
            first, last = tuple(output.shape[2:]), tuple(output.shape[1:-1])
            if _distortion(first, image_size) <= _distortion(last, image_size):
                return Layout("channels-first", first)
            return Layout("channels-last", last)
        if output.ndim == 3 and axes == 2 and (layout := _token_layout(output.shape[1], image_size)):
            return layout
        gives = f"gives {tuple(output.shape)}, which is"
    else:
        gives = f"gives a {type(output).__name__},"
    raise RequestError(
        f"layer {name!r} {gives} no grid of cells over the image; `camzoo layers` lists the layers that have one"
    )


def _distortion(grid: tuple[int, ...], image_size: tuple[int, ...]) -> float:
    """How far a grid's shape is from the image's: 0 where all sides are in one proportion."""
    if 0 in grid:
        return math.inf
    ratios = [math.log(cells / pixels) for cells, pixels in zip(grid, image_size, strict=True)]
    return max(ratios) - min(ratios)


def _token_layout(tokens: int, image_size: tuple[int, ...]) -> Layout | None:
    height, width = image_size
    grids = [
        Layout("tokens", grid, prefix)
        for prefix in range(min(_MOST_PREFIX_TOKENS + 1, tokens - 3))
        if (grid := grid_shape(tokens - prefix, (height, width)))
    ]
    exact = [layout for layout in grids if layout.shape[0] * width == layout.shape[1] * height]
    return next(iter(exact or grids), None)


def name_of(model: torch.nn.Module, layer: str | torch.nn.Module) -> str:
    """The dotted name of a layer given by name or as a module.

    Raises:
        RequestError: the model has no such layer; the closest names are in the message.
    """
    if isinstance(layer, torch.nn.Module):
        for name, module in model.named_modules():
            if module is layer:
                return str(name)
        raise RequestError(f"this {type(layer).__name__} is no part of the model")
    with contextlib.suppress(AttributeError):
        if model.get_submodule(layer) is not model:
            return layer
    raise unknown("layer", layer, [name for name, _ in model.named_modules() if name])


def trace(model: torch.nn.Module, images: torch.Tensor) -> list[LayerInfo]:
    """Every module of the model in the order in which it finished, from one forward pass of the first image."""
    return [run.info for run in _runs(model, images)[0]]


def choose(model: torch.nn.Module, images: torch.Tensor) -> Choice:
    """The layer to explain where none is named.

    For transformers with tokens: the last grid before the last attention, since the patch tokens after it no longer
    reach the score. For the rest: the last grid that is no pooling and no map of class scores (a channel for each
    class, and nothing learnt after it); of the modules that return one and the same tensor, the outermost. A module
    that runs more than once is passed over.

    Raises:
        RequestError: no layer gives a grid.
    """
    runs, scores = _runs(model, images)
    classes = scores.shape[-1] if isinstance(scores, torch.Tensor) else 0
    pooled = [run.output for run in runs if _is_pooling(run.module)]
    times = Counter(run.info.name for run in runs)
    grids = [
        run
        for at, run in enumerate(runs)
        if run.info.layout
        and times[run.info.name] == 1
        and math.prod(run.info.layout.shape) > 1
        and not any(_same(run.output, output) for output in pooled)
        and not (_channels(run) == classes and not any(late.info.parameters for late in runs if late.started > at))
    ]
    if not grids:
        raise RequestError("no layer of this model gives a grid of cells over the image, so there is nothing to map")
    last = grids[-1]
    if last.info.layout and last.info.layout.kind == "tokens":
        attention = [run for run in runs if _is_attention(run.module)]
        before = [run for run in grids if attention and run in runs[: attention[-1].started]]
        if before:
            return Choice(before[-1].info, "the last grid of tokens before the last attention")
    same = [run for run in grids if _same(run.output, last.output)]
    outermost = min(reversed(same), key=lambda run: run.info.name.count("."))
    return Choice(outermost.info, "the last grid before pooling and the classifier")


def stages(model: torch.nn.Module, images: torch.Tensor, last: str) -> tuple[str, ...]:
    """The last layer of each grid size, from shallow to deep, the deepest being the one that is named.

    A layer on a branch of a block that leaves with another grid gives way to one before that block: in a ResNet-50
    `layer1` is the last layer of its size, and not `layer2.0.bn1`, which the image also goes past. Poolings, grids of a
    single cell and modules that run more than once are passed over.
    """
    runs, _ = _runs(model, images)
    times = Counter(run.info.name for run in runs)
    until = next((at for at, run in enumerate(runs) if run.info.name == last), len(runs))
    branching = _branching(runs)
    leaving = {run.info.name: run.info.layout.shape for run in runs if run.info.layout and run.info.name in branching}
    deepest: dict[tuple[int, ...], str] = {}
    for run in runs[:until]:
        name, layout = run.info.name, run.info.layout
        if layout and math.prod(layout.shape) > 1 and times[name] == 1 and not _is_pooling(run.module):
            before = deepest.get(layout.shape, name)
            if _branches(name, layout.shape, leaving) <= _branches(before, layout.shape, leaving):
                deepest.pop(layout.shape, None)  # ordered by the last of each
                deepest[layout.shape] = name
    if until < len(runs) and (layout := runs[until].info.layout):
        deepest.pop(layout.shape, None)
    return (*deepest.values(), last)


def _branching(runs: Sequence[_Run]) -> set[str]:
    """The modules whose input goes into several of their parts."""
    given = {run.info.name: run.given for run in runs if isinstance(run.given, torch.Tensor)}
    above = ((run.info.name.rpartition(".")[0], run.given) for run in runs)
    return {
        name for name, count in Counter(name for name, taken in above if given.get(name) is taken).items() if count > 1
    }


def _branches(name: str, grid: tuple[int, ...], leaving: Mapping[str, tuple[int, ...]]) -> int:
    """How many of the blocks around a layer, of those that branch, leave with another grid than the layer's."""
    parts = name.split(".")
    around = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return sum(leaving.get(block, grid) != grid for block in around)


def _runs(model: torch.nn.Module, images: torch.Tensor) -> tuple[list[_Run], object]:
    """One forward pass of the first image: a run for each time that a module finished, and what the model gave."""
    runs: list[_Run] = []
    starts: list[int] = []
    learnt: dict[int, int] = {}  # of each parameter that has been met, how many numbers it holds
    size, thread = tuple(images.shape[2:]), threading.get_ident()

    def watch(name: str, module: torch.nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        parameters = {id(parameter): parameter.numel() for parameter in module.parameters()}

        def start(*_: object) -> None:
            if threading.get_ident() == thread:
                starts.append(len(runs))

        def finish(_module: torch.nn.Module, inputs: tuple[object, ...], output: object) -> None:
            if threading.get_ident() != thread:
                return  # another thread explains on the same model
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
            try:
                layout = find_layout(output, size)
            except RequestError:
                layout = None
            learnt.update(parameters)
            met = sum(learnt.values())
            info = LayerInfo(name, type(module).__name__, shape, sum(parameters.values()), layout, met, 0)
            runs.append(_Run(info, module, next(iter(inputs), None), output, starts.pop()))

        yield module.register_forward_pre_hook(start)
        yield module.register_forward_hook(finish)

    # The hooks come and go within `evaluating`, where no borrower takes them for the model's own.
    with guard.evaluating(model), torch.inference_mode(False), torch.no_grad(), contextlib.ExitStack() as hooks:
        for name, module in model.named_modules():
            for handle in watch(name, module) if name else ():
                hooks.enter_context(handle)
        outputs = of_image(model, 0, len(images))(images[:1])
    # Not in the hooks: where a model is compiled, these see tensors that have no memory.
    held = {images.untyped_storage().data_ptr()}
    weighed = [replace(run, info=replace(run.info, memory=_new_bytes(run.output, held))) for run in runs]
    return weighed, outputs


def _new_bytes(output: object, held: set[int]) -> int:
    """Bytes of a tensor, or 0 where its memory is among that which is held already; then it is."""
    if not isinstance(output, torch.Tensor) or output.untyped_storage().data_ptr() in held:
        return 0
    held.add(output.untyped_storage().data_ptr())
    return output.nbytes


def _same(one: object, other: object) -> bool:
    """Whether two outputs are one tensor in memory."""
    return one is other or (
        isinstance(one, torch.Tensor)
        and isinstance(other, torch.Tensor)
        and one.shape == other.shape
        and one.stride() == other.stride()
        and one.data_ptr() == other.data_ptr()
    )


def _channels(run: _Run) -> int:
    """The number of channels in the output of a run that gave a grid."""
    assert run.info.shape
    return run.info.shape[1 if run.info.layout and run.info.layout.kind == "channels-first" else -1]


def _is_pooling(module: torch.nn.Module) -> bool:
    return "pool" in type(module).__name__.lower()


def _is_attention(module: torch.nn.Module) -> bool:
    return "attention" in type(module).__name__.lower() or type(module).__name__.lower() == "attn"
