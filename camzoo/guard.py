"""Gives a borrowed model back as it was, whatever a library did to it, also after an exception."""

from __future__ import annotations

import random
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from operator import is_
from typing import Any

import numpy as np
import torch

Restore = Callable[[], None]


@dataclass(slots=True)
class _Desk:
    """Who has a model at the moment: one borrower, or any number of readers; and what was training before them."""

    entry: threading.RLock = field(default_factory=threading.RLock)
    left: threading.Condition = field(default_factory=threading.Condition)
    readers: Counter[int] = field(default_factory=Counter)
    training: list[torch.nn.Module] = field(default_factory=list)


_desks: weakref.WeakKeyDictionary[torch.nn.Module, _Desk] = weakref.WeakKeyDictionary()
_desks_lock = threading.Lock()


@contextmanager
def borrowed(model: torch.nn.Module, seed: int = 0) -> Iterator[None]:
    """Lends a model to code that may leave traces, in eval mode and with every generator seeded.

    On the way out everything is as it was: modules and their attributes, hooks among them; parameters and the memory
    that they own; buffers and their values; `training`, `requires_grad`, `.grad`; grad mode; and the states of the
    generators of Python, NumPy and PyTorch. One borrower at a time for each model, and no reader (`evaluating`)
    beside it: what a reader hung into the model would be taken for the model's own.

    Args:
        model: the model that is lent.
        seed: what the generators are set to for the time of the loan.
    """
    with _desk_of(model).entry, evaluating(model), ExitStack() as restores:
        _wait_for_readers(model)
        restores.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        for restore in [*_generators(), _parameters(model), _buffers(model), _modules(model)]:
            restores.callback(restore)  # run last one first, each of them even if another raises
        _seed(seed)
        yield


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Puts a model into eval mode for a while; threads that share the model share the while.

    Only the flags are set: a `train()` that a model overrides is not called. The last to leave restores them.
    """
    desk, me = _desk_of(model), threading.get_ident()
    # Who reads already does not queue again: a borrower may be waiting for it to leave.
    with nullcontext() if desk.readers[me] else desk.entry, desk.left:
        if not desk.readers.total():
            desk.training = [module for module in model.modules() if module.training]
            for module in desk.training:
                module.training = False
        desk.readers[me] += 1
    try:
        yield
    finally:
        with desk.left:
            desk.readers[me] -= 1
            if not desk.readers.total():
                for module in desk.training:
                    module.training = True
                desk.training = []
            desk.readers += Counter()  # forgets the threads that have left
            desk.left.notify_all()


def _desk_of(model: torch.nn.Module) -> _Desk:
    model = getattr(type(model), "_camzoo_view_of", model)  # views are one model, see camzoo.binding
    with _desks_lock:
        return _desks.setdefault(model, _Desk())


def _wait_for_readers(model: torch.nn.Module) -> None:
    desk, me = _desk_of(model), threading.get_ident()
    with desk.left:
        desk.left.wait_for(lambda: desk.readers.keys() == {me})


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed: where CUDA is not in use yet, that would set what it starts from later.
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use():
        torch.cuda.manual_seed_all(seed)


def _generators() -> list[Restore]:
    restores: list[Restore] = [
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
        partial(torch.set_rng_state, torch.get_rng_state()),
    ]
    if _cuda_in_use():
        restores.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return restores


def _cuda_in_use() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def _each(restore: Callable[..., None], kept: Sequence[tuple[Any, ...]]) -> Restore:
    """Many restores in one, each of them tried even if another raises: an ExitStack of thousands takes its time."""

    def restore_all() -> None:
        failed: BaseException | None = None
        for one in kept:
            try:
                restore(*one)
            except BaseException as error:
                failed = error
        if failed:
            raise failed

    return restore_all


def _parameters(model: torch.nn.Module) -> Restore:
    def restore(parameter: torch.nn.Parameter, data: torch.Tensor, wanted: bool, grad: torch.Tensor | None) -> None:
        parameter.data = data
        if parameter.requires_grad != wanted:
            with torch.inference_mode(parameter.is_inference()):
                parameter.requires_grad_(wanted)
        parameter.grad = grad

    kept = [(each, each.data, each.requires_grad, each.grad) for each in model.parameters()]
    for parameter, *_ in kept:
        # A library that accumulates into .grad would change the caller's own tensor: hide it for the time being.
        parameter.grad = None
    return _each(restore, kept)


def _buffers(model: torch.nn.Module) -> Restore:
    def restore(buffer: torch.Tensor, data: torch.Tensor, value: torch.Tensor) -> None:
        # Written through .data, which leaves the version alone: a graph of the caller may have saved the buffer.
        data.copy_(value)
        buffer.data = data

    return _each(restore, [(each, each.data, each.detach().clone()) for each in model.buffers()])


def _modules(model: torch.nn.Module) -> Restore:
    """The attributes of every module, and what is in its tables: children, parameters, buffers, hooks."""

    def restore(table: dict[Any, Any], kept: dict[Any, Any]) -> None:
        # Rebuilt only where it differs: the order of the entries is part of what is given back.
        if (table or kept) and not _same(table, kept):
            table.clear()
            table.update(kept)

    attributes = [vars(module) for module in model.modules()]
    tables = [value for each in attributes for value in each.values() if isinstance(value, dict)]
    nothing: dict[Any, Any] = {}  # most tables are empty: a copy of each would take longer than all the rest
    return _each(restore, [(table, dict(table) if table else nothing) for table in [*tables, *attributes]])


def _same(table: dict[Any, Any], kept: dict[Any, Any]) -> bool:
    return len(table) == len(kept) and all(map(is_, table.values(), kept.values())) and list(table) == list(kept)
