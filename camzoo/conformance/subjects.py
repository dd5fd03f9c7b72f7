"""Whoever is checked: anything that gives maps for a Problem, at a stage that it names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from camzoo import backends
from camzoo.errors import Failed, NotOffered, RequestError, one_line
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
    built: list[tuple[torch.nn.Module, Callable[..., Array]]] = []

    def implementation(problem: Problem) -> Callable[..., Array]:
        """Built once for each model, as a user does: what it keeps from one call to the next has to show."""
        if not built or built[0][0] is not problem.model:
            built[:] = [(problem.model, explain(problem.model, problem.layer_module))]
        return built[0][1]

    def maps(problem: Problem) -> Array:
        given = (problem.images, problem.class_indices(name))
        try:
            if plain:
                found = explain(problem.model, problem.layer_module, *given)
            else:
                found = implementation(problem)(*given)
            return _checked(found, problem)
        except Exception as error:
            if problem.layout.kind == "channels-first":
                raise
            raise NotOffered(f"{name} does not read {problem.layout.kind}: {one_line(error)}") from error

    return Subject(method, name, stage, Resolution.LAYER, maps)


def _checked(found: Array, problem: Problem) -> Array:
    """A copy of the maps, so that what is written over them later does not count.

    Raises:
        Failed: they are no array, or tokens were read as if they were a grid.
    """
    if not hasattr(found, "dtype") or not hasattr(found, "shape"):
        raise Failed(f"gave a {type(found).__name__}, not an array of maps (N, h, w)")
    if problem.layout.kind != "channels-first" and tuple(found.shape[1:]) != problem.layout.shape:
        raise Failed(f"gave {tuple(found.shape)} at a grid of {problem.layout}")
    return found.detach().clone() if isinstance(found, torch.Tensor) else found.copy()


def _takes_everything(explain: Callable[..., Array]) -> bool:
    """Whether it is a plain function of all four, rather than something to be built from the model and the layer.

    Raises:
        RequestError: it is neither.
    """
    name = getattr(explain, "__name__", repr(explain))
    try:
        parameters = list(inspect.signature(explain).parameters.values())
    except (TypeError, ValueError):
        raise RequestError(f"{name} is nothing that is called with a model and a layer") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(parameter.default is parameter.empty for parameter in positional)
    open_ended = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    if not inspect.isclass(explain) and (open_ended or 2 < needed <= 4 <= len(positional)):
        return True
    if needed <= 2 <= len(positional):
        return False
    raise RequestError(
        f"{name} takes {needed} arguments: an implementation is called with (model, layer_module), or as a plain "
        "function with (model, layer_module, images, target)"
    )
