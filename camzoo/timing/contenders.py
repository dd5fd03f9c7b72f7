"""Who takes part: methods of camzoo, methods of libraries, and implementations of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from camzoo import backends, guard, native, sources, specs
from camzoo.conformance import check, subjects
from camzoo.conformance.subjects import Subject
from camzoo.errors import NotOffered, RequestError, unknown
from camzoo.explaining import explain
from camzoo.specs import Computation
from camzoo.timing.samples import Scope
from camzoo.types import Heatmap, Problem, Resolution, Stage

Work = Callable[[], Any]
"""What is timed, and nothing else."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One implementation of one method, ready to be asked.

    Attributes:
        name: `method@backend` with its options, or `package.module:implementation`.
        method: canonical name of what it computes.
        backend: whose it is.
        stage: how far its maps have come since the formula.
        resolution: on which grid it gives them.
        options: of the method.
        heatmap: from a Problem to its maps, as its user asks for them.
        subject: an implementation of the user's own, for the check; None for what a backend offers.
    """

    name: str
    method: str
    backend: str
    stage: Stage
    resolution: Resolution
    options: Mapping[str, Any]
    heatmap: Callable[[Problem], Heatmap] = field(repr=False)
    subject: Subject | None = field(default=None, repr=False)


def parse(name: str) -> Contender:
    """The contender of a name: `gradcam`, `gradcam@captum`, or `package.module:mine=gradcam`, see `own`.

    Raises:
        RequestError: the name names nothing.
        NotOffered: the backend has no such method or option.
    """
    path, claim = _owned(name)
    return own(path, *claim.split("/", 1)) if path else of_computation(specs.parse(name))


def identity(name: str) -> tuple[str, str, str, str]:
    """A contender's name as `parse` takes it, what to call it, its method, and whose it is.

    Raises:
        RequestError: the name names nothing.
    """
    path, claim = _owned(name)
    if path:
        return name, path, claim.partition("/")[0], path
    computation = specs.parse(name)
    return name, name, computation.method, computation.backend


def _owned(name: str) -> tuple[str, str]:
    """The path of an implementation of the user's own and what it says it computes; nothing for a `method@backend`."""
    path, equals, claim = name.partition("=")
    return (path, claim) if equals and ":" in path and "(" not in path else ("", "")


def of_computation(computation: Computation) -> Contender:
    """A method of a backend; a library is asked directly, camzoo through `camzoo.explain`, as their users do.

    Raises:
        NotOffered: the backend has no such method or option.
    """
    backend = backends.find(computation.backend)
    offer = backend.offer(computation.method, computation.options)

    def of_library(problem: Problem) -> Heatmap:
        return backend.explain(problem, computation.method, computation.options)

    def of_camzoo(problem: Problem) -> Heatmap:
        target: Any = problem.target if problem.classes is None else list(problem.classes)
        return explain(
            problem.model,
            problem.images,
            computation.method,
            layer=problem.layer,
            target=target,
            stage=Stage.RAW,
            seed=problem.seed,
            **computation.options,
        )

    asked = of_camzoo if backend.name == native.NAME else of_library
    return Contender(
        str(computation),
        computation.method,
        backend.name,
        offer.stage,
        offer.resolution,
        computation.options,
        asked,
    )


def own(path: str, method: str = "", stage: str = Stage.RECTIFIED) -> Contender:
    """An implementation of the user's own, as `camzoo check` takes it.

    It is built anew in each call, as adapters build the objects of the libraries: hooks that it leaves behind would
    be run by the others.

    Args:
        path: `package.module:thing`.
        method: the canonical name of what it computes.
        stage: what it returns.

    Raises:
        RequestError: there is no such thing, method or stage.
    """
    if method not in check.claimable():
        raise unknown(f"method of {path} (as in {path}=gradcam)", method, check.claimable())
    if stage not in list(Stage):
        raise unknown("stage", stage, Stage)
    thing = sources.attribute(path)

    def heatmap(problem: Problem) -> Heatmap:
        values = subjects.of_callable(thing, method, Stage(stage), path).maps(problem)
        return Heatmap(values, Stage(stage), Resolution.LAYER, problem.image_size, method, path)

    subject = subjects.of_callable(thing, method, Stage(stage), path)
    return Contender(path, method, path, Stage(stage), Resolution.LAYER, {}, heatmap, subject)


def expand(methods: str | Iterable[str], owned: Sequence[str] = ()) -> list[str]:
    """The names of all contenders, as `parse` takes them, each once.

    Raises:
        RequestError: a name is unknown, or nothing is named.
    """
    named = specs.expand(methods) if methods or not owned else []
    for name in owned:
        path, equals, claim = name.partition("=")
        if not equals:
            raise RequestError(f"{name}: name the method that it computes, as in {name}=gradcam")
        own(path, *claim.split("/", 1))
    return list(dict.fromkeys([*map(str, named), *owned]))


def load(contender: Contender) -> None:
    """Imports the contender's library, so that an import is no part of its first call.

    Raises:
        NotInstalled: it is not there.
    """
    if contender.subject is None:
        backends.load(backends.find(contender.backend))


@contextmanager
def lent(contender: Contender, problem: Problem, scope: Scope) -> Iterator[Work]:
    """The work of a contender, for as long as it has the model.

    What camzoo does around a library stands out here, and is not charged to it: the model's state is kept, generators
    are seeded and the images are copied before, and all is given back after.

    Raises:
        NotOffered: it gives no map at this scope.
    """
    if scope is Scope.MAP and contender.resolution is not Resolution.LAYER:
        raise NotOffered(f"{contender.name} gives maps on the pixels of the image, not on the layer's grid")
    with guard.borrowed(problem.model, problem.seed), torch.inference_mode(False), torch.enable_grad():
        given = replace(problem, images=problem.images.detach().clone(memory_format=torch.preserve_format))
        yield lambda: _end(contender.heatmap(given), scope)


def _end(heatmap: Heatmap, scope: Scope) -> Any:
    """What the work ends with: the values as they are on the device, or a full-size NumPy array, 0 to 1."""
    if scope is Scope.MAP:
        return heatmap.values
    shown = heatmap.at(Stage.NORMALISED).resize()
    if not isinstance(shown, torch.Tensor):
        return shown
    host = shown.detach().cpu()
    return (host.float() if host.dtype == torch.bfloat16 else host).numpy()  # NumPy has no bfloat16
