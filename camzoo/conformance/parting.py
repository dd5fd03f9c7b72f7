"""The first step at which an implementation parts from the reference, as far as its maps let one look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from camzoo.conformance.hypotheses import RIGHT, Batch, Early, Step, early, endings, fits
from camzoo.conformance.hypotheses.endings import Ending
from camzoo.conformance.hypotheses.fits import Fit, away
from camzoo.conformance.stands import Place
from camzoo.conformance.subjects import Subject
from camzoo.oracles.grids import Floats
from camzoo.types import Resolution

SIGNLESS = frozenset({"eigencam", "eigengradcam"})
"""The sign of a singular vector is a convention: other mistakes are looked for with either sign."""


@dataclass(frozen=True, slots=True)
class Parting:
    """Where maps part from the reference.

    Attributes:
        stage: the first step that differs.
        reason: what it is, in words.
        size: the largest difference there over the largest value, the worst image: of RAW maps where they part before
            the ReLU, else of the maps as they are given; of the numbers themselves where these were found.
    """

    stage: Step
    reason: str
    size: float


def part(subject: Subject, stands: Sequence[Place], maps: Sequence[Floats], tolerance: float = 1e-10) -> Parting:
    """Finds the simplest exact explanation of maps that are not those of the reference.

    One mistake is tried before two, and of single ones the latest step first. A mistake counts only if it gives the
    maps of all images at all stands to the precision of their dtype: what two mistakes have in common at one network
    they seldom have at all. Where none does, the stand at which the maps are furthest away is looked at alone.

    Args:
        subject: who gave the maps.
        stands: the problems for which they were given, also those at which they are right.
        maps: for each of them `(N, h, w)` or `(N, H, W)`.
        tolerance: what the dtype allows.

    Returns:
        The step, the reason and the size. Where nothing explains the maps: the activation, since not even that could
        be excluded, and the reason says so.
    """
    with np.errstate(all="ignore"):  # a wrong formula may divide by zero
        shown = [
            _Shown(subject, Batch.of(subject.method, stand.problem()), given, tolerance)
            for stand, given in zip(stands, maps, strict=True)
        ]
        shown.sort(key=lambda one: one.error, reverse=True)
        worst = shown[0]
        if found := _unreadable(worst) or next(_explanations(shown), None):
            return found
        if found := next(_explanations([worst]), None) if len(shown) > 1 else None:
            return replace(found, reason=f"{found.reason} (which does not explain every problem)")
        return Parting(Step.ACTIVATION, _unexplained(worst), worst.error)


@dataclass(frozen=True, eq=False)
class _Shown:
    """What a subject showed at one stand."""

    subject: Subject
    batch: Batch
    maps: Floats
    tolerance: float

    @cached_property
    def wanted(self) -> Floats:
        """The reference, as far as the subject takes its maps."""
        return self.ended(self.batch.raw)

    @cached_property
    def error(self) -> float:
        return away(self.maps, self.wanted)

    def ended(self, raw: Floats, ending: Ending | None = None) -> Floats:
        """RAW maps with an ending, the right one unless said."""
        right = endings.right(self.subject.stage, self.subject.resolution)
        return (ending or right)(raw, self.batch.problem.image_size)

    def raw(self, guess: Early) -> Floats | None:
        """The maps of a guess, or None where it is not defined here."""
        try:
            raw = guess.raw(self.batch)
        except (ValueError, RuntimeError, IndexError, np.linalg.LinAlgError):
            return None
        if raw.shape != self.batch.raw.shape or not np.isfinite(raw).all():
            return None
        return self._oriented(raw) if self.batch.method in SIGNLESS else raw

    def _oriented(self, raw: Floats) -> Floats:
        """Each map with that sign which is nearer to what was given."""
        plus, minus = self.ended(raw), self.ended(-raw)
        nearer = [away([m], [q]) < away([m], [p]) for m, p, q in zip(self.maps, plus, minus, strict=True)]
        return np.stack([-one if turn else one for one, turn in zip(raw, nearer, strict=True)])

    def given_by(self, raw: Floats | None, ending: Ending | None = None) -> bool:
        """Whether these RAW maps, so ended, are what was given; right maps are not at odds with what is undefined."""
        if raw is None:
            return self.error <= self.tolerance
        return away(self.maps, self.ended(raw, ending)) <= self.tolerance

    def fits(self) -> Iterator[Fit | None]:
        """Each kind of fit, in one order, with None where it fails."""
        stage, tolerance = self.subject.stage, self.tolerance
        yield fits.turned(self.maps, self.batch, self.ended, tolerance)
        yield fits.factor(self.maps, self.wanted, stage, tolerance)
        if self.subject.resolution is Resolution.LAYER:
            yield fits.slopes(self.maps, self.batch, stage, tolerance)
            yield fits.span(self.maps, self.batch, RIGHT.get(self.batch.method), stage, tolerance)


def _explanations(shown: Sequence[_Shown]) -> Iterator[Parting]:
    """Every exact explanation, the simplest first; the first of those shown turns most of them down."""
    worst, subject = shown[0], shown[0].subject
    late = list(endings.wrong(subject.stage, subject.resolution))
    for one in late:
        if all(each.given_by(each.batch.raw, one.ending) for each in shown):
            size = away(worst.ended(worst.batch.raw, one.ending), worst.wanted)
            yield Parting(one.step, one.reason, size)
    guesses: list[tuple[Early, Floats]] = []
    for guess in early(worst.batch):
        raw = worst.raw(guess)
        if raw is None:
            continue
        guesses.append((guess, raw))
        if worst.given_by(raw) and all(each.given_by(each.raw(guess)) for each in shown[1:]):
            yield Parting(guess.step, guess.reason, away(raw, worst.batch.raw))
    for found in zip(*(each.fits() for each in shown if each.error > each.tolerance), strict=True):
        if found[0] and all(found):
            yield Parting(found[0].step, found[0].reason, found[0].size)
    for guess, raw in guesses:
        for one in late:
            if worst.given_by(raw, one.ending) and all(e.given_by(e.raw(guess), one.ending) for e in shown[1:]):
                yield Parting(guess.step, f"{guess.reason}; and {one.reason}", away(raw, worst.batch.raw))


def _unreadable(shown: _Shown) -> Parting | None:
    """Maps of which no step can be told."""
    if shown.maps.shape != shown.wanted.shape:
        return Parting(Step.RESIZE, f"the maps are {shown.maps.shape}, not {shown.wanted.shape}", np.inf)
    if not np.isfinite(shown.maps).all():
        return Parting(Step.ACTIVATION, "the maps are not finite, so that no step can be told from them", np.inf)
    return None


def _unexplained(shown: _Shown) -> str:
    alike = np.corrcoef(shown.maps.ravel(), shown.wanted.ravel())[0, 1]
    return (
        "no mistake that is known here gives these maps, so that not even the activation can be excluded "
        f"(correlation with the reference {alike:.4f})"
    )
