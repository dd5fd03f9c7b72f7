"""What a cost buys."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from camzoo.charts._around import Around, captions, holding
from camzoo.charts._axes import empty, log_axis, root, span
from camzoo.charts._panels import plots, rankings
from camzoo.charts._style import HIGH, LETTER, SMALL, WIDE, Look, looks_of
from camzoo.charts._unmeasured import unmeasured
from camzoo.lettering import EMPTY, FAINT, INK, Style, fit
from camzoo.timing import words
from camzoo.timing.samples import Run
from camzoo.timing.statistics import Ranked


def pareto(run: Run) -> Figure:
    """What a cost buys: distance from the reference against cost in forward passes, both logarithmic.

    The line joins what is ranked and than which nothing else that is ranked is both cheaper and nearer: a map that is
    not the paper's buys nothing. Rows without a distance or without samples are listed below the key.
    """
    looks, ranked = looks_of(run), rankings(run)
    common, apart = captions(run.cases)
    shown = [_shown(rows) for rows in ranked]
    if not any(each.summary for rows in ranked for each in rows):
        return unmeasured(run, ranked, "error against cost")
    said = holding(("grey line: nothing that is ranked is both cheaper and nearer", any(map(_bought, shown))))
    hollow = not all(each.place for panel in shown for each in panel)
    around = Around("error against cost", common, run.command, looks, hollow, said)
    figure, panels = plots(apart, around, 3.3, max(HIGH, 0.13 * (max(map(len, ranked)) + 2)))
    for axes, rows, within in zip(panels, ranked, shown, strict=True):
        if within:
            _trade(axes, within, looks)
        else:
            empty(axes)
        _key(axes, within, [each for each in rows if each not in within], looks)
    return figure


def _shown(rows: Sequence[Ranked]) -> list[Ranked]:
    """What has both a cost and a distance, the cheapest first."""
    return sorted((each for each in rows if each.summary and math.isfinite(_distance(each))), key=_trade_off)


def _bought(shown: Sequence[Ranked]) -> list[tuple[float, float]]:
    """The corners of the line; one point alone has none."""
    front = _front([_trade_off(each) for each in shown if each.place])
    return front if len(front) > 1 else []


def _trade(axes: Axes, shown: Sequence[Ranked], looks: dict[str, Look]) -> None:
    positive = [each.row.distance for each in shown if each.row.distance]
    floor = min(positive, default=1e-7) / 10
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*span([1.0, *(_trade_off(each)[0] for each in shown)]))
    axes.set_ylim(floor / 2, max([*positive, floor * 100]) * 3)
    log_axis(axes.xaxis)
    axes.yaxis.set_major_locator(LogLocator(10, numticks=9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.error(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if any(each.row.distance == 0 for each in shown):
        axes.axhline(floor, color=EMPTY, linewidth=1, zorder=0)
        style: Style = {"fontsize": SMALL, "color": FAINT, "va": "top", "transform": axes.get_yaxis_transform()}
        axes.text(0.01, floor * 0.93, "exact", **style)
    axes.set_xlabel("cost in forward passes", fontsize=LETTER, color=INK)
    axes.set_ylabel("distance from the reference", fontsize=LETTER, color=INK)
    points = [(_trade_off(each)[0], max(_trade_off(each)[1], floor)) for each in shown]
    front = [(x, max(y, floor)) for x, y in _bought(shown)]
    if front:
        axes.step(*zip(*front, strict=True), where="post", color=FAINT, linewidth=0.7, zorder=1)
    for each, (x, y) in zip(shown, points, strict=True):
        colour, marker = looks[each.row.backend]
        face = colour if each.place else "white"
        axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=4.2, markeredgewidth=0.9)
    _letters(axes, points, front)


def _distance(ranked: Ranked) -> float:
    return math.nan if ranked.row.distance is None else ranked.row.distance


def _lacking(ranked: Ranked) -> str:
    """Why a map has no distance to be drawn at."""
    reference, _, why = ranked.row.reference.partition(": ")
    return why if reference == "none" else "no finite distance"


def _trade_off(ranked: Ranked) -> tuple[float, float]:
    assert ranked.summary is not None
    return ranked.summary.forwards.middle, _distance(ranked)


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points than which no other is both cheaper and nearer, from the cheapest on."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front


def _letter(number: int) -> str:
    """The name of a point: a to z, then aa; never a number, which would look like a place."""
    again, letter = divmod(number, 26)
    return (_letter(again - 1) if again else "") + chr(ord("a") + letter)


def _letters(axes: Axes, points: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]]) -> None:
    """A small letter at each point, where there is most room for it, and not on the line."""
    taken = [tuple(axes.transData.transform(point)) for point in points]
    points_of = root(axes).dpi / 72
    line = _along([tuple(axes.transData.transform(point)) for point in front], points_of)
    for number, (x, y) in enumerate(list(taken)):
        angles = [(radius, turn * math.pi / 8) for radius in (6.5, 10, 14, 18) for turn in range(16)]
        places = [(x + r * points_of * math.cos(a), y + r * points_of * math.sin(a)) for r, a in angles]
        inside = [place for place in places if axes.bbox.contains(*place)] or places
        others = np.array([*(other for other in taken if other != (x, y)), *line, (math.inf, math.inf)])
        near = [min(1.0, _nearest(place, others) / (6.5 * points_of)) for place in inside]
        best = inside[near.index(max(near))]  # the first, and so the nearest, of those with room enough
        taken.append(best)
        at = axes.transData.inverted().transform(best)
        axes.text(at[0], at[1], _letter(number), fontsize=5, color=INK, ha="center", va="center")
        if math.dist(best, (x, y)) > 8 * points_of:
            axes.plot([points[number][0], at[0]], [points[number][1], at[1]], color=FAINT, linewidth=0.3)


def _along(corners: Sequence[tuple[float, ...]], step: float) -> list[tuple[float, float]]:
    """Places a step apart on the line that goes from one corner to the right, then down to the next."""
    found: list[tuple[float, float]] = []
    for (x, y), (right, below) in itertools.pairwise(corners):
        found += [(float(at), y) for at in np.arange(x, right, step)]
        found += [(right, float(at)) for at in np.arange(below, y, step)]
    return found


def _nearest(place: tuple[float, float], others: npt.NDArray[np.float64]) -> float:
    return float(np.hypot(*(others - place).T).min())


def _key(axes: Axes, shown: Sequence[Ranked], rest: Sequence[Ranked], looks: dict[str, Look]) -> None:
    """The names of the letters at the right, and below them what is not in the picture, and why."""
    step = 0.13 / (axes.get_position().height * root(axes).get_figheight())
    style: Style = {"transform": axes.transAxes, "fontsize": SMALL, "va": "top", "parse_math": False}
    for number, each in enumerate(shown):
        cost, error = _trade_off(each)
        at = 1 - number * step
        colour = looks[each.row.backend][0] if each.place else FAINT
        axes.text(1.07, at, _letter(number), color=colour, ha="right", **style)
        axes.text(1.085, at, fit(each.row.contender, SMALL, 1.75), color=colour, **style)
        axes.text(1.085 + 2.25 / WIDE, at, words.number(cost), color=INK, ha="right", **style)
        axes.text(1.085 + 2.65 / WIDE, at, words.error(error), color=INK, ha="right", **style)
    for number, each in enumerate(rest, len(shown) + 1):
        why = each.why or _lacking(each)
        text = fit(f"{each.row.contender}: {why}", SMALL, 2.75)
        axes.text(1.085, 1 - number * step, text, color=FAINT, **style)
