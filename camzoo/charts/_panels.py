"""Empty panels, one for each case: of rows with their names at the left, or of plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camzoo.charts._around import Around, captions
from camzoo.charts._axes import bare
from camzoo.charts._style import AXIS, BETWEEN, EDGE, LETTER, LINE, MOST_ACROSS, PANEL, TITLE, VALUES, WIDE
from camzoo.lettering import EMPTY, FAINT, fit, width
from camzoo.timing import statistics
from camzoo.timing.samples import Run
from camzoo.timing.statistics import Ranked

Panel = tuple[Axes, list[tuple[int, Ranked]]]
"""A case: its axes, and its rows with their places from above."""


def rankings(run: Run) -> list[list[Ranked]]:
    return [statistics.ranking(run.of(case)) for case in run.cases]


def table(
    run: Run, ranked: Sequence[Sequence[Ranked]], around: Around, figure_of: Callable[[Ranked], float | None]
) -> tuple[Figure, list[Panel]]:
    """Empty panels, one for each case, with the contenders' names at the left: smallest first, unmeasured last."""
    names = _ordered(ranked, figure_of)
    across = min(MOST_ACROSS, len(ranked))
    down = math.ceil(len(ranked) / across)
    margin = EDGE + max(width(fit(name, LETTER, 2.6), LETTER) for name in names) + 0.1
    tall = LINE * len(names)
    wide = margin + across * (PANEL + VALUES + BETWEEN)
    figure = around.figure(wide, down * (TITLE + tall + AXIS))
    high, head = figure.get_figheight(), around.head(wide)
    _, apart = captions(run.cases)
    panels: list[Panel] = []
    for number, rows in enumerate(ranked):
        line, column = divmod(number, across)
        left = margin + column * (PANEL + VALUES + BETWEEN)
        bottom = high - head - line * (TITLE + tall + AXIS) - TITLE - tall
        axes = figure.add_axes((left / wide, bottom / high, PANEL / wide, tall / high))
        bare(axes, fit(apart[number], LETTER, PANEL + VALUES, "bold"))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), [fit(name, LETTER, 2.6) for name in names] if column == 0 else [])
        axes.tick_params(axis="y", length=0, labelsize=LETTER)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
        axes.hlines(range(len(names)), 0, 1, color=EMPTY, linewidth=0.7, transform=axes.get_yaxis_transform(), zorder=0)
        panels.append((axes, [(names.index(each.row.contender), each) for each in rows]))
    return figure, panels


def _ordered(ranked: Sequence[Sequence[Ranked]], figure_of: Callable[[Ranked], float | None]) -> list[str]:
    """Contenders by the geometric mean of a figure over the cases; those without a place or a figure come last."""
    rows: dict[str, list[Ranked]] = {}
    for each in (each for case in ranked for each in case):
        rows.setdefault(each.row.contender, []).append(each)

    def key(name: str) -> tuple[bool, bool, float, str]:
        logs = [math.log(max(found, 1e-9)) for each in rows[name] if (found := figure_of(each)) is not None]
        placed = any(each.place for each in rows[name])
        return not logs, not placed, float(np.mean(logs)) if logs else 0.0, name

    return sorted(rows, key=key)


def plots(apart: Sequence[str], around: Around, right: float, high: float) -> tuple[Figure, list[Axes]]:
    """Empty plots, one for each case, two across, with room at the right of each."""
    left, across = 0.64, min(2, len(apart))
    down = math.ceil(len(apart) / across)
    block = left + WIDE + right
    wide = across * block + EDGE
    figure = around.figure(wide, down * (TITLE + high + AXIS))
    tall, head = figure.get_figheight(), around.head(wide)
    panels = []
    for number, name in enumerate(apart):
        line, column = divmod(number, across)
        bottom = tall - head - line * (TITLE + high + AXIS) - TITLE - high
        axes = figure.add_axes(((column * block + left) / wide, bottom / tall, WIDE / wide, high / tall))
        bare(axes, fit(name, LETTER, WIDE, "bold"))
        axes.spines[["left", "bottom"]].set_visible(True)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        panels.append(axes)
    return figure, panels
