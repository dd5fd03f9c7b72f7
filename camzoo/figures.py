"""A Study as figures, without pyplot: nothing global is touched, so this also works in threads and servers."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from camzoo import render
from camzoo.agreement import MEASURES
from camzoo.study import Cell, Row, Study

PANEL = 1.75  # inches
INK, FAINT, EMPTY = "#1a1a1a", "#6b6b6b", "#f0f0f0"


def comparison(
    study: Study, columns: int = 8, colours: str = render.COLOURS, opacity: float = render.OPACITY
) -> Figure:
    """Rows of images and targets, columns of methods; every map through one renderer and on one scale, 0 to 1.

    Args:
        study: what to show.
        columns: methods beside each other; where there are more, a row goes on in the next line.
        colours: name of a matplotlib colour map.
        opacity: of the maps over the picture.
    """
    computations = len(study.computations)
    columns = min(columns, computations)
    lines = math.ceil(computations / columns)
    heights = len(study.rows) * lines
    width, height = (columns + 1) * PANEL + 0.55, heights * (PANEL + 0.44) + 0.75
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    figure.suptitle(
        f"{study.model}   layer {study.layer} ({study.layout})",
        x=0.12 / width,
        y=1 - 0.14 / height,
        ha="left",
        va="top",
        fontsize=9,
        color=INK,
    )
    grid = figure.add_gridspec(
        heights,
        columns + 1,
        left=0.1 / width,
        right=1 - 0.55 / width,
        top=1 - 0.72 / height,
        bottom=0.3 / height,
        wspace=0.06,
        hspace=0.44 / PANEL,
    )
    for number, row in enumerate(study.rows):
        picture = study.pictures[row.image]
        _photo(figure.add_subplot(grid[number * lines, 0]), picture, row)
        for at, cell in enumerate(study.of(number)):
            axes = figure.add_subplot(grid[number * lines + at // columns, 1 + at % columns])
            _map(axes, picture, cell, colours, opacity)
    _scale(figure, colours, width, height)
    return figure


def _photo(axes: Axes, picture: render.Picture, row: Row) -> None:
    axes.imshow(picture)
    axes.set_title(_short(row.title, 30), fontsize=7.5, color=INK, fontweight="bold", pad=3)
    axes.set_xlabel(_short(row.name, 32), fontsize=6.5, color=FAINT, labelpad=2)
    _bare(axes)


def _map(axes: Axes, picture: render.Picture, cell: Cell, colours: str, opacity: float) -> None:
    computation = cell.computation
    name = str(computation).removesuffix(f"@{computation.backend}")
    axes.set_title(_short(name, 27), fontsize=7.5, color=INK, pad=3)
    _bare(axes)
    if cell.heatmap is None:
        text = f"{cell.status}\n\n" + textwrap.fill(cell.reason, 30, max_lines=7, placeholder=" ...")
        axes.imshow(np.full_like(picture, 240))
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=5.5, color=INK)
        axes.set_xlabel(computation.backend, fontsize=6.5, color=FAINT, labelpad=2)
        return
    height, width = picture.shape[:2]
    values = render.at_size(cell.heatmap, 0, (height, width))
    axes.imshow(render.overlay(picture, values, colours, opacity))
    axes.set_xlabel(f"{computation.backend}   {_seconds(cell.seconds)}", fontsize=6.5, color=FAINT, labelpad=2)
    if cell.warning:
        said = textwrap.fill(cell.warning, 34, max_lines=3, placeholder=" ...")
        box = {"facecolor": "white", "alpha": 0.9, "edgecolor": "none", "pad": 2}
        axes.text(0.5, 0.04, said, transform=axes.transAxes, ha="center", va="bottom", fontsize=5.5, bbox=box)


def _scale(figure: Figure, colours: str, width: float, height: float) -> None:
    """The one scale of all maps, drawn as it looks over mid-grey."""
    tall = min(2.2, height - 1.1)
    axes = figure.add_axes((1 - 0.46 / width, (height - 0.72 - tall) / height, 0.11 / width, tall / height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), colours), cax=axes, ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)
    axes.tick_params(labelsize=6, length=2, colors=FAINT)


def agreement(study: Study) -> Figure:
    """For each measure a matrix of every pair of maps, the mean over the rows in which both are defined."""
    tables = [study.agreement(number) for number in range(len(study.rows))]
    names = tables[0].names if tables else ()
    side = max(2.6, 0.34 * len(names) + 1.2)
    figure = Figure(figsize=(3 * side + 0.8, side + 1.6), dpi=140, facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(MEASURES), squeeze=False)[0]
    for axes, measure in zip(panels, MEASURES, strict=True):
        _matrix(axes, _mean([table.values[measure] for table in tables]), names, measure)
    figure.supxlabel("maps rectified and min-max scaled; an empty field is undefined", fontsize=7, color=FAINT)
    return figure


def _matrix(axes: Axes, values: render.Picture, names: Sequence[str], measure: str) -> None:
    low = 0 if "overlap" in measure else -1
    image = axes.imshow(values, cmap="viridis" if low == 0 else "RdBu_r", vmin=low, vmax=1)
    axes.set_title(measure, fontsize=9, color=INK)
    small = max(4.0, 8 - len(names) / 12)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=small)
    axes.set_yticks(range(len(names)), names if measure == MEASURES[0] else [], fontsize=small)
    axes.set_facecolor(EMPTY)
    axes.tick_params(length=0)
    for (i, j), value in np.ndenumerate(values):
        if len(names) <= 16 and math.isfinite(value):
            dark = abs(value) > 0.6 if low else value < 0.55
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=5.5, color="white" if dark else INK)
    axes.figure.colorbar(image, ax=axes, shrink=0.7).ax.tick_params(labelsize=6)


def _mean(matrices: Sequence[render.Picture]) -> render.Picture:
    """The mean over rows, leaving out what is undefined; undefined where all are."""
    stacked = np.stack(matrices)
    defined = np.isfinite(stacked).sum(0)
    return np.where(defined, np.nansum(stacked, 0) / np.maximum(defined, 1), math.nan)


def png(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _short(text: str, most: int) -> str:
    # A dollar sign would start a formula.
    return (text if len(text) <= most else text[: most - 3] + "...").replace("$", r"\$")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
