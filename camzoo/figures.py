"""A Study as figures, without pyplot: nothing global is touched, so this also works in threads and servers."""

from __future__ import annotations

import bisect
import io
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from camzoo import lettering, render
from camzoo.agreement import MEASURES, Agreement
from camzoo.errors import RequestError, unknown
from camzoo.golden import Change
from camzoo.lettering import EMPTY, FAINT, INK, Style, fit, printable
from camzoo.study import Cell, Row, Study

# All lengths are in inches.
PANEL, GAP, CAPTIONS, APART = 1.5, 0.07, 0.42, 0.16
LEFT, RIGHT, HEAD, FOOT = 0.08, 0.55, 0.52, 0.24
FIELD, SMALL_FIELD, MOST_NUMBERS = 0.34, 0.16, 20
LARGEST = 30_000
"""The most pixels along a side of a PNG; beyond, the resolution is lowered."""

TITLE, SIDE = 8, 6.5  # points
LINE = 0.13

Names = Callable[[Cell], tuple[str, str]]
"""What stands above and below a map."""

NAMES: dict[str, Names] = {
    "method": lambda cell: (_method(cell), ""),
    "library": lambda cell: (cell.computation.backend, ""),
    "both": lambda cell: (_method(cell), cell.computation.backend),
    "timed": lambda cell: (
        _method(cell),
        cell.computation.backend + (f" · {_seconds(cell.seconds)}" if cell.heatmap else ""),
    ),
}


