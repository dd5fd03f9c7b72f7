"""Where a value stands on an axis, in percent of its length: pages draw in percent, and so fit every width."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

STEPS = (1, 2, 2.5, 5, 10)
EDGE = 3.0
"""What is left free at both ends, in percent."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of numbers, linear or of their logarithms.

    Attributes:
        low: its lower end.
        high: its upper end.
        log: whether distances are ratios; both ends are then positive.
        turned: whether larger numbers stand on the left.
    """

    low: float
    high: float
    log: bool = False
    turned: bool = False

    def at(self, value: float) -> float:
        """Where a value stands, in percent."""
        low, high, here = (math.log(each) if self.log else each for each in (self.low, self.high, value))
        share = (here - low) / (high - low)
        return round(EDGE + (100 - 2 * EDGE) * (1 - share if self.turned else share), 2)


def around(values: Iterable[float], turned: bool = False) -> Scale:
    """The scale on which all finite values of a metric have room; around 0 where there is none."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    if high - low < 1e-9 * max(1, abs(low)):
        low, high = low - 0.5, high + 0.5
    return Scale(low, high, turned=turned)


def of_costs(costs: Iterable[float]) -> Scale:
    """The logarithmic scale of positive costs, never so narrow that nearly equal ones look far apart."""
    known = [cost for cost in costs if cost > 0] or [1.0]
    return Scale(min(0.8, 0.9 * min(known)), max(2.5, 1.25 * max(known)), log=True)


def ticks(scale: Scale, most: int = 6) -> list[float]:
    """Round numbers on a scale, so many at most."""
    if scale.log:
        first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
        tens = [10.0**power for power in range(first, last + 1)]
        found = [digit * ten for ten in tens for digit in (1, 2, 5)]
        inside = [tick for tick in found if scale.low <= tick <= scale.high]
        return inside if len(inside) <= most else [tick for tick in tens if scale.low <= tick <= scale.high]
    rough = (scale.high - scale.low) / most
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(each * ten for each in STEPS if each * ten >= rough)
    first = math.ceil(scale.low / step - 1e-9)
    return [round(number * step, 12) + 0.0 for number in range(first, math.floor(scale.high / step + 1e-9) + 1)]
