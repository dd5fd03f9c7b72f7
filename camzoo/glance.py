"""A batch at a glance: many images with their maps, what each is and what the model said, the wrong ones marked."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camzoo import render
from camzoo.errors import RequestError
from camzoo.lettering import FAINT, INK, Style, fit, printable, width
from camzoo.study import Cell, Row, Study

# All lengths are in inches.
PANEL, GAP, CAPTIONS = 0.95, 0.09, 0.36
EDGE, HEAD = 0.1, 0.4
TEXT, SMALL = 7, 5.5  # points

WRONG, CROSS = "#c1121f", "✗"  # a sign besides the colour: not everybody sees red


def figure(
    study: Study,
    truth: Sequence[int],
    labels: Sequence[str] = (),
    columns: int = 8,
    colours: str = render.COLOURS,
    opacity: float = render.OPACITY,
) -> Figure:
    """Each image with its map, its true label, the predicted one and its probability; wrong ones framed and crossed.

    The maps are of the study's targets, which need not be the predictions: those of the true classes show what the
    model has found in their favour.

    Args:
        study: one computation, for one target of each image.
        truth: the class of each row.
        labels: of the classes, such as those that `compare` was given.
        columns: panels beside each other.
        colours: name of a matplotlib colour map.
        opacity: of the maps over the pictures.

    Raises:
        RequestError: there is more than one computation, not one true class for each row, or the model has no classes.
    """
    if len(study.computations) != 1:
        raise RequestError(f"a glance shows one method, this study has {len(study.computations)}")
    if len(truth) != len(study.rows):
        raise RequestError(f"{len(truth)} true classes for {len(study.rows)} rows: give one for each")
    if not all(row.top for row in study.rows):
        raise RequestError("the outputs of this model are no classes, so none of them is right or wrong")
    lines = math.ceil(len(study.rows) / columns)
    wide = 2 * EDGE + columns * (PANEL + GAP) - GAP
    high = HEAD + lines * (CAPTIONS + PANEL + GAP) + EDGE - GAP
    drawn = Figure(figsize=(wide, high), dpi=160, facecolor="white")
    right = sum(row.top[0][0] == true for row, true in zip(study.rows, truth, strict=True))
    title = fit(f"{right} of {len(truth)} right. {study.computations[0]}, {study.subject}", 9, wide - 2 * EDGE)
    drawn.text(EDGE / wide, 1 - 0.1 / high, title, fontsize=9, color=INK, va="top", parse_math=False)
    for number, (row, cell, true) in enumerate(zip(study.rows, study.cells, truth, strict=True)):
        line, column = divmod(number, columns)
        left, bottom = EDGE + column * (PANEL + GAP), high - HEAD - line * (CAPTIONS + PANEL + GAP) - CAPTIONS - PANEL
        axes = drawn.add_axes((left / wide, bottom / high, PANEL / wide, PANEL / high))
        _map(axes, study.pictures[row.image], cell, colours, opacity)
        _said(axes, row, true, labels[true] if true < len(labels) else f"class {true}")
    return drawn


def _map(axes: Axes, picture: render.Picture, cell: Cell, colours: str, opacity: float) -> None:
    """The map over its picture; where there is none, or it shows nothing, why."""
    if cell.heatmap is None:
        axes.imshow(picture)
    else:
        values = render.at_size(cell.heatmap, 0, (picture.shape[0], picture.shape[1]))
        axes.imshow(render.overlay(picture, values, colours, opacity))
    if trouble := cell.warning or cell.reason:
        said = textwrap.fill(printable(trouble), 22, max_lines=5, placeholder=" ...")
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        style: Style = {"transform": axes.transAxes, "ha": "center", "va": "center", "parse_math": False}
        axes.text(0.5, 0.5, said, fontsize=SMALL, color=INK, bbox=box, **style)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _said(axes: Axes, row: Row, true: int, name: str) -> None:
    """Above a panel what the image is, and what the model said."""
    predicted, label, probability = row.top[0]
    wrong = predicted != true
    number = f" {probability:.0%}"  # a long label is cut, the number after it never
    said = fit(f"{CROSS} {label}" if wrong else label, TEXT, PANEL - width(number, TEXT, "bold"), "bold") + number
    style: Style = {"transform": axes.transAxes, "va": "bottom", "fontsize": TEXT, "parse_math": False}
    axes.text(0, 1 + 0.17 / PANEL, fit(name, TEXT, PANEL), color=FAINT, **style)
    axes.text(0, 1 + 0.04 / PANEL, said, color=WRONG if wrong else INK, fontweight="bold", **style)
    if wrong:
        axes.spines[:].set(visible=True, color=WRONG, linewidth=2)
