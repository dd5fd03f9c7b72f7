"""What many images would cost: hours and bytes for each method, from a short calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from camzoo.timing import statistics, words
from camzoo.timing.samples import Case, Outcome, Row, Run
from camzoo.timing.statistics import Interval

IMAGES = 50_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What one contender would need for many images.

    Attributes:
        case: the work of one call.
        contender: who does it.
        images: how many images.
        calls: of as many images as the case has in a batch.
        seconds: for all of them, with its interval; None where nothing was measured.
        peak_bytes: the most memory held at a time beyond the model and the images; None where it was not measured.
        why: why there are no seconds, or what is to be said of the map.
    """

    case: Case
    contender: str
    images: int
    calls: int
    seconds: Interval | None
    peak_bytes: int | None
    why: str = ""

    def __str__(self) -> str:
        """One line: what they cost, as in "50,000 images cost 3.1 h (2.9 to 3.4), 1.2 GiB"."""
        if self.seconds is None:
            return f"{self.contender}: {self.why}"
        cost, low, high = (words.seconds(each) for each in (self.seconds.middle, self.seconds.low, self.seconds.high))
        held = f", {words.size(self.peak_bytes)} beyond the model" if self.peak_bytes is not None else ""
        said = f" ({self.why})" if self.why else ""
        return f"{self.contender}: {self.images:,} images cost {cost} ({low} to {high}){held}{said}"


def plan(run: Run, images: int = IMAGES) -> list[Plan]:
    """What every row of a calibration would need for many images: the cheapest first, the unmeasured last.

    `ceil(images / batch) * mean seconds of a call`, plus the first call. The mean, and not the median, because slow
    calls are paid for, too. The interval is that of the mean over the calibration's processes and rounds. It cannot
    know of a machine that gets hot, throttled or shared later on, and reading the images is not in it.

    Args:
        run: a calibration: one case or several, a few calls of each contender.
        images: how many images.
    """
    plans = [_plan(row, images) for row in run.rows]
    return sorted(plans, key=lambda each: each.seconds.middle if each.seconds else math.inf)


def _plan(row: Row, images: int) -> Plan:
    calls = math.ceil(images / row.case.batch)
    why = statistics.objection(row)
    if row.outcome is not Outcome.OK or not row.samples:
        return Plan(row.case, row.contender, images, calls, None, row.peak_bytes, why)
    groups = statistics.by_process(row.samples, "seconds")
    first = float(np.median(row.first)) if row.first else 0.0
    mean = statistics.interval(float(np.concatenate(groups).mean()), np.nanmean(statistics.resampled(groups), axis=1))
    low, middle, high = (first + calls * each for each in (mean.low, mean.middle, mean.high))
    return Plan(row.case, row.contender, images, calls, Interval(middle, low, high), row.peak_bytes, why)
