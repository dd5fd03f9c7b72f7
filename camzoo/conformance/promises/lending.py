"""Promises on what is lent, the images and the model, and on the forms in which a model may come."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from camzoo.conformance.promises._compare import differing, plain
from camzoo.conformance.promises._nets import rebuilt
from camzoo.conformance.promises._promise import Breach
from camzoo.conformance.snapshots import of_model
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject
from camzoo.types import Problem

RUNS = (1, 2)
"""Of the model, in which it breaks: the first, and the one after it."""


def images_untouched(subject: Subject, stand: Stand) -> Breach | None:
    """The images are what they were, and still want no gradient."""
    problem = stand.problem()
    before = problem.images.clone()
    subject.maps(problem)
    if not torch.equal(problem.images, before):
        return Breach("the images have other values afterwards")
    return Breach("the images want gradients afterwards") if problem.images.requires_grad else None


def given_back(subject: Subject, stand: Stand) -> Breach | None:
    """Modules, hooks, parameters, gradients, buffers, modes: all as before."""
    problem = _owned(stand.problem())
    before = of_model(problem.model)
    subject.maps(problem)
    return _left(before, problem.model)


def given_back_broken(subject: Subject, stand: Stand) -> Breach | None:
    """The same where the model raises on the way, as it does when memory is short."""
    for run in RUNS:
        problem, runs = _owned(stand.problem()), itertools.count(1)

        def break_down(*_: object, runs: Iterator[int] = runs, run: int = run) -> None:
            if next(runs) == run:
                raise RuntimeError("broken on purpose")

        *_, last = problem.model.modules()  # behind the layer, so that whoever hooks it has done so
        last.register_forward_pre_hook(break_down)
        before = of_model(problem.model)
        with contextlib.suppress(Exception):  # whatever the library makes of it
            subject.maps(problem)
        if next(runs) > run and (breach := _left(before, problem.model)):
            return replace(breach, reason=f"{breach.reason}, where it breaks in run {run}")
    return None


def _owned(problem: Problem) -> Problem:
    """The problem, its model with traces of its owner: a frozen parameter, a gradient, and a flag."""
    parameters = list(problem.model.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.ones_like(parameters[-1])
    problem.model.training = True  # of the outermost module alone, which does nothing with it
    return problem


def _left(before: dict[str, Any], model: nn.Module) -> Breach | None:
    after = of_model(model)
    changed = [kind for kind in before if before[kind] != after[kind]]
    return Breach(f"the model comes back with other {', '.join(changed)}") if changed else None


def no_grad(subject: Subject, stand: Stand) -> Breach | None:
    """The caller's `torch.no_grad()` changes nothing."""
    return _within(subject, stand, torch.no_grad)


def inference_mode(subject: Subject, stand: Stand) -> Breach | None:
    """Neither does `torch.inference_mode()`, with images that were made in it."""
    return _within(subject, stand, torch.inference_mode)


def _within(subject: Subject, stand: Stand, mode: Callable[[], AbstractContextManager[Any]]) -> Breach | None:
    wanted, problem = plain(subject, stand), stand.problem()
    with mode():
        found = subject.maps(replace(problem, images=problem.images.clone()))
        return differing(found, wanted, f"within and without {mode.__name__}")


def frozen(subject: Subject, stand: Stand) -> Breach | None:
    """Parameters that want no gradient give the same map."""
    problem = stand.problem()
    problem.model.requires_grad_(False)
    return differing(subject.maps(problem), plain(subject, stand), "with parameters frozen and free")


def inplace(subject: Subject, stand: Stand) -> Breach | None:
    """A ReLU that writes over the layer's output gives the map of one that does not."""
    apart, writing = (replace(rebuilt(stand, inplace=way), layer="last") for way in (False, True))
    return differing(
        subject.maps(writing.problem()), plain(subject, apart), "with the ReLU after the layer in place and not"
    )


def data_parallel(subject: Subject, stand: Stand) -> Breach | None:
    """The model wrapped in `nn.DataParallel`, on GPUs where there are any."""
    problem = stand.problem()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = nn.DataParallel(problem.model.to(device)).eval()
    wrapped = replace(problem, model=model, layer=f"module.{stand.layer}", images=problem.images.to(device))
    return differing(subject.maps(wrapped), plain(subject, stand), "wrapped in DataParallel and not")


def compiled(subject: Subject, stand: Stand) -> Breach | None:
    """The model as `torch.compile` traces it; the eager backend, so that nothing but the tracing is tried."""
    problem = stand.problem()
    model: Any = torch.compile(problem.model, backend="eager")
    try:
        found = subject.maps(replace(problem, model=model, layer=f"_orig_mod.{stand.layer}"))
    finally:
        torch.compiler.reset()
    return differing(found, plain(subject, stand), "compiled and not")