def comparison(
    study: Study,
    columns: int = 8,
    colours: str = render.COLOURS,
    opacity: float = render.OPACITY,
    names: str = "timed",
) -> Figure:
    """Rows of images and targets, columns of methods; every map through one renderer and on one scale, 0 to 1.

    Where rows are of several models or layers, each has its own at its side.

    Args:
        study: what to show.
        columns: the most methods beside each other; where there are more, a row goes on in the next line.
        colours: name of a matplotlib colour map.
        opacity: of the maps over the picture.
        names: of the maps: "method", "library", "both", or "timed" for both with the seconds.

    Raises:
        RequestError: there is no such colour map or kind of names, or two maps would have the same name.
    """
    named = _named(study, names)
    if colours not in matplotlib.colormaps:
        raise unknown("colour map", colours, matplotlib.colormaps)
    computations = len(study.computations)
    lines = math.ceil(computations / columns)
    columns = math.ceil(computations / lines)
    sides = [_side(study, row, PANEL) for row in study.rows]
    left = LEFT + LINE * max(map(len, sides))
    width = left + (columns + 1) * (PANEL + GAP) + RIGHT
    title = _title(study, width - LEFT - RIGHT)
    head = HEAD + 0.16 * (len(title) - 1)
    apart = APART if lines > 1 else 0
    block = lines * (PANEL + CAPTIONS) + apart
    height = head + len(study.rows) * block - apart - CAPTIONS + FOOT
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    style: Style = {"fontsize": 9, "color": INK, "ha": "left", "va": "top", "parse_math": False}
    figure.text(LEFT / width, 1 - 0.09 / height, "\n".join(title), **style)

    def panel(row: int, line: int, column: int) -> Axes:
        bottom = height - head - row * block - line * (PANEL + CAPTIONS) - PANEL
        return figure.add_axes(
            ((left + column * (PANEL + GAP)) / width, bottom / height, PANEL / width, PANEL / height)
        )

    for number, row in enumerate(study.rows):
        picture = study.pictures[row.image]
        _photo(panel(number, 0, 0), picture, row)
        for at, cell in enumerate(study.of(number)):
            _map(panel(number, at // columns, 1 + at % columns), picture, cell, colours, opacity, named)
        _beside(figure, sides[number], height - head - number * block - PANEL / 2)
    box = ((width - RIGHT + 0.04) / width, (height - head - PANEL) / height, 0.1 / width, PANEL / height)
    _scale(figure.add_axes(box), colours, opacity)
    return figure


def _named(study: Study, names: str) -> Names:
    """How maps are called, if that tells them apart."""
    if names not in NAMES:
        raise unknown("kind of names", names, NAMES)
    (name, count), *_ = Counter(map(NAMES[names], study.of(0))).most_common(1)
    if count > 1:
        raise RequestError(f"{count} maps would be called {name[0]!r}: give them the names of both, method and library")
    return NAMES[names]


def _title(study: Study, width: float) -> list[str]:
    """Model and layer, on one line or on two."""
    lines = [study.subject]
    if lettering.width(printable(study.subject), 9) > width:
        lines = [study.model, study.subject.removeprefix(f"{study.model}, ")]
    return [_squeeze(printable(line), 9, width) for line in lines]


def _side(study: Study, row: Row, width: float) -> list[str]:
    """In lines, what of model, layer and grid is not the same in every row."""
    told = ((study.model, row.model), (study.layer, row.layer), (study.layout, row.layout))
    return [line for common, own in told if common != own for line in _wrap(own, SIDE, width)]


def _beside(figure: Figure, lines: Sequence[str], middle: float) -> None:
    """Lines along the side of a row, read from below; `middle` is its height above the figure's foot."""
    width, height = figure.get_size_inches()
    style: Style = {"fontsize": SIDE, "color": INK, "ha": "center", "va": "center", "parse_math": False}
    for number, line in enumerate(lines):
        figure.text((LEFT + (number + 0.5) * LINE) / width, middle / height, line, rotation=90, **style)


def _photo(axes: Axes, picture: render.Picture, row: Row) -> None:
    axes.imshow(picture)
    title = row.title
    if row.probability is not None:  # a long label is cut, the number after it never
        number = f" {row.probability:.1%}"
        size = _size(title, TITLE, PANEL, "bold")
        title = fit(row.label, size, PANEL - lettering.width(number, size, "bold"), "bold") + number
    _caption(axes, title, row.name, "bold")


def _map(axes: Axes, picture: render.Picture, cell: Cell, colours: str, opacity: float, named: Names) -> None:
    style: Style = {"transform": axes.transAxes, "ha": "center", "color": INK, "parse_math": False}
    if cell.heatmap is None:
        axes.imshow(np.full_like(picture, int(EMPTY[1:3], 16)))
        lines = max(1, round(9 * min(1, picture.shape[0] / picture.shape[1])) - 1)
        reason = textwrap.fill(printable(cell.reason), 32, max_lines=lines, placeholder=" ...")
        axes.text(0.5, 0.88, cell.status, va="top", fontsize=7, fontweight="bold", **style)
        axes.text(0.5, 0.74, reason, va="top", fontsize=5.5, **style)
        return _caption(axes, *named(cell))
    values = render.at_size(cell.heatmap, 0, (picture.shape[0], picture.shape[1]))
    axes.imshow(render.overlay(picture, values, colours, opacity))
    if cell.warning:
        said = textwrap.fill(printable(cell.warning), 30, max_lines=5, placeholder=" ...")
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axes.text(0.5, 0.5, said, va="center", fontsize=5.5, bbox=box, **style)
    return _caption(axes, *named(cell))


def _method(cell: Cell) -> str:
    """The method with its options."""
    return str(cell.computation).removesuffix(f"@{cell.computation.backend}")


def _caption(axes: Axes, above: str, below: str, weight: str = "normal") -> None:
    size = _size(above, TITLE, PANEL, weight)
    title = fit(above, size, PANEL, weight)
    axes.set_title(title, fontsize=size, fontweight=weight, color=INK, pad=3, parse_math=False)
    axes.set_xlabel(fit(below, 6.5, PANEL), fontsize=6.5, color=FAINT, labelpad=2, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _scale(axes: Axes, colours: str, opacity: float) -> None:
    """The one scale of all maps, as it looks over mid-grey."""
    shades = opacity * matplotlib.colormaps[colours](np.linspace(0, 1, 256))[:, :3] + (1 - opacity) * 0.5
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, 1), ListedColormap(shades)), cax=axes, ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)
    axes.tick_params(labelsize=6, length=2, colors=FAINT)


