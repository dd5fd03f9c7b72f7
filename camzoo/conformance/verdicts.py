"""What a check says of one `method@backend`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Verdict(enum.StrEnum):
    """One word for each cell of the matrix."""

    AGREES = "agrees"
    """Equal to the reference at the earliest stage that is given, to the precision of the dtype."""
    KNOWN = "differs, known"
    """Away from the reference, and a variant of the method reproduces the number to the same precision."""
    NEW = "differs, new"
    """Away from the reference, and nobody knows why."""
    BREAKS = "breaks a promise"
    """A promise that every method is held to does not hold."""
    NOT_OFFERED = "not offered"
    NOT_INSTALLED = "not installed"
    FAILED = "failed"

    @property
    def good(self) -> bool:
        """Whether a check with this verdict passes."""
        return self not in (Verdict.NEW, Verdict.BREAKS, Verdict.FAILED)


class Kind(enum.StrEnum):
    """Three kinds of difference, which are never mixed up."""

    DEFINITION = "another definition"
    """Legitimate, and named: another paper, the authors' code, another default."""
    DETAIL = "another numerical detail"
    """An epsilon, an interpolation, the source of noise."""
    ERROR = "an error"
    """The code does not do what its own paper or docstring says."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One cell of a check.

    Attributes:
        method: canonical name.
        backend: who computed it.
        verdict: in one word.
        stage: where the maps were compared; for a new difference, the first stage at which the two part.
        error: the largest absolute difference over the largest absolute value of the reference, the worst of all
            problems; None where nothing could be compared.
        tolerance: what the dtype allows.
        reason: why, in words for a reader.
        problem: name of the problem at which the error was largest.
        kind: of a known difference.
        residual: the error of the variant that explains a known difference.
        breaches: promises that are known to be broken, each with the reason.
        refusals: promises that could not be tried, or that the implementation refuses, each with the reason.
        versions: of what was installed.
    """

    method: str
    backend: str
    verdict: Verdict
    stage: str = ""
    error: float | None = None
    tolerance: float | None = None
    reason: str = ""
    problem: str = ""
    kind: Kind | None = None
    residual: float | None = None
    breaches: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`method@backend`."""
        return f"{self.method}@{self.backend}"
