"""A benchmark as figures, without pyplot: what each contender costs, holds, how its cost grows, and what it buys."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from camzoo.errors import RequestError
from camzoo.lettering import EMPTY, FAINT, INK, Style, fit, printable, width
from camzoo.timing import scaling as growth
from camzoo.timing import statistics, words
from camzoo.timing.samples import Case, Outcome, Run
from camzoo.timing.statistics import Ranked

# All lengths are in inches, all sizes of letters in points.
EDGE, LINE, HEAD, TITLE, AXIS, FOOT = 0.12, 0.17, 0.45, 0.22, 0.42, 0.27
PANEL, VALUES, BETWEEN, MOST_ACROSS = 2.1, 1.0, 0.24, 5
WIDE, HIGH, UNMEASURED = 4.4, 4.2, 4.4
LETTER, SMALL, HEADLINE = 6.5, 6.0, 9.0
MARK, ENTRY, BELOW, MOST_LINES = 0.27, 0.14, 0.115, 4
"""What an entry of the legend takes beside its name, a line of entries, one of small words, and how many of those."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5f5f5f")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
OWN = "camzoo"
NOISY = "*"
ROUNDS = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1,))
"""Round numbers within a decade, from fine to coarse."""
MOST_TICKS = 8
Panel = tuple[Axes, list[tuple[int, Ranked]]]
"""A case: its axes, and its rows with their places from above."""
Look = tuple[str, str]
"""A colour and a marker: never a colour alone."""


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around the panels.

    Attributes:
        title: what the figure shows.
        common: what all cases have in common.
        command: the command line that made it.
        looks: those that the legend names.
        hollow: whether some mark is hollow, as that of what is not ranked.
        said: what else is to be known, a line each.
    """

    title: str
    common: str
    command: str
    looks: dict[str, Look] = field(default_factory=dict)
    hollow: bool = False
    said: tuple[str, ...] = ()

    def head(self, wide: float) -> float:
        """How high what stands above the panels is."""
        return HEAD + BELOW * (len(_wrapped(self.common, LETTER, wide - 2 * EDGE)) - 1)

    def foot(self, wide: float) -> float:
        """How high what stands below the panels is."""
        names = self._names()
        entries = math.ceil(len(names) / _columns(names, wide)) if names else 0
        return FOOT - ENTRY + ENTRY * entries + BELOW * len(self._words(wide))

    def figure(self, wide: float, panels: float) -> Figure:
        """A figure with so much room for panels, and all this around it."""
        high = self.head(wide) + panels + self.foot(wide)
        figure = Figure(figsize=(wide, high), dpi=160, facecolor="white")
        title = fit(self.title, HEADLINE, wide - 2 * EDGE)
        style: Style = {"ha": "left", "parse_math": False}
        figure.text(EDGE / wide, 1 - 0.1 / high, title, fontsize=HEADLINE, color=INK, va="top", **style)
        style |= {"color": FAINT}
        for number, text in enumerate(_wrapped(self.common, LETTER, wide - 2 * EDGE)):
            figure.text(EDGE / wide, 1 - (0.28 + BELOW * number) / high, text, fontsize=LETTER, va="top", **style)
        below = self._words(wide)
        for number, text in enumerate(below, 1):
            at = 0.07 + BELOW * (len(below) - number)
            figure.text(EDGE / wide, at / high, text, fontsize=SMALL, va="bottom", **style)
        self._legend(figure, 0.09 + BELOW * len(below))
        return figure

    def _words(self, wide: float) -> list[str]:
        return [line for text in (*self.said, self.command) for line in _wrapped(text, SMALL, wide - 2 * EDGE)]

    def _names(self) -> list[str]:
        return [*(fit(name, SMALL, 2) for name in self.looks), *["not ranked"][: self.hollow]]

    def _legend(self, figure: Figure, bottom: float) -> None:
        """Who has which colour and mark."""
        wide, high = figure.get_size_inches()
        names = self._names()
        style: Style = {"linestyle": "", "markersize": 4.2}
        handles = [Line2D([], [], color=colour, marker=marker, **style) for colour, marker in self.looks.values()]
        handles += [Line2D([], [], color=FAINT, marker="o", markerfacecolor="white", **style)][: self.hollow]
        if not handles:
            return
        style = {"frameon": False, "fontsize": SMALL, "borderpad": 0, "borderaxespad": 0, "handletextpad": 0.1}
        style |= {"columnspacing": 1.2, "handlelength": 1.6, "labelcolor": INK, "ncols": _columns(names, wide)}
        place = (EDGE / wide, bottom / high)
        legend = figure.legend(handles, names, loc="lower left", bbox_to_anchor=place, **style)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _wrapped(text: str, size: float, room: float) -> list[str]:
    """A text on as many lines as it takes, broken at spaces and commas; beyond the most lines its end is left out."""
    lines = [""]
    for part in re.findall(r"[^ ,]*[ ,]+|[^ ,]+", printable(text)):
        if lines[-1] and width((lines[-1] + part).rstrip(), size) > room:
            lines.append(part)
        else:
            lines[-1] += part
    kept = [*lines[: MOST_LINES - 1], "".join(lines[MOST_LINES - 1 :])]
    return [fit(line, size, room) for line in kept if line]


def _where(*said: tuple[str, bool]) -> tuple[str, ...]:
    """Of what can be said, that which holds."""
    return tuple(text for text, holds in said if holds)


def dots(run: Run) -> Figure:
    """What each contender costs in forward passes, on a logarithmic scale, with the 95 % interval of its median.

    Rows are contenders, the cheapest first, and columns cases. What is not ranked has a hollow mark or, without
    samples, its outcome in words.
    """
    looks, ranked = _looks(run), _ranked(run)
    measured = [each for rows in ranked for each in rows if each.summary]
    said = _where(
        ("line: 95 % interval of the median", not all(statistics.few(each.row) for each in measured)),
        (f"{NOISY} interquartile range above 10 % of the median", any(_noisy(each) for each in measured)),
    )
    hollow = not all(each.place for each in measured)
    title = "cost in forward passes of the same model"
    if not measured:
        return _unmeasured(run, ranked, title)
    around = Around(title, _captions(run.cases)[0], run.command, looks, hollow, said)
    figure, panels = _table(run, ranked, around, _cost)
    ends = [end for each in measured for end in _ends(each)]
    for axes, placed in panels:
        for at, each in placed:
            _dot(axes, at, each, looks[each.row.backend])
        if not any(each.summary for _, each in placed):
            _bare_below(axes)
            continue
        axes.set_xscale("log")
        axes.set_xlim(*_span([1.0, *ends]))
        _log(axes.xaxis)
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
        return _said(axes, at, ranked.why)
    cost, (colour, marker) = ranked.summary.forwards, look
    face, ink = (colour, INK) if ranked.place else ("white", FAINT)
    if not statistics.few(ranked.row):
        axes.plot(_ends(ranked), [at, at], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
    axes.plot(cost.middle, at, marker, color=colour, markerfacecolor=face, markersize=4.2, markeredgewidth=0.9)
    return _value(axes, at, words.cost(ranked.summary) + NOISY * _noisy(ranked), ink)


def memory(run: Run) -> Figure:
    """The most memory that each contender holds at a time beyond model and images, as bars; a forward pass beside them.

    Rows are contenders, the smallest first, and columns cases. What was not measured has its outcome in words, and
    what ran out of memory a hatched bar across the panel.
    """
    looks, ranked = _looks(run), _ranked(run)
    every = [each for rows in ranked for each in rows]
    beside = any(each.row.forward_peak_bytes is not None for each in every)
    hollow = any(each.row.peak_bytes is not None and not each.place for each in every)
    said = _where(("dashed line: a plain forward pass", beside))
    title = "peak memory of a call beyond model and images"
    if all(each.row.peak_bytes is None for each in every):
        return _unmeasured(run, ranked, title)
    around = Around(title, _captions(run.cases)[0], run.command, looks, hollow, said)
    figure, panels = _table(run, ranked, around, _held)
    for axes, placed in panels:
        rows = [each.row for _, each in placed]
        if all(row.peak_bytes is None for row in rows):
            _bare_below(axes)
            for at, each in placed:
                _said(axes, at, _why(each))
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
        return _value(axes, at, str(row.outcome), FAINT)
    if row.peak_bytes is None:
        return _said(axes, at, _why(ranked))
    colour, _ = look
    face = colour if ranked.place else "white"
    axes.barh(at, row.peak_bytes, 0.62, facecolor=face, edgecolor=colour, linewidth=0.9)
    return _value(axes, at, words.size(row.peak_bytes), INK if ranked.place else FAINT)


def _why(ranked: Ranked) -> str:
    """Why a row has no figure of its memory, or of what else it has samples for."""
    return ranked.why if ranked.row.outcome is not Outcome.OK else "not measured"


def _unmeasured(run: Run, ranked: Sequence[Sequence[Ranked]], title: str) -> Figure:
    """What is drawn where there is nothing to draw: why, for each contender, and no axes."""
    common, apart = _captions(run.cases)
    room = UNMEASURED - 2 * EDGE
    lines = [("nothing was measured", INK, "bold")]
    for name, rows in zip(apart, ranked, strict=True):
        lines += [(line, INK, "bold") for line in _wrapped(name, LETTER, 0.9 * room)]
        said = [f"{each.row.contender}: {_why(each)}" for each in rows]
        lines += [(line, FAINT, "normal") for text in said for line in _wrapped(text, LETTER, room)]
    figure = Around(title, common, run.command).figure(UNMEASURED, LINE * (len(lines) + 1))
    high = figure.get_figheight()
    top = high - Around(title, common, run.command).head(UNMEASURED)
    for number, (text, colour, weight) in enumerate(lines):
        style: Style = {"color": colour, "fontweight": weight, "va": "top", "parse_math": False}
        figure.text(EDGE / UNMEASURED, (top - LINE * number) / high, text, fontsize=LETTER, **style)
    return figure


def scaling(run: Run) -> Figure:
    """How the seconds of a call grow with what varies in a run, with the exponent of a power law at each line's end.

    Raises:
        RequestError: nothing varies: neither batch nor size, and the run names no scenario.
    """
    lines = growth.lines(run)
    if not lines:
        raise RequestError("nothing to scale along: give several batches or sizes, as in --batch 1,2,4,8")
    if not any(line.points for line in lines):
        return _unmeasured(run, _ranked(run), "how cost grows")
    looks = _looks(run) | {"": (INK, "")}
    # Each line is named at its end: the marks of libraries are explained, those of single implementations need not be.
    drawn = {line.backend for line in lines if line.backend and ":" not in line.backend}
    explained = {name: look for name, look in looks.items() if name in drawn}
    cases = list(dict.fromkeys(line.case for line in lines))
    common, apart = _captions(cases, growth.along(run) or "")
    most = max(sum(line.case == case for line in lines) for case in cases)
    right = max(width(fit(_ending(line), LETTER, 4.0), LETTER) for line in lines) + 0.3
    high = max(HIGH, 0.15 * most)
    hollow = any(line.notes and line.points for line in lines)
    sure = any(line.fit and _sure(line) for line in lines)
    exponent = f"number at a name: exponent b of time ~ size^b{' [95 %]' if sure else ''}"
    said = _where((exponent, any(line.fit for line in lines)))
    around = Around("how cost grows", common, run.command, explained, hollow, said)
    figure, panels = _plots(apart, around, right, high)
    for axes, case in zip(panels, cases, strict=True):
        shown = [line for line in lines if line.case == case]
        _lost(axes, [line for line in shown if line.missing and not line.points])
        shown = [line for line in shown if line.points]
        if not shown:
            _empty(axes)
            continue
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(growth.label(run), fontsize=LETTER, color=INK)
        axes.set_ylabel("time of a call", fontsize=LETTER, color=INK)
        for line in shown:
            _curve(axes, line, looks[line.backend])
        sizes = sorted({point.size for line in shown for point in line.points})
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        ends = [end for line in shown for point in line.points for end in (point.seconds.low, point.seconds.high)]
        axes.set_ylim(*_span(ends))
        _log(axes.yaxis, lambda value: _round(words.seconds(value)))
        _endings(axes, shown, looks)
    return figure


def _lost(axes: Axes, lines: Sequence[growth.Line]) -> None:
    """Why lines have no point at all."""
    for number, line in enumerate(lines):
        style: Style = {"fontsize": SMALL, "color": FAINT, "parse_math": False, "transform": axes.transAxes}
        axes.text(0.03, 0.97 - 0.035 * number, fit(_ending(line), SMALL, WIDE * 0.9), va="top", **style)


def _curve(axes: Axes, line: growth.Line, look: Look) -> None:
    colour, marker = look
    places = [(point.size, point.seconds.middle) for point in line.points]
    style: Style = {"color": colour, "linewidth": 1.0, "linestyle": "-" if marker else (0, (3, 2))}
    face = "white" if line.notes else colour
    axes.plot(*zip(*places, strict=True), marker=marker or None, markersize=3.6, markerfacecolor=face, **style)
    if _sure(line):
        low, high = zip(*((point.seconds.low, point.seconds.high) for point in line.points), strict=True)
        axes.vlines([size for size, _ in places], low, high, color=colour, linewidth=1.0)


def _sure(line: growth.Line) -> bool:
    """Whether each point has enough samples for an interval to rely on."""
    return all(statistics.enough(sum(map(len, point.groups)), len(point.groups)) for point in line.points)


def _ending(line: growth.Line) -> str:
    """What stands at the end of a line."""
    exponent = ""
    if line.fit:
        found = line.fit.exponent
        exponent = f" {words.interval(found) if _sure(line) else words.number(found.middle)}"
    missing = "; ".join(f"{why.partition(':')[0]} at {size:g}" for size, why in line.missing)
    return f"{line.name}{exponent}{f' ({missing})' if missing else ''}"


def _endings(axes: Axes, lines: Sequence[growth.Line], looks: dict[str, Look]) -> None:
    """Names at the right, in the order of the lines' ends and never over each other, with a thin lead to each."""
    axes.autoscale_view()  # so that places are known before anything is drawn
    ends = [axes.transAxes.inverted().transform(axes.transData.transform(_end(line))) for line in lines]
    step = 0.145 / (axes.get_position().height * _figure(axes).get_figheight())
    for line, (x, y), at in zip(lines, ends, _spread([float(y) for _, y in ends], step), strict=True):
        colour = looks[line.backend][0]
        style: Style = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([x, 1.0, 1.03], [y, at, at], color=colour, linewidth=0.4, alpha=0.6, **style)
        text = fit(_ending(line), LETTER, 4.0)
        axes.text(1.04, at, text, fontsize=LETTER, color=colour, va="center", parse_math=False, **style)