def changes(golden: Study, changed: Sequence[Change], most: int = 12) -> Figure:
    """Maps that are not what they were: the picture, the golden map, the map now, and the difference of the two.

    Args:
        golden: the Study that was kept.
        changed: what changed since.
        most: how many to show.
    """
    shown = changed[:most]
    width = LEFT + 4 * (PANEL + GAP) + RIGHT
    height = HEAD + len(shown) * (PANEL + CAPTIONS) - CAPTIONS + FOOT
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    title = f"{len(changed)} of {len(golden.cells)} maps have changed"
    figure.text(LEFT / width, 1 - 0.09 / height, title, fontsize=9, color=INK, ha="left", va="top")
    for number, change in enumerate(shown):
        bottom = height - HEAD - number * (PANEL + CAPTIONS) - PANEL
        lefts = [LEFT + column * (PANEL + GAP) for column in range(4)]
        panels = [figure.add_axes((x / width, bottom / height, PANEL / width, PANEL / height)) for x in lefts]
        row = golden.rows[change.row]
        picture = golden.pictures[row.image]
        _photo(panels[0], picture, row)
        for panel, cell, when in ((panels[1], change.golden, "golden"), (panels[2], change.now, "now")):
            _map(panel, picture, cell, render.COLOURS, render.OPACITY, NAMES["both"])
            panel.set_xlabel(f"{when} · {cell.computation.backend}", fontsize=6.5, color=FAINT, labelpad=2)
        _difference(panels[3], picture, change)
    return figure


def _difference(axes: Axes, picture: render.Picture, change: Change) -> None:
    """Now minus golden, of the maps as they are drawn: red where there is more, blue where there is less."""
    if change.golden.heatmap is None or change.now.heatmap is None:
        axes.set_axis_off()
        return
    size = (picture.shape[0], picture.shape[1])
    away = render.at_size(change.now.heatmap, 0, size) - render.at_size(change.golden.heatmap, 0, size)
    axes.imshow(away, cmap="RdBu_r", vmin=-1, vmax=1)
    _caption(axes, "difference", change.reason)


def agreement(study: Study) -> Figure:
    """For each measure a matrix of every pair of maps, the mean over the rows in which both are defined."""
    tables = [study.agreement(number) for number in range(len(study.rows))]
    names = [name for name in map(str, study.computations) if any(name in table.names for table in tables)]
    labels = [fit(name, 7, 2.6) for name in names]
    notes = _notes(tables)
    field = FIELD if len(names) <= MOST_NUMBERS else SMALL_FIELD
    side, margin = max(1.2, field * len(names)), max([lettering.width(label, 7) for label in labels], default=0) + 0.2
    head, foot = 0.36, margin + 0.3 + 0.13 * len(notes)
    width, height = margin + len(MEASURES) * (side + 0.72), head + side + foot
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    for number, measure in enumerate(MEASURES):
        left = margin + number * (side + 0.72)
        axes = figure.add_axes((left / width, foot / height, side / width, side / height))
        bar = figure.add_axes(((left + side + 0.1) / width, foot / height, 0.1 / width, side / height))
        _matrix(axes, bar, _mean(tables, names, measure), measure)
        axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=7, parse_math=False)
        axes.set_yticks(range(len(names)), [] if number else labels, fontsize=7, parse_math=False)
    style: Style = {"fontsize": 6.5, "color": FAINT, "va": "bottom", "linespacing": 1.35, "parse_math": False}
    told = [fit(note, 6.5, width - 2 * LEFT) for note in [_what(len(tables)), *notes]]
    figure.text(LEFT / width, 0.08 / height, "\n".join(told), **style)
    return figure


