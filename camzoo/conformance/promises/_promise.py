"""What a promise is, and what can be said of it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject


class State(enum.StrEnum):
    """What became of one promise."""

    HELD = "held"
    BROKEN = "broken"
    REFUSED = "refused"
    """The subject does not do this, and says so."""
    NOT_RUN = "not run"
    """The promise is not made for this method, or cannot be tried on this machine."""


class NotRun(Exception):
    """Raised by a check that cannot be carried out here; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Breach:
    """How a promise is broken.

    Attributes:
        reason: in one line.
        shown_by: the smallest input that shows it, such as "1 image of 8 x 12, class 2".
    """

    reason: str
    shown_by: str = ""


Check = Callable[[Subject, Stand], Breach | None]
"""Tries a subject at a stand. Raises NotRun where it cannot be tried; what the subject raises is passed on."""


def always(_method: str) -> str:
    """Whatever the method, the promise is made."""
    return ""


@dataclass(frozen=True, slots=True)
class Promise:
    """What every implementation is held to.

    Attributes:
        name: in a word or two, with hyphens.
        text: as one sentence.
        check: how it is tried.
        waived: from a method's canonical name to the reason why nobody promises this of it, or "".
    """

    name: str
    text: str
    check: Check = field(repr=False)
    waived: Callable[[str], str] = field(default=always, repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one promise of one subject.

    Attributes:
        promise: its name.
        state: in one word.
        reason: why it is not held, in one line.
        shown_by: of a broken promise, the smallest input that shows it.
        known: of a broken promise, why that was expected; see `expected.EXPECTED`.
    """

    promise: str
    state: State
    reason: str = ""
    shown_by: str = ""
    known: str = ""

    @property
    def broken(self) -> bool:
        """Whether it is broken and nobody knew."""
        return self.state is State.BROKEN and not self.known

    def __str__(self) -> str:
        shown = f" (shown by {self.shown_by})" if self.shown_by else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.promise} {self.state}{why}{shown}"
