"""Runs only the part of a model after a layer, for any module, on altered activations of that layer.

What finished before the layer is recorded in the capture's own forward pass. A re-run goes through a twin of the
modules on the way to the layer: in it, those that finished before return what was recorded, and the layer returns the
altered activations. The borrowed model is never touched.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass(slots=True)
class Recording:
    """What finished before the layer, outermost modules only: for each name its outputs, call by call."""

    outputs: dict[str, list[Any]] = field(default_factory=dict)
    open: bool = True
    depth: int = 0


def beside(model: nn.Module, layer: str) -> dict[str, nn.Module]:
    """The modules beside the way from the model to the layer: children of the layer's ancestors."""
    names = layer.split(".")
    found = {}
    for depth in range(len(names)):
        parent = ".".join(names[:depth])
        for name, child in model.get_submodule(parent).named_children():
            if name != names[depth]:
                found[f"{parent}.{name}".lstrip(".")] = child
    return found


def record(model: nn.Module, layer: str, recording: Recording, mine: Callable[[], bool]) -> list[Any]:
    """Hooks that fill a recording during a forward pass, until it is closed; the caller removes them.

    The outermost modules are watched that neither hold the layer nor lie in it; a list of modules, which never runs
    itself, is watched by its entries. What runs within another of these is left out.

    Args:
        model: the model.
        layer: dotted name of the layer.
        recording: what is filled.
        mine: whether a call belongs to the caller's own forward pass.
    """

    def enter(*_: object) -> None:
        if recording.open and mine():
            recording.depth += 1

    def leave(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if recording.open and mine():
                recording.depth -= 1
                if not recording.depth:
                    recording.outputs.setdefault(name, []).append(output)

        return hook

    handles: list[Any] = []
    inner = model.get_submodule(layer)
    within = set(inner.modules())  # what also lies in the layer runs there, which a re-run does not repeat
    for name, module in _beside(model, "", inner):
        if module in within:
            continue
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave(name))]
    return handles


def _beside(module: nn.Module, prefix: str, inner: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules, by name, that run and neither hold another module nor are it."""
    for name, child in module.named_children():
        holds = any(each is inner for each in child.modules())
        if holds or type(child).forward is nn.Module.forward:
            yield from _beside(child, f"{prefix}{name}.", inner) if child is not inner else ()
        else:
            yield f"{prefix}{name}", child


def twin(
    model: nn.Module, layer: str, recording: Recording, image: int, images: int
) -> Callable[[torch.Tensor, torch.Tensor], Any]:
    """The part of the model after the layer, as a function.

    Args:
        model: the model, which must be in eval mode when the function is called.
        layer: dotted name of the layer.
        recording: from a forward pass of `images` images.
        image: which of them is meant.
        images: how many there were.

    Returns:
        A function of the layer's altered outputs `(M, ...)` and the model's input for this image `(1, C, H, W)`, that
        gives the model's outputs for `M` rows.
    """

    def rerun(altered: torch.Tensor, inputs: torch.Tensor) -> Any:
        rows = len(altered)
        given = _copy(model.get_submodule(layer))
        given.forward = lambda *_args, **_kwargs: altered
        swaps = {model.get_submodule(layer): given}
        for name, outputs in recording.outputs.items():
            module = model.get_submodule(name)
            swaps[module] = _Replay([_rows(output, image, images, rows) for output in outputs], module)
        return _swapped(model, swaps)(inputs.expand(rows, *inputs.shape[1:]))

    return rerun


@contextmanager
def replaced(model: nn.Module, layer: str, altered: torch.Tensor) -> Iterator[None]:
    """While it lasts, the layer of the borrowed model gives altered activations to the thread that asked for it."""
    thread = threading.get_ident()

    def give(_module: nn.Module, _inputs: object, _output: object) -> torch.Tensor | None:
        return altered if threading.get_ident() == thread else None

    handle = model.get_submodule(layer).register_forward_hook(give)
    try:
        yield
    finally:
        handle.remove()


class _Replay(nn.Module):
    """Returns what a module gave in its first calls; after that it is the module itself."""

    def __init__(self, outputs: list[Any], original: nn.Module) -> None:
        super().__init__()
        self.training = original.training
        self.__dict__["left"] = iter(outputs)
        self.__dict__["original"] = original

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        for output in self.__dict__["left"]:
            return output
        return self.__dict__["original"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["original"], name)


def _swapped(module: nn.Module, swaps: dict[nn.Module, nn.Module]) -> nn.Module:
    """A module, as a copy where anything in it is swapped; by identity, under however many names it goes."""
    if module not in swaps:
        children = {name: None if one is None else _swapped(one, swaps) for name, one in module._modules.items()}
        swaps[module] = module
        if any(child is not module._modules[name] for name, child in children.items()):
            swaps[module] = _copy(module)
            swaps[module].__dict__["_modules"] = children
    return swaps[module]


def _copy(module: nn.Module) -> nn.Module:
    """A module with the same parameters and buffers, whose children and attributes can be set apart from it."""
    copied = copy.copy(module)
    for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
        # The user's hooks watched the capture; a re-run is not theirs to see.
        copied.__dict__[hooks] = type(module.__dict__[hooks])()
    return copied


def _rows(output: Any, image: int, images: int, rows: int) -> Any:
    """One image's part of an output, repeated for each row; rows of one image stand together in it."""
    if isinstance(output, torch.Tensor) and output.ndim and len(output) % images == 0:
        each = len(output) // images
        part = output[image * each : (image + 1) * each]
        return part.expand(rows, *part.shape[1:]) if each == 1 else part.repeat(rows, *([1] * (part.ndim - 1)))
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(_rows(entry, image, images, rows) for entry in output))
    if isinstance(output, list | tuple):
        return type(output)(_rows(entry, image, images, rows) for entry in output)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        entries = {each.name: getattr(output, each.name) for each in dataclasses.fields(output)}
        return dataclasses.replace(output, **{key: _rows(one, image, images, rows) for key, one in entries.items()})
    if isinstance(output, dict):
        return type(output)((key, _rows(entry, image, images, rows)) for key, entry in output.items())
    return output
