"""What a metric says of one map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