def _end(line: growth.Line) -> tuple[float, float]:
    return line.points[-1].size, line.points[-1].seconds.middle


def _spread(wanted: Sequence[float], step: float) -> list[float]:
    """Places near the wanted ones, in their order and at least a step apart, within 0 to 1 where that is possible."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = [0.0] * len(wanted)
    below = -math.inf
    for index in order:
        below = places[index] = max(wanted[index], below + step)
    above = max(1.0, step * (len(wanted) - 1))
    for index in reversed(order):
        places[index] = min(places[index], above)
        above = places[index] - step
    return places


def pareto(run: Run) -> Figure:
    """What a cost buys: distance from the reference against cost in forward passes, both logarithmic.

    The line joins what is ranked and than which nothing else that is ranked is both cheaper and nearer: a map that is
    not the paper's buys nothing. Rows without a distance or without samples are listed below the key.
    """
    looks, ranked = _looks(run), _ranked(run)
    common, apart = _captions(run.cases)
    shown = [_shown(rows) for rows in ranked]
    if not any(each.summary for rows in ranked for each in rows):
        return _unmeasured(run, ranked, "error against cost")
    said = _where(("grey line: nothing that is ranked is both cheaper and nearer", any(map(_bought, shown))))
    hollow = not all(each.place for panel in shown for each in panel)
    around = Around("error against cost", common, run.command, looks, hollow, said)
    figure, panels = _plots(apart, around, 3.3, max(HIGH, 0.13 * (max(map(len, ranked)) + 2)))
    for axes, rows, within in zip(panels, ranked, shown, strict=True):
        if within:
            _trade(axes, within, looks)
        else:
            _empty(axes)
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
    axes.set_xlim(*_span([1.0, *(_trade_off(each)[0] for each in shown)]))
    axes.set_ylim(floor / 2, max([*positive, floor * 100]) * 3)
    _log(axes.xaxis)
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
    points_of = _figure(axes).dpi / 72
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
    step = 0.13 / (axes.get_position().height * _figure(axes).get_figheight())
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
        why = each.why or "no finite distance"
        text = fit(f"{each.row.contender}: {why}", SMALL, 2.75)
        axes.text(1.085, 1 - number * step, text, color=FAINT, **style)


def _looks(run: Run) -> dict[str, Look]:
    """A colour and a marker for each backend, camzoo first, the others by name; both together are its own."""
    names = sorted({row.backend for row in run.rows}, key=lambda name: (name != OWN, name))
    return {name: _look(at) for at, name in enumerate(names)}


def _look(number: int) -> Look:
    """Each time the colours begin again, the markers are one further on."""
    again, colour = divmod(number, len(COLOURS))
    return COLOURS[colour], MARKERS[(colour + again) % len(MARKERS)]


def _ranked(run: Run) -> list[list[Ranked]]:
    return [statistics.ranking(run.of(case)) for case in run.cases]


def _cost(ranked: Ranked) -> float | None:
    return ranked.summary.forwards.middle if ranked.summary else None


def _held(ranked: Ranked) -> float | None:
    return ranked.row.peak_bytes


def _table(
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
    _, apart = _captions(run.cases)
    panels: list[Panel] = []
    for number, rows in enumerate(ranked):
        line, column = divmod(number, across)
        left = margin + column * (PANEL + VALUES + BETWEEN)
        bottom = high - head - line * (TITLE + tall + AXIS) - TITLE - tall
        axes = figure.add_axes((left / wide, bottom / high, PANEL / wide, tall / high))
        _bare(axes, fit(apart[number], LETTER, PANEL + VALUES, "bold"))
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


def _plots(apart: Sequence[str], around: Around, right: float, high: float) -> tuple[Figure, list[Axes]]:
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
        _bare(axes, fit(name, LETTER, WIDE, "bold"))
        axes.spines[["left", "bottom"]].set_visible(True)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        panels.append(axes)
    return figure, panels


def _columns(names: Sequence[str], wide: float) -> int:
    """In how many columns the entries of a legend stand: as many as the figure is wide enough for."""
    taken = [MARK + width(name, SMALL) for name in names]
    fitting = (
        count
        for count in range(len(names), 1, -1)
        if sum(max(column) for column in np.array_split(taken, count)) <= wide - 2 * EDGE
    )
    return next(fitting, 1)


def _figure(axes: Axes) -> Figure:
    found = axes.get_figure(root=True)
    assert found is not None
    return found


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=LETTER, fontweight="bold", color=INK, loc="left", pad=4, parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=SMALL, length=2, colors=FAINT, labelcolor=INK)


def _bare_below(axes: Axes) -> None:
    """No scale, where nothing was measured, but that in words."""
    axes.set_xticks([])
    axes.set_xlabel("nothing was measured", fontsize=SMALL, color=FAINT, loc="left")


def _empty(axes: Axes) -> None:
    """No axes where there is no point."""
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    style: Style = {"transform": axes.transAxes, "fontsize": LETTER, "color": FAINT, "ha": "center"}
    axes.text(0.5, 0.5, "nothing to show: no contender has all that a point needs", **style)


def _said(axes: Axes, at: int, why: str) -> None:
    """Words in place of a mark."""
    style: Style = {"transform": axes.get_yaxis_transform(), "fontsize": SMALL, "color": FAINT, "va": "center"}
    style |= {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}, "style": "italic", "parse_math": False}
    axes.text(0.01, at, fit(why, SMALL, PANEL + VALUES - 0.1), **style)


def _value(axes: Axes, at: int, text: str, colour: str) -> None:
    """A number at the right of a panel."""
    axes.text(1.03, at, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, color=colour, va="center")


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis: with a margin, and never so near that ticks are missing."""
    low, high = min(values), max(values)
    high = max(high, 3 * low)
    margin = (high / low) ** 0.05
    return low / margin, high * margin


