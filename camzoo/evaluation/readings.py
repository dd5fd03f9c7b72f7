"""What a metric says of one map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from camzoo.errors import one_line
from camzoo.types import Status

UNDEFINED = "undefined"

WAYS = {1: "more is better", -1: "less is better", 0: ""}
"""Which way a metric points, in words."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of one metric for one map, or why there is none.

    Attributes:
        value: None where there is none.
        status: ok, undefined, not installed, not offered or failed.
        reason: why there is no value.
        chance: what is reached without looking, where there is such a level.
    """

    value: float | None
    status: str = Status.OK
    reason: str = ""
    chance: float | None = None


def read(value: float, lacking: str, why: str, chance: float | None = None) -> Reading:
    """A value, or where it is NaN why: what the image lacks, else what is wrong with the map.

    Args:
        value: of a metric.
        lacking: what the metric needs and the image does not have; "" where it has all.
        why: the map shows nothing; "" where it shows something.
        chance: what is reached without looking, where there is such a level.
    """
    if not math.isnan(value):
        return Reading(value, chance=chance)
    broken = f"the map is {why}" if why else "a part of it is 0 / 0, or a further map shows nothing"
    return Reading(None, UNDEFINED, lacking or broken, chance)


def refused(error: Exception) -> Reading:
    """What a method or a metric that broke says of every map."""
    return Reading(None, Status.of(error), one_line(error))


def missing(found: Mapping[str, Mapping[str, Reading]]) -> dict[str, list[str]]:
    """Why values are missing: from each reason to whose they are, and of which metrics.

    Args:
        found: from the name of a computation to its readings by the metric's name.
    """
    reasons: dict[str, list[str]] = {}
    for name, readings in found.items():
        lacking: dict[str, list[str]] = {}
        for metric, reading in readings.items():
            if reading.value is None:
                lacking.setdefault(reading.reason, []).append(metric)
        for why, metrics in lacking.items():
            which = "every metric" if len(metrics) == len(readings) else ", ".join(metrics)
            reasons.setdefault(why, []).append(f"{name} ({which})")
    return reasons