def _matrix(axes: Axes, bar: Axes, values: render.Picture, measure: str) -> None:
    low = 0 if "overlap" in measure else -1
    colours = matplotlib.colormaps["viridis" if low == 0 else "RdBu_r"].with_extremes(bad=EMPTY)
    norm = Normalize(low, 1)
    scale = ScalarMappable(norm, colours)
    axes.set_title(measure.capitalize(), fontsize=9, color=INK, pad=4)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.figure.colorbar(scale, cax=bar, ticks=[low, (low + 1) / 2, 1]).outline.set_visible(False)
    bar.tick_params(labelsize=6, length=2, colors=FAINT)
    if values.size:
        axes.imshow(np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if len(values) <= MOST_NUMBERS:
            known = math.isfinite(value)
            dark = known and np.dot(scale.to_rgba(value)[:3], (0.299, 0.587, 0.114)) < 0.5
            style: Style = {"ha": "center", "va": "center", "fontsize": 5.5, "color": "white" if dark else INK}
            axes.text(j, i, f"{value:.2f}".replace("-0.00", "0.00") if known else "n/a", **style)


def _mean(tables: Sequence[Agreement], names: Sequence[str], measure: str) -> render.Picture:
    """The mean over rows, leaving out what is undefined; undefined where all are."""
    total, count = np.zeros((2, len(names), len(names)))
    for table in tables:
        at = [names.index(name) for name in table.names]
        values = table.values[measure]
        total[np.ix_(at, at)] += np.nan_to_num(values)
        count[np.ix_(at, at)] += np.isfinite(values)
    return np.where(count, total / np.maximum(count, 1), math.nan)


def _what(rows: int) -> str:
    mean = f"mean of {rows} images, targets, layers or models; " if rows > 1 else ""
    return f"{mean}maps rectified and min-max scaled, on the layer's grid where both have it, else on the pixels"


def _notes(tables: Sequence[Agreement], most: int = 6) -> list[str]:
    """Which maps are undefined, and why."""
    notes = list(dict.fromkeys(f"n/a: {name} is {why}" for table in tables for name, why in table.undefined.items()))
    return notes if len(notes) <= most else [*notes[: most - 1], f"and {len(notes) - most + 1} more"]


def png(figure: Figure, dpi: float | None = None) -> bytes:
    """A figure as PNG, at its own resolution or another."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(dpi or figure.dpi, LARGEST / max(figure.get_size_inches())))
    return buffer.getvalue()


VECTOR = {"svg": "Date", "pdf": "CreationDate"}
"""Formats that hold lines and letters, with the name of the date in their metadata."""


def vector(figure: Figure, kind: str, dpi: float) -> bytes:
    """A figure as SVG or PDF, its pictures at a resolution; the same figure gives the same bytes.

    Fonts are embedded in a PDF as TrueType, which publishers ask for.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "camzoo"}):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata={VECTOR[kind]: None})
    return buffer.getvalue()


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not timed"
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def _size(text: str, size: float, width: float, weight: str = "normal") -> float:
    """The font size at which a text fits, three quarters of what was wanted at the least."""
    needed = lettering.width(printable(text), size, weight)
    return max(0.75 * size, min(size, size * width / max(needed, 1e-6)))


def _wrap(text: str, size: float, width: float) -> list[str]:
    """A text on one line, or on two as even as its words allow; the middle of a line too wide even so is left out."""
    text = printable(text)
    words = text.split()
    if len(words) < 2 or lettering.width(text, size) <= width:
        lines = [text] if text else []
    else:
        breaks = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
        lines = list(min(breaks, key=lambda both: max(lettering.width(line, size) for line in both)))
    return [_squeeze(line, size, width) for line in lines]


def _squeeze(text: str, size: float, width: float) -> str:
    """A text on one line, its middle left out where it is too wide: names differ at their ends."""

    def short(kept: int) -> str:
        return f"{text[: kept // 2]}...{text[len(text) - (kept + 1) // 2 :]}"

    if lettering.width(text, size) <= 1.001 * width:
        return text
    kept = bisect.bisect_right(range(len(text)), width, key=lambda count: lettering.width(short(count), size)) - 1
    return short(max(kept, 0))