def _log(axis: Any, said: Callable[[float], str] = lambda value: f"{value:,.10g}") -> None:
    """Labels on a logarithmic axis whose ends are set: round numbers, at least three of them."""
    ticks = _ticks(*axis.get_view_interval())
    axis.set_ticks(ticks, [said(tick) for tick in ticks])
    axis.set_minor_formatter(NullFormatter())


def _ticks(low: float, high: float) -> list[float]:
    """The finest of the rounds that has room; with ends as `_span` sets them none has fewer than three numbers."""
    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)))]
    found: list[float] = []
    for numbers in ROUNDS:
        found = [number * power for power in [*powers, 10 * powers[-1]] for number in numbers]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= MOST_TICKS:
            break
    return found


def _round_sizes(most: float, ticks: int = 4) -> list[float]:
    """Round numbers of bytes from 0 to a most: 1, 2 or 5 times a power of ten of their unit."""
    unit = 1024.0 ** min(3, int(math.log(most, 1024)))
    rough = most / unit / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    return [number * step * unit for number in range(int(most / unit / step) + 1)]


def _round_size(count: float) -> str:
    return _round(words.size(count)) if count else "0"


def _round(text: str) -> str:
    """A round number with its unit, without the zeros at its end: 5 ms for 5.00 ms."""
    number, _, unit = text.partition(" ")
    return f"{float(number.replace(',', '')):g} {unit}"


WORDS: dict[str, Callable[[Any], str]] = {
    "model": str,
    "weights": lambda value: f"{value} weights" if value == "random" else f"weights {value}" if value else "",
    "layer": lambda value: f"layer {value}" if value else "",
    "batch": lambda value: f"{value} image{'s'[: value != 1]} at a time",
    "size": lambda value: f"{value} x {value} pixels",
    "dtype": str,
    "channels_last": lambda value: "channels-last" if value else "",
    "device": str,
    "scope": lambda value: {"map": "map on the device", "array": "full-size array on the host"}[value],
    "seed": lambda value: f"seed {value}" if value else "",
}


def _captions(cases: Sequence[Case], without: str = "") -> tuple[str, list[str]]:
    """What all cases have in common, and for each what sets it apart."""
    shown = [name for name in WORDS if name != without]
    same = [name for name in shown if len({getattr(case, name) for case in cases}) == 1]
    common = ", ".join(text for name in same if (text := WORDS[name](getattr(cases[0], name))))
    apart = [_told(case, [name for name in shown if name not in same]) for case in cases]
    return common, apart


def _told(case: Case, names: Sequence[str]) -> str:
    return ", ".join(text for name in names if (text := WORDS[name](getattr(case, name))))
