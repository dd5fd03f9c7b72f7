"""Whoever is checked: anything that gives maps for a Problem, at a stage that it names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from camzoo import backends
from camzoo.errors import NotOffered, RequestError, one_line
from camzoo.grids import Array
from camzoo.types import Backend, Problem, Resolution, Stage


@dataclass(frozen=True, slots=True)
class Subject:
    """One implementation of one method.

    Attributes:
        method: the canonical name of what it says it computes.
        backend: whose it is.
        stage: how far its maps have come since the formula.
        resolution: on which grid they lie.
        maps: from a Problem to maps `(N, h, w)` or `(N, H, W)` at that stage and on that grid.
    """

    method: str
    backend: str
    stage: Stage
    resolution: Resolution
    maps: Callable[[Problem], Array] = field(repr=False)

    @property
    def name(self) -> str:
        """`method@backend`."""
        return f"{self.method}@{self.backend}"


def of_backend(backend: Backend, method: str, options: Mapping[str, Any] | None = None) -> Subject:
    """A method of a backend, asked as `camzoo.explain` asks it.

    Args:
        backend: whose it is.
        method: canonical name.
        options: the method's keyword options.

    Raises:
        NotOffered: the backend has no such method or option.
    """
    settings = dict(options or {})
    offer = backend.offer(method, settings)
    return Subject(
        method,
        backend.name,
        offer.stage,
        offer.resolution,
        lambda problem: backends.run(backend, problem, method, settings).values,
    )


def of_callable(
    explain: Callable[..., Array],
    method: str,
    stage: Stage = Stage.RECTIFIED,
    name: str = "yours",
) -> Subject:
    """A user's own implementation, held to the promises as it is: nothing repairs what it leaves behind.

    Args:
        explain: a class or factory called with `(model, layer_module)` that gives a callable `(images, target)`, or
            a plain function `(model, layer_module, images, target)`; the target is a list of class indices. Either
            gives maps `(N, h, w)` on the layer's grid.
        method: the canonical name of what it says it computes.
        stage: how far its maps have come since the formula.
        name: what to call it.
    """
    plain = _takes_everything(explain)

    def maps(problem: Problem) -> Array:
        given = (problem.images, problem.class_indices(name))
        try:
            if plain:
                found = explain(problem.model, problem.layer_module, *given)
            else:
                found = explain(problem.model, problem.layer_module)(*given)
        except Exception as error:
            if problem.layout.kind == "channels-first":
                raise
            raise NotOffered(f"{name} does not read {problem.layout.kind}: {one_line(error)}") from error
        return found.detach() if hasattr(found, "detach") else found

    return Subject(method, name, stage, Resolution.LAYER, maps)


def _takes_everything(explain: Callable[..., Array]) -> bool:
    """Whether it is a plain function of all four, rather than something to be built from the model and the layer.

    Raises:
        RequestError: it is neither.
    """
    parameters = list(inspect.signature(explain).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(parameter.default is parameter.empty for parameter in positional)
    open_ended = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    if (needed == 4 or open_ended) and not inspect.isclass(explain):
        return True
    if needed <= 2 <= len(positional):
        return False
    raise RequestError(
        f"{getattr(explain, '__name__', explain)} takes {needed} arguments: an implementation is called with "
        "(model, layer_module), or as a plain function with (model, layer_module, images, target)"
    )
