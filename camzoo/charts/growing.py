"""How a cost grows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from camzoo.charts._around import Around, captions, holding
from camzoo.charts._axes import empty, log_axis, root, rounded, span
from camzoo.charts._panels import plots, rankings
from camzoo.charts._style import HIGH, LETTER, SMALL, WIDE, Look, looks_of
from camzoo.charts._unmeasured import unmeasured
from camzoo.errors import RequestError
from camzoo.lettering import FAINT, INK, Style, fit, width
from camzoo.timing import scaling as growth
from camzoo.timing import statistics, words
from camzoo.timing.samples import Run


def scaling(run: Run) -> Figure:
    """How the seconds of a call grow with what varies in a run, with the exponent of a power law at each line's end.

    Raises:
        RequestError: nothing varies: neither batch nor size, and the run names no scenario.
    """
    lines = growth.lines(run)
    if not lines:
        raise RequestError("nothing to scale along: give several batches or sizes, as in --batch 1,2,4,8")
    if not any(line.points for line in lines):
        return unmeasured(run, rankings(run), "how cost grows")
    looks = looks_of(run) | {"": (INK, "")}
    # Each line is named at its end: the marks of libraries are explained, those of single implementations need not be.
    drawn = {line.backend for line in lines if line.backend and ":" not in line.backend}
    explained = {name: look for name, look in looks.items() if name in drawn}
    cases = list(dict.fromkeys(line.case for line in lines))
    common, apart = captions(cases, growth.along(run) or "")
    most = max(sum(line.case == case for line in lines) for case in cases)
    right = max(width(fit(_ending(line), LETTER, 4.0), LETTER) for line in lines) + 0.3
    high = max(HIGH, 0.15 * most)
    hollow = any(line.notes and line.points for line in lines)
    sure = any(line.fit and _sure(line) for line in lines)
    exponent = f"number at a name: exponent b of time ~ size^b{' [95 %]' if sure else ''}"
    said = holding((exponent, any(line.fit for line in lines)))
    around = Around("how cost grows", common, run.command, explained, hollow, said)
    figure, panels = plots(apart, around, right, high)
    for axes, case in zip(panels, cases, strict=True):
        shown = [line for line in lines if line.case == case]
        _lost(axes, [line for line in shown if line.missing and not line.points])
        shown = [line for line in shown if line.points]
        if not shown:
            empty(axes)
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
        axes.set_ylim(*span(ends))
        log_axis(axes.yaxis, lambda value: rounded(words.seconds(value)))
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
    step = 0.145 / (axes.get_position().height * root(axes).get_figheight())
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
