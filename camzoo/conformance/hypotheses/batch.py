"""What hypotheses are made of: the evidence of a whole batch, and the steps of a map."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from camzoo.conformance import reference
from camzoo.conformance.evidence import Literal
from camzoo.oracles.grids import Floats
from camzoo.types import Problem


class Step(enum.StrEnum):
    """The steps of a map, in the order in which they are taken."""

    ACTIVATION = "activation"
    GRADIENT = "gradient"
    WEIGHTS = "weights"
    SUM = "weighted sum"
    RECTIFY = "rectify"
    NORMALISE = "normalise"
    RESIZE = "resize"


@dataclass(frozen=True, eq=False)
class Batch:
    """The evidence of all images of one problem side by side, since a mistake may mix them.

    Attributes:
        method: canonical name.
        images: the evidence of each.
    """

    method: str
    images: tuple[Literal, ...]

    @classmethod
    def of(cls, method: str, problem: Problem) -> Batch:
        """Every image of a problem."""
        return cls(method, tuple(Literal(problem, index) for index in range(len(problem.images))))

    @property
    def problem(self) -> Problem:
        """The question."""
        return self.images[0].problem

    @cached_property
    def _taken(self) -> list[tuple[Floats, Floats]]:
        return [image.at(self.problem.layer) for image in self.images]

    @cached_property
    def A(self) -> Floats:
        """The layer's output, `(N, K, h, w)`."""
        return np.stack([A for A, _ in self._taken])

    @cached_property
    def G(self) -> Floats:
        """`dS/dA`, `(N, K, h, w)`."""
        return np.stack([G for _, G in self._taken])

    @cached_property
    def y(self) -> Floats:
        """The model's outputs, `(N, classes)`."""
        return np.stack([image.y for image in self.images])

    @property
    def c(self) -> list[int]:
        """The class of each image."""
        return [image.c for image in self.images]

    @cached_property
    def raw(self) -> Floats:
        """The reference's RAW maps, `(N, h, w)`."""
        options = reference.options(self.method)
        return np.stack([reference.raw(self.method, image, options) for image in self.images])

    @property
    def cells(self) -> tuple[int, ...]:
        """The axes of the grid in `A`."""
        return tuple(range(2, self.A.ndim))


@dataclass(frozen=True, slots=True)
class Early:
    """What may have gone wrong before the map: another RAW map than the right one.

    Attributes:
        step: where it parts from the formula.
        reason: in words.
        raw: the RAW maps `(N, h, w)` that it gives.
    """

    step: Step
    reason: str
    raw: Callable[[Batch], Floats]
