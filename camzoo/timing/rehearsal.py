"""How often a comparison is right at the noise of a run, and how many rounds a slowdown takes to be found.

It is tried on pairs of made-up runs. A made-up row has the median of a ranked one; each of its processes is away from
it by a normal step as large as the run's processes are from each other, and its rounds by residuals drawn from the
row's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camzoo.timing import comparing, statistics, words
from camzoo.timing.comparing import SEEDS, Kind
from camzoo.timing.samples import Run
from camzoo.timing.statistics import NOTICED, Interval, Values

IQR = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""
WANTED = 1.10
"""The slowdown that is asked for."""
OFTEN = 0.9
"""In how many pairs a slowdown is to be found."""
SHAPES = ((5, 3), (10, 3), (15, 3), (30, 3), (15, 6), (30, 6), (30, 10))
"""Rounds and processes that are tried until a slowdown is found so often, the fewest calls first."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a comparison is right, tried on pairs of made-up runs.

    Attributes:
        pairs: how many pairs were tried, each once unchanged and once with a slowdown.
        slowdown: the planted factor.
        false_alarms: unchanged pairs that were told to be slower or faster.
        noticed: pairs with the slowdown that were told to be slower.
        overlaps: unchanged pairs whose intervals have something in common.
        smallest: the least slowdown, a factor, that is told in nine of ten pairs.
        processes: by how much processes of one row differ, as a share: the standard deviation.
        rounds: the same of the rounds within a process, from their interquartile range.
    """

    pairs: int
    slowdown: float
    false_alarms: int
    noticed: int
    overlaps: int
    smallest: float
    processes: float
    rounds: float


def rehearsed(
    run: Run,
    slowdown: float = WANTED,
    pairs: int = 300,
    seed: int = 0,
    shape: tuple[int, int] | None = None,
) -> Rates | None:
    """How often `camzoo bench --compare` is right at the noise of a run: on pairs unchanged, and slowed down.

    The ranked rows take turns. None where no row is ranked, or there is one process only.

    Args:
        run: whose noise is taken.
        slowdown: the planted factor.
        pairs: how many pairs to try.
        seed: of everything random.
        shape: rounds and processes of the made-up rows; None for those of the run's.
    """
    rows = [row for row in run.rows if not statistics.why_not_ranked(row)]
    groups = [logs for row in rows if len(logs := [np.log(g) for g in statistics.by_process(row.samples)]) > 1]
    if not groups:
        return None
    generator = np.random.default_rng(seed)
    within = [float(np.subtract(*np.quantile(_residuals(each), (0.75, 0.25)))) / IQR for each in groups]
    between = _between(groups, within)
    false_alarms = noticed = overlaps = 0
    lows = []
    for number in range(pairs):
        row = groups[number % len(groups)]
        lengths = [shape[0]] * shape[1] if shape else [len(group) for group in row]
        (old, before), (new, after) = (_made_up(row, lengths, between, generator, at) for at in SEEDS)
        ratio = statistics.interval(new / old, after / before)
        slower = Interval(*(slowdown * each for each in (ratio.middle, ratio.low, ratio.high)))
        false_alarms += comparing.told(ratio) is not Kind.TIE
        noticed += comparing.told(slower) is Kind.REGRESSION
        overlaps += statistics.interval(old, before).overlaps(statistics.interval(new, after))
        lows.append(ratio.low)
    smallest = NOTICED / float(np.quantile(lows, 1 - OFTEN))  # the whole interval of what it slows is above 1.03
    return Rates(pairs, slowdown, false_alarms, noticed, overlaps, smallest, between, float(np.median(within)))


def enough(run: Run, slowdown: float = WANTED, pairs: int = 40) -> tuple[int, int] | None:
    """Rounds and processes with which a slowdown is found in nine of ten pairs; None where no SHAPES are enough."""
    for shape in SHAPES:
        rates = rehearsed(run, slowdown, pairs, shape=shape)
        if rates and rates.smallest <= slowdown:
            return shape
    return None


def sensitivity(run: Run) -> str:
    """One line: the smallest slowdown that a comparison could show at a run's noise, and what one of 10 % takes."""
    rates = rehearsed(run, pairs=100)
    if rates is None:
        return "how small a slowdown could be found is not known: no ranked row has samples of two processes"
    shape = enough(run)
    takes = f"{WANTED - 1:.0%} would take {shape[0]} rounds in {shape[1]} processes" if shape else (
        f"{WANTED - 1:.0%} would take more than {SHAPES[-1][0]} rounds in {SHAPES[-1][1]} processes"
    )  # fmt: skip
    least = words.number(100 * (rates.smallest - 1))
    return f"the smallest slowdown of one row that is found nine times in ten at this noise is {least} %; {takes}"


def _between(groups: Sequence[Sequence[Values]], within: Sequence[float]) -> float:
    """The spread of processes, without what the rounds alone make of their medians: `pi / 2 * within^2 / rounds`."""
    apart = np.mean([np.var([np.median(group) for group in each], ddof=1) for each in groups])
    rounds = np.mean(
        [math.pi / 2 * w**2 * np.mean([1 / len(g) for g in each]) for w, each in zip(within, groups, strict=True)]
    )
    return math.sqrt(max(0.0, float(apart - rounds)))


def _residuals(groups: Sequence[Values]) -> Values:
    """How far rounds are from the middle of their process, which was taken from them and is too near to a few."""
    return np.concatenate([(one - np.median(one)) * math.sqrt(len(one) / max(1, len(one) - 1)) for one in groups])


def _made_up(
    groups: Sequence[Values], lengths: Sequence[int], between: float, generator: np.random.Generator, seed: int
) -> tuple[float, Values]:
    """The median of a row as another run might have it, of so many rounds in each process, and what is drawn of it."""
    middle, residuals = float(np.median(np.concatenate(groups))), _residuals(groups)
    made = [np.exp(middle + generator.normal(0, between) + generator.choice(residuals, rounds)) for rounds in lengths]
    return float(np.median(np.concatenate(made))), statistics.medians(made, seed)
