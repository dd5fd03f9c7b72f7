"""Figures as short texts, the same in the terminal, on the page and in the figures."""

from __future__ import annotations

from collections.abc import Sequence

from camzoo.timing import statistics
from camzoo.timing.statistics import Interval, Summary

KIB = 1024


def number(value: float) -> str:
    """Three digits or so: 0.012, 1.07, 12.3, 3,046."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def interval(found: Interval) -> str:
    """A figure with its interval: 1.07 [1.05, 1.10]."""
    return f"{number(found.middle)} [{number(found.low)}, {number(found.high)}]"


def cost(found: Summary) -> str:
    """The cost in forward passes: with its interval, but for too few samples, which do not have one to rely on."""
    enough = statistics.enough(found.count, found.processes)
    return interval(found.forwards) if enough else number(found.forwards.middle)


def ratio(found: Interval) -> str:
    """How many times as much: 1.25 [1.10, 1.95], or with the word that it is a tie."""
    return f"{'tie, ' if statistics.tie(found) else ''}{interval(found)}"


def filled(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Head and lines of a table; the column of that title is left out where no line has anything in it."""
    at = list(head).index(title)
    if any(line[at] for line in lines):
        return [list(line) for line in (head, *lines)]
    return [[*line[:at], *line[at + 1 :]] for line in (head, *lines)]


def seconds(value: float) -> str:
    """A time in the unit that suits it, from microseconds to days."""
    for limit, unit, name in ((9.995e-4, 1e-6, "us"), (0.9995, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min")):
        if value < limit:
            return f"{number(value / unit)} {name}"
    return f"{number(value / 3600)} h" if value < 48 * 3600 else f"{number(value / 86400)} days"


def size(count: float) -> str:
    """Bytes, in the unit that suits them."""
    for power, name in enumerate(("B", "KiB", "MiB")):
        if count < 999.5 * KIB**power:
            return f"{number(count / KIB**power) if power else int(count)} {name}"
    return f"{number(count / KIB**3)} GiB"


def error(value: float) -> str:
    """One digit is enough to see an order of magnitude; what is exact is 0."""
    return "0" if value == 0 else f"{value:.0e}" if value < 0.01 else f"{value:.2g}"
