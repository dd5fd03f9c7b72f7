"""One pair of axes: bare, with round labels, with words in the place of marks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from camzoo.charts._style import LETTER, PANEL, SMALL, VALUES
from camzoo.lettering import FAINT, INK, Style, fit

ROUNDS = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1,))
"""Round numbers within a decade, from fine to coarse."""
MOST_TICKS = 8


def root(axes: Axes) -> Figure:
    found = axes.get_figure(root=True)
    assert found is not None
    return found


def bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=LETTER, fontweight="bold", color=INK, loc="left", pad=4, parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=SMALL, length=2, colors=FAINT, labelcolor=INK)


def bare_below(axes: Axes) -> None:
    """No scale, where nothing was measured, but that in words."""
    axes.set_xticks([])
    axes.set_xlabel("nothing was measured", fontsize=SMALL, color=FAINT, loc="left")


def empty(axes: Axes) -> None:
    """No axes where there is no point."""
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    style: Style = {"transform": axes.transAxes, "fontsize": LETTER, "color": FAINT, "ha": "center"}
    axes.text(0.5, 0.5, "nothing to show: no contender has all that a point needs", **style)


def in_words(axes: Axes, at: int, why: str) -> None:
    """Words in place of a mark."""
    style: Style = {"transform": axes.get_yaxis_transform(), "fontsize": SMALL, "color": FAINT, "va": "center"}
    style |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}, "style": "italic", "parse_math": False}
    axes.text(0.01, at, fit(why, SMALL, PANEL + VALUES - 0.1), **style)


def value_at(axes: Axes, at: int, text: str, colour: str) -> None:
    """A number at the right of a panel."""
    axes.text(1.03, at, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, color=colour, va="center")


def span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis: with a margin, and never so near that ticks are missing."""
    low, high = min(values), max(values)
    high = max(high, 3 * low)
    margin = (high / low) ** 0.05
    return low / margin, high * margin


def log_axis(axis: Any, said: Callable[[float], str] = lambda value: f"{value:,.10g}") -> None:
    """Labels on a logarithmic axis whose ends are set: round numbers, at least three of them."""
    ticks = ticks_within(*axis.get_view_interval())
    axis.set_ticks(ticks, [said(tick) for tick in ticks])
    axis.set_minor_formatter(NullFormatter())


def ticks_within(low: float, high: float) -> list[float]:
    """The finest of the rounds that has room; with ends as `span` sets them none has fewer than three numbers."""
    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)))]
    found: list[float] = []
    for numbers in ROUNDS:
        found = [number * power for power in [*powers, 10 * powers[-1]] for number in numbers]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= MOST_TICKS:
            break
    return found


def rounded(text: str) -> str:
    """A round number with its unit, without the zeros at its end: 5 ms for 5.00 ms."""
    number, _, unit = text.partition(" ")
    return f"{float(number.replace(',', '')):g} {unit}"
