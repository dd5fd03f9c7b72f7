"""What stands around the panels of a figure: title, captions, legend, sentences and the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camzoo.charts._style import EDGE, FOOT, HEAD, HEADLINE, LETTER, SMALL, Look
from camzoo.lettering import FAINT, INK, Style, fit, printable, width
from camzoo.timing.samples import Case

MARK, ENTRY, BELOW, MOST_LINES = 0.27, 0.14, 0.115, 4
"""What an entry of the legend takes beside its name, a line of entries, one of small words, and how many of those."""
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
        return HEAD + BELOW * (len(wrapped(self.common, LETTER, wide - 2 * EDGE)) - 1)

    def foot(self, wide: float) -> float:
        """How high what stands below the panels is."""
        names = self._names()
        entries = math.ceil(len(names) / columns(names, wide)) if names else 0
        return FOOT - ENTRY + ENTRY * entries + BELOW * len(self._words(wide))

    def figure(self, wide: float, panels: float) -> Figure:
        """A figure with so much room for panels, and all this around it."""
        high = self.head(wide) + panels + self.foot(wide)
        figure = Figure(figsize=(wide, high), dpi=160, facecolor="white")
        title = fit(self.title, HEADLINE, wide - 2 * EDGE)
        style: Style = {"ha": "left", "parse_math": False}
        figure.text(EDGE / wide, 1 - 0.1 / high, title, fontsize=HEADLINE, color=INK, va="top", **style)
        style |= {"color": FAINT}
        for number, text in enumerate(wrapped(self.common, LETTER, wide - 2 * EDGE)):
            figure.text(EDGE / wide, 1 - (0.28 + BELOW * number) / high, text, fontsize=LETTER, va="top", **style)
        below = self._words(wide)
        for number, text in enumerate(below, 1):
            at = 0.07 + BELOW * (len(below) - number)
            figure.text(EDGE / wide, at / high, text, fontsize=SMALL, va="bottom", **style)
        self._legend(figure, 0.09 + BELOW * len(below))
        return figure

    def _words(self, wide: float) -> list[str]:
        return [line for text in (*self.said, self.command) for line in wrapped(text, SMALL, wide - 2 * EDGE)]

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
        style |= {"columnspacing": 1.2, "handlelength": 1.6, "labelcolor": INK, "ncols": columns(names, wide)}
        place = (EDGE / wide, bottom / high)
        legend = figure.legend(handles, names, loc="lower left", bbox_to_anchor=place, **style)
        for text in legend.get_texts():
            text.set_parse_math(False)


def wrapped(text: str, size: float, room: float) -> list[str]:
    """A text on as many lines as it takes, broken at spaces and commas; beyond the most lines its end is left out."""
    lines = [""]
    for part in re.findall(r"[^ ,]*[ ,]+|[^ ,]+", printable(text)):
        if lines[-1] and width((lines[-1] + part).rstrip(), size) > room:
            lines.append(part)
        else:
            lines[-1] += part
    kept = [*lines[: MOST_LINES - 1], "".join(lines[MOST_LINES - 1 :])]
    return [fit(line, size, room) for line in kept if line]


def holding(*said: tuple[str, bool]) -> tuple[str, ...]:
    """Of what can be said, that which holds."""
    return tuple(text for text, holds in said if holds)


def columns(names: Sequence[str], wide: float) -> int:
    """In how many columns the entries of a legend stand: as many as the figure is wide enough for."""
    taken = [MARK + width(name, SMALL) for name in names]
    fitting = (
        count
        for count in range(len(names), 1, -1)
        if sum(max(column) for column in np.array_split(taken, count)) <= wide - 2 * EDGE
    )
    return next(fitting, 1)


def captions(cases: Sequence[Case], without: str = "") -> tuple[str, list[str]]:
    """What all cases have in common, and for each what sets it apart."""
    shown = [name for name in WORDS if name != without]
    same = [name for name in shown if len({getattr(case, name) for case in cases}) == 1]
    common = ", ".join(text for name in same if (text := WORDS[name](getattr(cases[0], name))))
    apart = [_told(case, [name for name in shown if name not in same]) for case in cases]
    return common, apart


def _told(case: Case, names: Sequence[str]) -> str:
    return ", ".join(text for name in names if (text := WORDS[name](getattr(case, name))))
