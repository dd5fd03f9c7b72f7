"""What each contender costs."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camzoo.charts._around import Around, captions, holding
from camzoo.charts._axes import bare_below, in_words, log_axis, span, value_at
from camzoo.charts._panels import rankings, table
from camzoo.charts._style import Look, looks_of
from camzoo.charts._unmeasured import unmeasured
from camzoo.lettering import FAINT, INK
from camzoo.timing import statistics, words
from camzoo.timing.samples import Run
from camzoo.timing.statistics import Ranked

NOISY = "*"


def dots(run: Run) -> Figure:
    """What each contender costs in forward passes, on a logarithmic scale, with the 95 % interval of its median.

    Rows are contenders, the cheapest first, and columns cases. What is not ranked has a hollow mark or, without
    samples, its outcome in words.
    """
    looks, ranked = looks_of(run), rankings(run)
    measured = [each for rows in ranked for each in rows if each.summary]
    said = holding(
        ("line: 95 % interval of the median", not all(statistics.few(each.row) for each in measured)),
        (f"{NOISY} interquartile range above 10 % of the median", any(_noisy(each) for each in measured)),
    )
    hollow = not all(each.place for each in measured)
    title = "cost in forward passes of the same model"
    if not measured:
        return unmeasured(run, ranked, title)
    around = Around(title, captions(run.cases)[0], run.command, looks, hollow, said)
    figure, panels = table(run, ranked, around, _cost)
    ends = [end for each in measured for end in _ends(each)]
    for axes, placed in panels:
        for at, each in placed:
            _dot(axes, at, each, looks[each.row.backend])
        if not any(each.summary for _, each in placed):
            bare_below(axes)
            continue
        axes.set_xscale("log")
        axes.set_xlim(*span([1.0, *ends]))
        log_axis(axes.xaxis)
        axes.axvline(1, color=FAINT, linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    return figure


def _noisy(ranked: Ranked) -> bool:
    return ranked.summary is not None and ranked.summary.noisy


def _ends(ranked: Ranked) -> tuple[float, float]:
    """The ends of the interval of a cost; too few samples have none to rely on, and so their median twice."""
    assert ranked.summary is not None
    cost = ranked.summary.forwards
    return (cost.middle, cost.middle) if statistics.few(ranked.row) else (cost.low, cost.high)


def _dot(axes: Axes, at: int, ranked: Ranked, look: Look) -> None:
    if ranked.summary is None:
        return in_words(axes, at, ranked.why)
    cost, (colour, marker) = ranked.summary.forwards, look
    face, ink = (colour, INK) if ranked.place else ("white", FAINT)
    if not statistics.few(ranked.row):
        axes.plot(_ends(ranked), [at, at], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
    axes.plot(cost.middle, at, marker, color=colour, markerfacecolor=face, markersize=4.2, markeredgewidth=0.9)
    return value_at(axes, at, words.cost(ranked.summary) + NOISY * _noisy(ranked), ink)


def _cost(ranked: Ranked) -> float | None:
    return ranked.summary.forwards.middle if ranked.summary else None
