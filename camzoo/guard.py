"""Gives a borrowed model back as it was, whatever a library did to it, also after an exception."""

from __future__ import annotations

import random
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Restore = Callable[[], None]

# Every dictionary of a module in which a library could leave something behind: children, parameters, buffers, hooks.
_TABLES = (
    "_modules",
    "_parameters",
    "_buffers",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)

_locks: weakref.WeakKeyDictionary[torch.nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_evaluating: weakref.WeakKeyDictionary[torch.nn.Module, tuple[int, list[torch.nn.Module]]]
_evaluating = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


@contextmanager
def borrowed(model: torch.nn.Module, seed: int = 0) -> Iterator[None]:
    """Lends a model to code that may leave traces, in eval mode and with every generator seeded.

    On the way out everything is as it was: modules, parameters and their values' owners, buffers and their values,
    hooks, `training`, `requires_grad`, `.grad`, and the states of the generators of Python, NumPy and PyTorch.
    One borrower at a time for each model.

    Args:
        model: the model that is lent.
        seed: what the generators are set to for the time of the loan.
    """
    with _lock_of(model), evaluating(model):
        restores = [*_generators(), *_parameters(model), *_buffers(model), *_modules(model)]
        grad_enabled = torch.is_grad_enabled()
        try:
            _seed(seed)
            yield
        finally:
            torch.set_grad_enabled(grad_enabled)
            for restore in reversed(restores):
                restore()


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Puts a model into eval mode for a while; threads that share the model share the while.

    Only the flags are set: a `train()` that a model overrides is not called. The last to leave restores them.
    """
    with _locks_lock:
        users, training = _evaluating.get(model, (0, []))
        if users == 0:
            training = [module for module in model.modules() if module.training]
            for module in training:
                module.training = False
        _evaluating[model] = (users + 1, training)
    try:
        yield
    finally:
        with _locks_lock:
            users, training = _evaluating.pop(model)
            if users > 1:
                _evaluating[model] = (users - 1, training)
            else:
                for module in training:
                    module.training = True


def _lock_of(model: torch.nn.Module) -> threading.RLock:
    with _locks_lock:
        return _locks.setdefault(model, threading.RLock())


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _generators() -> list[Restore]:
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    restores: list[Restore] = [
        lambda: random.setstate(python),
        lambda: np.random.set_state(numpy),
        lambda: torch.set_rng_state(cpu),
    ]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states = torch.cuda.get_rng_state_all()
        restores.append(lambda: torch.cuda.set_rng_state_all(states))
    return restores


def _parameters(model: torch.nn.Module) -> list[Restore]:
    def keep(parameter: torch.nn.Parameter) -> Restore:
        wanted, grad, data = parameter.requires_grad, parameter.grad, parameter.data
        # A library that accumulates into .grad would change the caller's own tensor: hide it for the time being.
        parameter.grad = None

        def restore() -> None:
            parameter.data = data
            parameter.requires_grad_(wanted)
            parameter.grad = grad

        return restore

    return [keep(parameter) for parameter in model.parameters()]


def _buffers(model: torch.nn.Module) -> list[Restore]:
    def keep(buffer: torch.Tensor) -> Restore:
        value = buffer.detach().clone()

        def restore() -> None:
            with torch.no_grad():
                buffer.copy_(value)

        return restore

    return [keep(buffer) for buffer in model.buffers()]


def _modules(model: torch.nn.Module) -> list[Restore]:
    def keep(module: torch.nn.Module) -> Restore:
        training = module.training
        forward = module.__dict__.get("forward")
        tables = [(module.__dict__[name], dict(module.__dict__[name])) for name in _TABLES if name in module.__dict__]

        def restore() -> None:
            for table, kept in tables:
                # Rebuilt only where it differs: the order of the entries is part of what is given back.
                if not _same(table, kept):
                    table.clear()
                    table.update(kept)
            module.training = training
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward

        return restore

    return [keep(module) for module in model.modules()]


def _same(table: dict[Any, Any], kept: dict[Any, Any]) -> bool:
    return list(table) == list(kept) and all(table[key] is kept[key] for key in kept)
