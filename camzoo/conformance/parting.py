"""The first step at which an implementation parts from the reference, as far as its maps let one look."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from camzoo.conformance.hypotheses import RIGHT, Batch, Early, Step, early, endings, fits
from camzoo.conformance.hypotheses.endings import Ending, Late
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
            _Shown(subject, _batch(subject.method, stand), given, tolerance)
            for stand, given in zip(stands, maps, strict=True)
        ]
        readable = sorted((one for one in shown if one.readable), key=lambda one: one.error, reverse=True)
        if not readable:
            return _unreadable(shown[0])
        found = next(_explanations(readable), None)
        if found is None and len(readable) > 1:
            found = next(_explanations(readable[:1]), None)
            found = found and replace(found, reason=f"{found.reason} (which does not explain every problem)")
        if found is None:
            found = Parting(Step.ACTIVATION, _unexplained(readable[0]), readable[0].error)
        if len(readable) < len(shown):
            unreadable = _unreadable(next(one for one in shown if not one.readable))
            if readable[0].error <= tolerance:  # right wherever it can be read: what cannot be is all there is to say
                return unreadable
            found = replace(found, reason=f"{found.reason}; at another problem, {unreadable.reason}")
        return found


@functools.lru_cache(maxsize=16)
def _batch(method: str, stand: Place) -> Batch:
    """The evidence of a stand, which is dear for methods of many runs."""
    return Batch.of(method, stand.problem())


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

    @property
    def readable(self) -> bool:
        """Whether the maps can be compared at all."""
        return self.maps.shape == self.wanted.shape and bool(np.isfinite(self.maps).all())

    def ended(self, raw: Floats, ending: Ending | None = None) -> Floats:
        """RAW maps with an ending, the right one unless said."""
        right = endings.right(self.subject.stage, self.subject.resolution)
        return (ending or right)(raw, self.batch.problem.image_size)

    def raw(self, guess: Early) -> Floats | None:
        """The maps of a guess, or None where it is not defined here."""
        try:
            raw = guess.raw(self.batch)
        except Exception:  # a layer without a grid, a score without a gradient: no explanation here
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
        return all(map(self._close, self.maps, self.ended(raw, ending), self.wanted))

    def _close(self, found: Floats, guess: Floats, wanted: Floats) -> bool:
        """Equal to precision; where a guess cancels to nothing, its rounding is that of numbers like the right ones."""
        scale = np.abs(guess).max() + np.abs(wanted).max() / 100
        return bool(np.abs(found - guess).max() <= self.tolerance * scale)

    def fits(self) -> Iterator[Fit | None]:
        """Each kind of fit, in one order, with None where it fails."""
        stage, tolerance = self.subject.stage, self.tolerance
        yield fits.factor(self.maps, self.wanted, stage, tolerance)
        if self.subject.resolution is Resolution.LAYER:
            yield fits.slopes(self.maps, self.batch, stage, tolerance)
            yield fits.span(self.maps, self.batch, RIGHT.get(self.batch.method), stage, tolerance)


def _explanations(shown: Sequence[_Shown]) -> Iterator[Parting]:
    """Every exact explanation, the simplest first; the first of those shown turns most of them down."""
    subject, batch = shown[0].subject, shown[0].batch
    good = endings.right(subject.stage, subject.resolution)
    late = list(endings.wrong(subject.stage, subject.resolution))
    yield from _of_endings(shown, [((one,), one.changed(good)) for one in late])
    if batch.method in SIGNLESS:
        yield from _of_fits([fits.turned(each.maps, each.batch, each.ended, each.tolerance) for each in shown])
    guesses: list[Guess] = []
    yield from _of_guesses(shown, _kept(shown[0], guesses), [((), good)])
    pairs = [((b, a), b.changed(a.changed(good))) for a, b in combinations(late, 2) if a.step != b.step]
    yield from _of_endings(shown, pairs)
    yield from _of_guesses(shown, guesses, [((one,), one.changed(good)) for one in late])
    for found in zip(*(each.fits() for each in shown if each.error > each.tolerance), strict=True):
        yield from _of_fits(found)


Guess = tuple[Early, Floats]
"""A mistake, and the RAW maps that it gives where the error is largest."""

Endings = Sequence[tuple[tuple[Late, ...], Ending]]
"""Wrong endings, each with the mistakes that are in it, the earliest step first."""


def _kept(shown: _Shown, guesses: list[Guess]) -> Iterator[Guess]:
    """Every guess that is defined, as it is made; they are kept in the list, to be tried with other endings."""
    for guess in early(shown.batch):
        raw = shown.raw(guess)
        if raw is not None:
            guesses.append((guess, raw))
            yield guess, raw


def _of_endings(shown: Sequence[_Shown], wrong: Endings) -> Iterator[Parting]:
    """The right RAW maps, wrongly ended."""
    worst = shown[0]
    for mistakes, ending in wrong:
        if all(each.given_by(each.batch.raw, ending) for each in shown):
            size = away(worst.ended(worst.batch.raw, ending), worst.wanted)
            yield Parting(mistakes[0].step, _joined(mistakes), size)


def _of_guesses(shown: Sequence[_Shown], guesses: Iterable[Guess], ends: Endings) -> Iterator[Parting]:
    """Wrong RAW maps, with each of some endings."""
    worst, others = shown[0], shown[1:]
    for guess, raw in guesses:
        for mistakes, ending in ends:
            if worst.given_by(raw, ending) and all(each.given_by(each.raw(guess), ending) for each in others):
                yield Parting(guess.step, _joined((guess, *mistakes)), away(raw, worst.batch.raw))


def _of_fits(found: Sequence[Fit | None]) -> Iterator[Parting]:
    """One kind of fit at every stand; the numbers are those of the first."""
    if found[0] and all(found):
        yield Parting(found[0].step, found[0].reason, found[0].size)


def _joined(mistakes: Sequence[Early | Late]) -> str:
    return "; and ".join(one.reason for one in mistakes)


def _unreadable(shown: _Shown) -> Parting:
    """Of maps that cannot be compared no step can be told."""
    if shown.maps.shape != shown.wanted.shape:
        return Parting(Step.RESIZE, f"the maps are {shown.maps.shape}, not {shown.wanted.shape}", np.inf)
    return Parting(Step.ACTIVATION, "the maps are not finite, so that no step can be told from them", np.inf)


def _unexplained(shown: _Shown) -> str:
    alike = np.corrcoef(shown.maps.ravel(), shown.wanted.ravel())[0, 1]
    return (
        "no mistake that is known here gives these maps, so that not even the activation can be excluded "
        f"(correlation with the reference {alike:.4f})"
    )
