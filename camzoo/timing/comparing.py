"""Two runs side by side: what has become slower, what has become faster, and what can no longer be told."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camzoo import native
from camzoo.conformance.verdicts import Verdict
from camzoo.timing import conditions, statistics, words
from camzoo.timing.samples import Case, Outcome, Row, Run
from camzoo.timing.statistics import NOTICED, Interval

SEEDS = (0, 1)
"""Of the draws of the old and the new side: the two are independent."""


class Kind(enum.StrEnum):
    """What became of one row."""

    REGRESSION = "slower"
    """The whole interval of the ratio is above 1.03."""
    IMPROVEMENT = "faster"
    """The whole interval is below 1/1.03."""
    TIE = "tie"
    NOISY = "too noisy"
    """One side's interquartile range is above 25 % of its median: no word on it."""
    FEW = "too few samples"
    """One side has too few samples for an interval that could be relied on: no word on it."""
    LOST = "lost"
    """It was measured, or ranked, and is not any more."""
    FOUND = "found"
    """It is measured now, and was not before."""
    NOT_REACHED = "not reached"
    """One of the two runs was interrupted before it came to it."""
    ONLY_OLD = "only in the old run"
    ONLY_NEW = "only in the new run"
    NEITHER = "not measured in either"


@dataclass(frozen=True, slots=True)
class Change:
    """One contender in one case, before and now.

    Attributes:
        case: the work.
        contender: who did it.
        kind: what became of it.
        ratio: new over old cost in forward passes; None where one of them was not measured to its end.
        why: in words, where there is no ratio or more to say.
    """

    case: Case
    contender: str
    kind: Kind
    ratio: Interval | None = None
    why: str = ""

    @property
    def worse(self) -> bool:
        """Whether a comparison with this change fails."""
        return self.kind in (Kind.REGRESSION, Kind.LOST)

    def __str__(self) -> str:
        ratio = f" {words.interval(self.ratio)}" if self.ratio else ""
        return f"{self.case.name}: {self.contender}: {self.kind}{ratio}{f', {self.why}' if self.why else ''}"


def compare(old: Run, new: Run) -> list[Change]:
    """What became of every row: the new run's in order, then those that only the old one has.

    Rows are matched by case and contender. The ratio is that of the medians in forward passes of the same model in the
    same round; its interval comes from bootstraps of both sides. What the two runs were made with is not looked at:
    `differences` says it.
    """
    before = {(row.case, row.contender): row for row in old.rows}
    after = {(row.case, row.contender): row for row in new.rows}
    changes = [_change(before.get(key), row) for key, row in after.items()]
    return changes + [Change(*key, Kind.ONLY_OLD) for key in before if key not in after]


def _change(old: Row | None, new: Row) -> Change:
    if old is None:
        return Change(new.case, new.contender, Kind.ONLY_NEW)
    both = all(row.outcome is Outcome.OK and row.samples for row in (old, new))
    ratio = ratio_of(old, new) if both else None
    kind, why = _measured(old, new, ratio) if ratio else _unmeasured(old, new)
    return Change(new.case, new.contender, kind, ratio, why)


def _unmeasured(old: Row, new: Row) -> tuple[Kind, str]:
    """What became of a row that at least one of the two runs did not measure to its end."""
    for side, row in (("old", old), ("new", new)):
        if not row.reached:
            return Kind.NOT_REACHED, f"the {side} run ended before it was timed"
    was, now = statistics.why_not_ranked(old), statistics.why_not_ranked(new)
    if old.outcome is Outcome.OK and new.outcome is not Outcome.OK:
        return Kind.LOST, now
    if new.outcome is Outcome.OK and old.outcome is not Outcome.OK:
        return Kind.FOUND, f"was {was}"
    return Kind.NEITHER, now


def _measured(old: Row, new: Row, ratio: Interval) -> tuple[Kind, str]:
    """What became of a row that both runs measured: what the check says is certain, what it costs may be in doubt."""
    said = ""
    if old.verdict != new.verdict:
        said = f"the check said {old.verdict or 'nothing'!r}, and says {new.verdict or 'nothing'!r}"
        if old.verdict == Verdict.AGREES and new.verdict:
            return Kind.LOST, said
    kind, doubt = _doubt(old, new) or (told(ratio), "")
    return kind, "; ".join(filter(None, (said, doubt)))


def _doubt(old: Row, new: Row) -> tuple[Kind, str] | None:
    """Why the ratio of two rows says nothing; None where it does."""
    for side, row in (("old", old), ("new", new)):
        if few := statistics.few(row):
            return Kind.FEW, f"{few} in the {side} run"
    noise = max(map(statistics.noise, (old, new)))
    return (Kind.NOISY, f"the interquartile range is {noise:.0%} of the median") if noise > statistics.REFUSED else None


def told(ratio: Interval) -> Kind:
    """What a ratio of new over old says, by its whole interval."""
    if ratio.low > NOTICED:
        return Kind.REGRESSION
    return Kind.IMPROVEMENT if ratio.high < 1 / NOTICED else Kind.TIE


def ratio_of(old: Row, new: Row) -> Interval:
    """New over old cost in forward passes, with an interval from both sides' draws."""
    before, after = statistics.by_process(old.samples), statistics.by_process(new.samples)
    middle = float(np.median(np.concatenate(after)) / np.median(np.concatenate(before)))
    return statistics.interval(middle, statistics.medians(after, SEEDS[1]) / statistics.medians(before, SEEDS[0]))


def differences(old: Run, new: Run) -> list[str]:
    """What the two runs were not made alike with: machine, versions, flags; one line each."""
    return conditions.differences(old.environment, new.environment)


def unfinished(old: Run, new: Run) -> list[str]:
    """Which of the two runs was interrupted: one line each."""
    runs = (("old", old), ("new", new))
    return [
        f"the {side} run was interrupted: what it did not reach is not compared"
        for side, run in runs
        if not run.finished
    ]


def overlap(one: Run, other: Run) -> tuple[int, int]:
    """In how many rows two runs of the same work agree on a paired ratio, and in how many there is one in both.

    The ratio of a row is that to camzoo's own method of the same case; for camzoo's own rows that to the first of them.
    Two agree where their intervals have something in common.
    """
    first, second = _paired(one), _paired(other)
    both = [key for key in first if key in second]
    return sum(first[key].overlaps(second[key]) for key in both), len(both)


def _paired(run: Run) -> dict[tuple[Case, str], Interval]:
    found = {}
    for case in run.cases:
        rows = [row for row in run.of(case) if not statistics.why_not_ranked(row)]
        for row in rows:
            against = reference(row, rows)
            if against and (ratio := statistics.paired(row, against)):
                found[case, row.contender] = ratio
    return found


def reference(row: Row, rows: Sequence[Row]) -> Row | None:
    """What a row's paired ratio is to: camzoo's own row of its method; for an own row the first own one of the case."""
    own = [each for each in rows if each.backend == native.NAME]
    same = next((each for each in own if each.method == row.method and each is not row), None)
    if row.backend != native.NAME:
        return same
    return own[0] if own and own[0] is not row else None
