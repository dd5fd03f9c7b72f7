"""What each contender holds in memory."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camzoo.charts._around import Around, captions, holding
from camzoo.charts._axes import bare_below, in_words, rounded, value_at
from camzoo.charts._panels import rankings, table
from camzoo.charts._style import Look, looks_of
from camzoo.charts._unmeasured import unmeasured, why_unmeasured
from camzoo.lettering import EMPTY, FAINT, INK
from camzoo.timing import words
from camzoo.timing.samples import Outcome, Run
from camzoo.timing.statistics import Ranked


def memory(run: Run) -> Figure:
    """The most memory that each contender holds at a time beyond model and images, as bars; a forward pass beside them.

    Rows are contenders, the smallest first, and columns cases. What was not measured has its outcome in words, and
    what ran out of memory a hatched bar across the panel.
    """
    looks, ranked = looks_of(run), rankings(run)
    every = [each for rows in ranked for each in rows]
    beside = any(each.row.forward_peak_bytes is not None for each in every)
    hollow = any(each.row.peak_bytes is not None and not each.place for each in every)
    said = holding(("dashed line: a plain forward pass", beside))
    title = "peak memory of a call beyond model and images"
    if all(each.row.peak_bytes is None for each in every):
        return unmeasured(run, ranked, title)
    around = Around(title, captions(run.cases)[0], run.command, looks, hollow, said)
    figure, panels = table(run, ranked, around, _held)
    for axes, placed in panels:
        rows = [each.row for _, each in placed]
        if all(row.peak_bytes is None for row in rows):
            bare_below(axes)
            for at, each in placed:
                in_words(axes, at, why_unmeasured(each))
            continue
        forwards = [row.forward_peak_bytes for row in rows if row.forward_peak_bytes is not None]
        most = max([row.peak_bytes or 0 for row in rows] + forwards + [1])
        axes.set_xlim(0, 1.05 * most)
        ticks = _round_sizes(most)
        axes.set_xticks(ticks, [_round_size(tick) for tick in ticks])
        if forwards:
            axes.axvline(float(np.median(forwards)), color=INK, linewidth=0.8, linestyle=(0, (3, 2)), zorder=3)
        for at, each in placed:
            _bar(axes, at, each, looks[each.row.backend], 1.05 * most)
    return figure


def _bar(axes: Axes, at: int, ranked: Ranked, look: Look, room: float) -> None:
    row = ranked.row
    if row.outcome is Outcome.OUT_OF_MEMORY:
        axes.barh(at, room, 0.62, facecolor=EMPTY, edgecolor=FAINT, hatch="////", linewidth=0)
        return value_at(axes, at, str(row.outcome), FAINT)
    if row.peak_bytes is None:
        return in_words(axes, at, why_unmeasured(ranked))
    colour, _ = look
    face = colour if ranked.place else "white"
    axes.barh(at, row.peak_bytes, 0.62, facecolor=face, edgecolor=colour, linewidth=0.9)
    return value_at(axes, at, words.size(row.peak_bytes), INK if ranked.place else FAINT)


def _held(ranked: Ranked) -> float | None:
    return ranked.row.peak_bytes


def _round_sizes(most: float, ticks: int = 4) -> list[float]:
    """Round numbers of bytes from 0 to a most: 1, 2 or 5 times a power of ten of their unit."""
    unit = 1024.0 ** min(3, int(math.log(most, 1024)))
    rough = most / unit / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    return [number * step * unit for number in range(int(most / unit / step) + 1)]


def _round_size(count: float) -> str:
    return rounded(words.size(count)) if count else "0"
