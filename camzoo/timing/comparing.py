"""Two runs side by side: what has become slower, what has become faster, and what can no longer be told."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camzoo import native
from camzoo.conformance.verdicts import Verdict
from camzoo.timing import statistics, words
from camzoo.timing.samples import Case, Outcome, Row, Run
from camzoo.timing.statistics import NOTICED, Interval, Values

BY_ITSELF = ("date", "load", "before", "after", "scenario")
"""What differs from one run to the next on one machine: names in an environment that begin so."""
SEEDS = (0, 1)
"""Of the draws of the old and the new side: the two are independent."""
IQR = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""


class Kind(enum.StrEnum):
    """What became of one row."""

    REGRESSION = "slower"
    """The whole interval of the ratio is above 1.03."""
    IMPROVEMENT = "faster"
    """The whole interval is below 1/1.03."""
    TIE = "tie"
    NOISY = "too noisy"
    """One side's interquartile range is above 25 % of its median: no word on it."""
    LOST = "lost"
    """It was measured, or ranked, and is not any more."""
    FOUND = "found"
    """It is measured now, and was not before."""
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
        ratio: new over old cost in forward passes; None where one of them was not measured.
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


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a comparison is right, tried on pairs of runs with the noise of a real one.

    Attributes:
        pairs: how many pairs were tried, each once unchanged and once with a slowdown.
        slowdown: the planted factor.
        false_alarms: unchanged pairs that were told to be slower or faster.
        noticed: pairs with the slowdown that were told to be slower.
        overlaps: unchanged pairs whose intervals have something in common.
        processes: by how much processes of one row differ, as a share: the standard deviation.
        rounds: the same of the rounds within a process, from their interquartile range.
    """

    pairs: int
    slowdown: float
    false_alarms: int
    noticed: int
    overlaps: int
    processes: float
    rounds: float


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
    ratio = ratio_of(old, new) if old.samples and new.samples else None
    kind, why = _kind(old, new, ratio)
    return Change(new.case, new.contender, kind, ratio, why)


def _kind(old: Row, new: Row, ratio: Interval | None) -> tuple[Kind, str]:
    was, now = statistics.why_not_ranked(old), statistics.why_not_ranked(new)
    if old.outcome is Outcome.OK and new.outcome is not Outcome.OK:
        return Kind.LOST, now
    if new.outcome is Outcome.OK and old.outcome is not Outcome.OK:
        return Kind.FOUND, f"was {was}"
    if ratio is None:
        return Kind.NEITHER, now
    if old.verdict != new.verdict:
        said = f"the check said {old.verdict or 'nothing'!r}, and says {new.verdict or 'nothing'!r}"
        return (Kind.LOST if old.verdict == Verdict.AGREES and new.verdict else _of(ratio)), said
    noise = max(statistics.summary(row).noise for row in (old, new))
    if noise > statistics.REFUSED:
        return Kind.NOISY, f"the interquartile range is {noise:.0%} of the median"
    return _of(ratio), ""


def _of(ratio: Interval) -> Kind:
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
    before, after = dict(_flat(old.environment)), dict(_flat(new.environment))
    return [
        f"{name}: {before.get(name, 'not told')} before, {after.get(name, 'not told')} now"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every entry with its dotted name, but for those that differ by themselves."""
    for name, value in values.items():
        if name.startswith(BY_ITSELF):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


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


def rehearsed(run: Run, slowdown: float = 1.10, pairs: int = 300, seed: int = 0) -> Rates | None:
    """How often `compare` is right at the noise of a run: on pairs of made-up runs, unchanged and slowed down.

    The ranked rows take turns. A made-up row has the median of its row; each of its processes is away from it by a
    normal step as large as the run's processes are from each other, and its rounds by residuals drawn from the row's
    own. None where no row is ranked, or there is one process only.

    Args:
        run: whose noise is taken.
        slowdown: the planted factor.
        pairs: how many pairs to try.
        seed: of everything random.
    """
    rows = [row for row in run.rows if not statistics.why_not_ranked(row)]
    groups = [logs for row in rows if len(logs := [np.log(g) for g in statistics.by_process(row.samples)]) > 1]
    if not groups:
        return None
    generator = np.random.default_rng(seed)
    within = [float(np.subtract(*np.quantile(_residuals(each), (0.75, 0.25)))) / IQR for each in groups]
    between = _between(groups, within)
    false_alarms = noticed = overlaps = 0
    for number in range(pairs):
        (old, before), (new, after) = (_made_up(groups[number % len(groups)], between, generator, at) for at in SEEDS)
        ratio = statistics.interval(new / old, after / before)
        slower = Interval(*(slowdown * each for each in (ratio.middle, ratio.low, ratio.high)))
        false_alarms += _of(ratio) is not Kind.TIE
        noticed += _of(slower) is Kind.REGRESSION
        overlaps += statistics.interval(old, before).overlaps(statistics.interval(new, after))
    return Rates(pairs, slowdown, false_alarms, noticed, overlaps, between, float(np.median(within)))


def _between(groups: Sequence[Sequence[Values]], within: Sequence[float]) -> float:
    """The spread of processes, without what the rounds alone make of their medians: `pi / 2 * within^2 / rounds`."""
    apart = np.mean([np.var([np.median(group) for group in each], ddof=1) for each in groups])
    rounds = np.mean(
        [math.pi / 2 * w**2 * np.mean([1 / len(g) for g in each]) for w, each in zip(within, groups, strict=True)]
    )
    return math.sqrt(max(0.0, float(apart - rounds)))


def _residuals(groups: Sequence[Values]) -> Values:
    return np.concatenate([group - np.median(group) for group in groups])


def _made_up(
    groups: Sequence[Values], between: float, generator: np.random.Generator, seed: int
) -> tuple[float, Values]:
    """The median of a row as another run might have it, of as many processes and rounds, and what is drawn of it."""
    middle, residuals = float(np.median(np.concatenate(groups))), _residuals(groups)
    made = [np.exp(middle + generator.normal(0, between) + generator.choice(residuals, len(group))) for group in groups]
    return float(np.median(np.concatenate(made))), statistics.medians(made, seed)
