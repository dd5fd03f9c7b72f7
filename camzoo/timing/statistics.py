"""Statistics of raw samples, derived on reading: medians with intervals, paired ratios, places, exponents.

Rounds of one process are alike, so that intervals come from a bootstrap of two levels: processes are drawn with
replacement, then rounds within each. With P processes the spread of what is drawn is too small by the root of
`(P - 1) / P`; each process is first moved away from the centre of all by the inverse of that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from camzoo.conformance.verdicts import Verdict
from camzoo.timing.samples import Outcome, Row, Sample

Values = npt.NDArray[np.float64]

DRAWS = 1000
"""How often the bootstrap draws."""
LEVEL = 0.95
NOTICED = 1.03
"""A gap below 3 % is a tie, however sure it is."""
FLAGGED, REFUSED = 0.10, 0.25
"""Interquartile range over median: above the first a row is marked as noisy, above the second it gets no place."""
FEWEST_SAMPLES, FEWEST_PROCESSES = 6, 2
"""Below either, equal contenders are told apart too often: one process does not know how far processes are apart."""
CLEAR = 0.9
"""Where so many rounds of every process are on one side, hardly one draw in 100,000 has its median on the other."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    middle: float
    low: float
    high: float

    def covers(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.low <= value <= self.high

    def overlaps(self, other: Interval) -> bool:
        """Whether two have something in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True)
class Summary:
    """The samples of one row in figures.

    Attributes:
        count: samples.
        processes: fresh processes that they come from.
        forwards: median cost in forward passes, with its interval.
        quartiles: of the cost in forward passes.
        noise: its interquartile range over its median.
        p95: its 95th percentile.
        seconds: median of the wall clock.
        forward: median seconds of a forward pass beside it.
        first: median seconds of the first calls, None where there were none.
        device_seconds: median by CUDA events, on a CUDA device.
    """

    count: int
    processes: int
    forwards: Interval
    quartiles: tuple[float, float]
    noise: float
    p95: float
    seconds: float
    forward: float
    first: float | None
    device_seconds: float | None

    @property
    def noisy(self) -> bool:
        """Whether the noise is to be told beside the figure."""
        return self.noise > FLAGGED


@dataclass(frozen=True, slots=True)
class Ranked:
    """One row among those of its case.

    Attributes:
        row: as measured.
        summary: its figures; None where there are no samples.
        place: one more than the number of rows that are cheaper beyond doubt; None where it is not ranked.
        why: why it is not ranked.
        ties: contenders with a place that it was measured beside and cannot be told apart from.
    """

    row: Row
    summary: Summary | None = field(repr=False)
    place: int | None
    why: str = ""
    ties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """A power law `y = a x^b` through the medians.

    Attributes:
        exponent: `b`, with the interval that the noise of the points leaves it.
        factor: `a`.
        misfit: the largest distance of a point from the line, as a share: 0.1 for a factor of 1.1.
    """

    exponent: Interval
    factor: float
    misfit: float


def summary(row: Row) -> Summary:
    """The figures of a row.

    Raises:
        ValueError: it has no samples.
    """
    if not row.samples:
        raise ValueError(f"{row.contender} has no samples: {row.outcome}")
    forwards = np.array([sample.forwards for sample in row.samples])
    low, high, p95 = (float(each) for each in np.quantile(forwards, (0.25, 0.75, 0.95)))
    on_device = [sample.device_seconds for sample in row.samples if sample.device_seconds is not None]
    return Summary(
        count=len(row.samples),
        processes=_processes(row),
        forwards=interval(float(np.median(forwards)), medians(by_process(row.samples))),
        quartiles=(low, high),
        noise=noise(row),
        p95=p95,
        seconds=float(np.median([sample.seconds for sample in row.samples])),
        forward=float(np.median([sample.forward for sample in row.samples])),
        first=float(np.median(row.first)) if row.first else None,
        device_seconds=float(np.median(on_device)) if on_device else None,
    )


def noise(row: Row) -> float:
    """Interquartile range over median of the cost in forward passes."""
    low, middle, high = np.quantile([sample.forwards for sample in row.samples], (0.25, 0.5, 0.75))
    return float((high - low) / middle)


def enough(samples: int, processes: int) -> bool:
    """Whether so many samples, from so many processes, have an interval that can be relied on."""
    return samples >= FEWEST_SAMPLES and processes >= FEWEST_PROCESSES


def few(row: Row) -> str:
    """How many samples a row has where they are not enough, as in "3 in 1 process"; "" where they are."""
    samples, processes = len(row.samples), _processes(row)
    return "" if enough(samples, processes) else f"{samples} in {processes} process{'es' if processes != 1 else ''}"


def _processes(row: Row) -> int:
    return len({sample.process for sample in row.samples})


def by_process(samples: Sequence[Sample], figure: str = "forwards") -> list[Values]:
    """One figure of the samples, "forwards" or "seconds", for each process."""
    processes = sorted({sample.process for sample in samples})
    return [np.array([getattr(each, figure) for each in samples if each.process == number]) for number in processes]


def resampled(groups: Sequence[Values], seed: int = SEED, draws: int = DRAWS) -> Values:
    """Samples as they might have come out: `(draws, most)`, NaN where a draw has fewer than the most.

    Args:
        groups: positive values, those of one process each.
        seed: of the draws.
        draws: how many.
    """
    generator = np.random.default_rng(seed)
    rounds = np.array([len(group) for group in groups])
    processes, most = len(groups), int(rounds.max())
    table = _table(groups)
    who = generator.integers(processes, size=(draws, processes))
    at = (generator.random((draws, processes, most)) * rounds[who][..., None]).astype(int)
    drawn = table[who[..., None], at]
    drawn[np.arange(most) >= rounds[who][..., None]] = np.nan
    flat: Values = drawn.reshape(draws, -1)
    return flat


def _table(groups: Sequence[Values]) -> Values:
    """Processes below each other, NaN where one has fewer rounds; each is moved away from the centre of all.

    By the root of `P / (P - 1)`, in logarithms.
    """
    table = np.full((len(groups), max(map(len, groups))), np.nan)
    centres = np.log([np.median(group) for group in groups])
    away = math.sqrt(len(groups) / (len(groups) - 1)) - 1 if len(groups) > 1 else 0.0
    moved = np.exp((centres - centres.mean()) * away)
    for number, group in enumerate(groups):
        table[number, : len(group)] = group * moved[number]
    return table


def medians(groups: Sequence[Values], seed: int = SEED, draws: int = DRAWS) -> Values:
    """The median, as it might have come out: `(draws,)`."""
    drawn = resampled(groups, seed, draws)
    counts = np.count_nonzero(~np.isnan(drawn), axis=1)
    drawn.sort(axis=1)  # NaN goes to the end
    each = np.arange(len(drawn))
    middle: Values = (drawn[each, (counts - 1) // 2] + drawn[each, counts // 2]) / 2
    return middle


def interval(middle: float, drawn: Values) -> Interval:
    """A figure with the middle 95 % of what was drawn; it always holds the figure itself."""
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(middle, min(middle, float(low)), max(middle, float(high)))


def paired(one: Row, other: Row) -> Interval | None:
    """How many times as much one row costs as another of its case: the median of the ratios within each round.

    A round's ratio is that of the costs in forward passes. None where the two have no round in common.
    """
    ratios = _ratios(one, other)
    if not ratios:
        return None
    return interval(float(np.median(np.concatenate(ratios))), medians(ratios))


def _ratios(one: Row, other: Row) -> list[Values]:
    costs = {(sample.process, sample.round): sample.forwards for sample in other.samples}
    found: dict[int, list[float]] = {}
    for sample in one.samples:
        if (beside := costs.get((sample.process, sample.round))) is not None:
            found.setdefault(sample.process, []).append(sample.forwards / beside)
    return [np.array(found[process]) for process in sorted(found)]


def tie(ratio: Interval) -> bool:
    """Whether two costs cannot be told apart: the interval of their ratio covers 1, or the gap is under 3 %."""
    return ratio.covers(1) or 1 / NOTICED < ratio.middle < NOTICED


def why_not_ranked(row: Row) -> str:
    """Why a row gets no place among the others; "" where it gets one."""
    if why := objection(row):
        return why
    if counted := few(row):
        return f"too few samples to rank: {counted}"
    if noise(row) > REFUSED:
        return "too noisy to rank: the interquartile range is above 25 % of the median"
    return ""


def objection(row: Row) -> str:
    """What speaks against a row however well it is measured; "" where nothing does."""
    if row.outcome is not Outcome.OK:
        return f"{row.outcome}: {row.reason}" if row.reason else str(row.outcome)
    if not row.samples:
        return "no samples yet"
    if row.verdict != Verdict.AGREES:
        said = row.verdict or "not checked"
        return f"{said}: {row.verdict_reason}" if row.verdict_reason else said
    return ""


def ranking(rows: Sequence[Row]) -> list[Ranked]:
    """The rows of one case, the cheapest first; those that are not ranked come last, each with why.

    Raises:
        ValueError: the rows are of several cases: their costs cannot be put in one order.
    """
    if len({row.case for row in rows}) > 1:
        raise ValueError("rows of several cases have no common order; rank those of one case at a time")
    found = [Ranked(row, summary(row) if row.samples else None, None, why_not_ranked(row)) for row in rows]
    good = sorted((each for each in found if not each.why), key=_cost)
    signs = np.zeros((len(good), len(good)), dtype=int)
    for one, other in itertools.combinations(range(len(good)), 2):
        signs[one, other] = compared(good[one].row, good[other].row)
    placed = [_placed(each, good, found) for each, found in zip(good, signs - signs.T, strict=True)]
    placed.sort(key=lambda each: (each.place or 0, _cost(each)))
    return placed + sorted((each for each in found if each.why), key=_cost)


def _placed(this: Ranked, good: Sequence[Ranked], signs: npt.NDArray[np.int_]) -> Ranked:
    alike = [each.row for each, sign in zip(good, signs, strict=True) if not sign and each is not this]
    ties = [row.contender for row in alike if _ratios(this.row, row)]  # without a common round nothing is known
    return replace(this, place=1 + int((signs > 0).sum()), ties=tuple(ties))


def compared(one: Row, other: Row) -> int:
    """1 where one row costs more than another beyond doubt, -1 where it costs less, 0 for a tie or no common round."""
    ratios = _ratios(one, other)
    if not ratios:
        return 0
    table = _table(ratios)
    for sign, beyond in ((1, table > NOTICED), (-1, table < 1 / NOTICED)):
        shares = np.count_nonzero(beyond, axis=1) / np.count_nonzero(~np.isnan(table), axis=1)
        if shares.min() >= CLEAR:
            return sign
    ratio = interval(float(np.median(np.concatenate(ratios))), medians(ratios))
    return 0 if tie(ratio) else 1 if ratio.middle > 1 else -1


def _cost(ranked: Ranked) -> tuple[float, str]:
    return ranked.summary.forwards.middle if ranked.summary else math.inf, ranked.row.contender


def fit(points: Sequence[tuple[float, Sequence[Values]]]) -> Fit:
    """A power law through medians, by least squares of the logarithms.

    Args:
        points: for each size `x` the values of each process. At least two sizes.

    Raises:
        ValueError: there are fewer than two sizes.
    """
    if len({size for size, _ in points}) < 2:
        raise ValueError("an exponent needs at least two sizes")
    x = np.log([size for size, _ in points])
    y = np.log([float(np.median(np.concatenate(groups))) for _, groups in points])
    drawn = np.log([medians(groups, seed) for seed, (_, groups) in enumerate(points, SEED)])
    centred = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    slope = float(centred @ y)
    away = y - y.mean() - slope * (x - x.mean())
    factor = math.exp(float(y.mean() - slope * x.mean()))
    return Fit(interval(slope, centred @ drawn), factor, math.expm1(float(np.abs(away).max())))
