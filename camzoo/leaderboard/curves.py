"""The curves of an evaluation as a figure: box accuracy over thresholds, similarity over randomised blocks."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camzoo.evaluation import files
from camzoo.evaluation.curves import Curve, Curves, curves
from camzoo.evaluation.reading import Results
from camzoo.lettering import FAINT, INK, fit, width

FILE = "curves.png"
# All lengths are in inches, all sizes of letters in points.
EDGE, HEAD, TITLE, WIDE, HIGH, SIDE, FOOT, NAMES, LINE = 0.12, 0.34, 0.22, 2.5, 1.8, 0.42, 0.42, 1.7, 0.16
LETTER, SMALL, HEADLINE = 6.5, 6.0, 8.0
MOST_ACROSS, DPI = 2, 200
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D")
Look = tuple[str, Any, str]
"""A colour, a dash and a marker: never a colour alone."""


def write(results: Results, folder: Path) -> list[Path]:
    """Writes the figure into an evaluation's folder, where one of its metrics has curves.

    Args:
        results: of the evaluation.
        folder: where it goes.

    Raises:
        RequestError: it cannot be written.
    """
    found = [each for each in curves(results) if _says_something(each)]
    if not found:
        return []
    buffer = io.BytesIO()
    figure(results, found).savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    files.write(folder / FILE, buffer.getvalue())
    return [folder / FILE]


def _says_something(found: Curves) -> bool:
    return any(point.images for each in found.methods for point in each.points)


def figure(results: Results, found: list[Curves]) -> Figure:
    """A panel for each curve: methods in colours, controls grey, the best threshold a full mark, chance dotted.

    Args:
        results: for the title.
        found: the curves.
    """
    across = min(MOST_ACROSS, len(found))
    down = math.ceil(len(found) / across)
    cell, high = SIDE + WIDE, TITLE + HIGH + FOOT
    looks = _looks(found[0])
    room = min(NAMES, max(width(name, LETTER) for name in looks))
    wide = EDGE + across * cell + EDGE + 0.45 + room + EDGE
    tall = HEAD + max(down * high, LINE * (len(looks) + 3))
    drawn = Figure(figsize=(wide, tall))
    title = f"{len(results.methods)} methods on {len(results.images):,} images of {results.manifest['title']}"
    drawn.text(EDGE / wide, 1 - 0.22 / tall, fit(title, HEADLINE, wide - 2 * EDGE), fontsize=HEADLINE, color=INK)
    for at, each in enumerate(found):
        row, column = divmod(at, across)
        left, top = EDGE + column * cell + SIDE, tall - HEAD - row * high - TITLE
        axes = drawn.add_axes((left / wide, (top - HIGH) / tall, (WIDE - 0.1) / wide, HIGH / tall))
        _panel(axes, each, looks)
    handles = [
        Line2D([], [], color=colour, linestyle=dash, marker=marker, markersize=3, linewidth=1, markerfacecolor="white")
        for colour, dash, marker in looks.values()
    ]
    names = [fit(name, LETTER, room) for name in looks]
    drawn.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=((EDGE + across * cell + EDGE) / wide, 1 - (HEAD + TITLE - 0.06) / tall),
        fontsize=LETTER,
        frameon=False,
        borderaxespad=0,
        handlelength=3,
    )
    return drawn


def _looks(found: Curves) -> dict[str, Look]:
    """Controls are grey, each with a dash of its own."""
    looks: dict[str, Look] = {}
    counts = {True: 0, False: 0}
    for each in found.methods:
        at = counts[each.control]
        counts[each.control] += 1
        if each.control:
            looks[each.method] = (FAINT, DASHES[at % len(DASHES)], MARKERS[at % len(MARKERS)])
        else:
            dash = DASHES[(at % 2 + 2 * (at // len(COLOURS))) % len(DASHES)]
            looks[each.method] = (COLOURS[at % len(COLOURS)], dash, MARKERS[at % len(MARKERS)])
    return looks


def _panel(axes: Axes, found: Curves, looks: dict[str, Look]) -> None:
    for each in found.methods:
        _line(axes, each, looks[each.method], found.at is not None)
    if found.chance is not None:
        axes.axhline(found.chance, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        axes.text(
            1, found.chance, "chance", transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=5.5
        )
    places = range(len(found.parts))
    if found.at is None:
        axes.axhline(0, color=INK, linewidth=0.6, zorder=0)
        room = 1.5 * WIDE / len(found.parts)
        names = [fit(part, SMALL, room) for part in found.parts]
        axes.set_xticks(places, names, fontsize=SMALL, rotation=20, ha="right", rotation_mode="anchor")
        axes.set_ylim(-0.6, 1.05)
        said = "correlation with the trained map"
    else:
        axes.set_xticks(places[::4], found.parts[::4], fontsize=SMALL)
        axes.set_xlabel("threshold, as a share of the map's maximum", fontsize=SMALL, color=INK, labelpad=2)
        axes.set_ylim(-0.02, 1.02)
        said = "images whose box fits"
    axes.set_ylabel(said, fontsize=SMALL, color=INK, labelpad=2)
    axes.tick_params(axis="both", labelsize=SMALL, length=2, color=FAINT, pad=2)
    axes.set_title(fit(found.title, LETTER, WIDE), fontsize=LETTER, loc="left", color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)


def _line(axes: Axes, curve: Curve, look: Look, thresholds: bool) -> None:
    colour, dash, marker = look
    means = [each.value for each in curve.points]
    # A mark at every block, since it may be a single one; of thresholds at the best alone.
    style = "none" if thresholds else marker
    axes.plot(
        means, color=colour, linestyle=dash, linewidth=1.2, marker=style, markersize=3, markerfacecolor="white",
        label=curve.method, zorder=2 if dash == "-" else 2.5,  # dashes above, so that lines that coincide are seen
    )  # fmt: skip
    if curve.best is not None:
        axes.plot(curve.best, means[curve.best], marker, color=colour, markersize=3.6)
    elif not thresholds:
        low, high = [each.low for each in curve.points], [each.high for each in curve.points]
        axes.fill_between(range(len(means)), low, high, color=colour, alpha=0.12, linewidth=0)
