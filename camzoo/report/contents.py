"""What a report says and carries: a Study and the findings of a check, as plain values for template and scripts."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camzoo import render
from camzoo.agreement import MEASURES, Agreement
from camzoo.conformance.verdicts import Finding
from camzoo.degenerate import as_numpy
from camzoo.report import clusters, packing
from camzoo.specs import Computation
from camzoo.study import Cell, Row, Study
from camzoo.types import Stage, Status

COLOURS = (render.COLOURS, "viridis", "cividis", "magma", "plasma", "gray", "turbo", "jet")
"""The first is that of camzoo's other pictures; the last two are not perceptually uniform, for look-alikes."""

DIVERGING = "RdBu_r"


def carried(study: Study) -> dict[str, Any]:
    """What the scripts draw from: maps, photos, colours and the agreement of every pair."""
    pictures = [packing.drawn(picture) for picture in study.pictures]
    return {
        "names": [str(computation) for computation in study.computations],
        "rows": [{"image": row.image, "name": row.name, "title": _label(study, row)} for row in study.rows],
        "pictures": [
            {"width": picture.width, "height": picture.height, "url": packing.data_url(picture)} for picture in pictures
        ],
        "maps": [[_map(cell) for cell in study.of(row)] for row in range(len(study.rows))],
        "colours": {name: packing.colour_table(name) for name in (*COLOURS, DIVERGING)},
        "diverging": DIVERGING,
        "agreement": _agreement(study),
        "about": _about(study),
    }


def _about(study: Study) -> dict[str, Any]:
    """What was asked, and with what, for those who download the data."""
    rows = [{name: _plain(getattr(row, name)) for name in Row.__dataclass_fields__} for row in study.rows]
    about = {"seed": study.seed, "environment": dict(study.environment), "provenance": dict(study.provenance)}
    readings = {"readings": study.readings()} if study.metrics else {}
    return {"rows": rows, **_plain(about | readings)}


def _plain(value: Any) -> Any:
    """In words of JSON, which has neither infinity nor other people's types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def _label(study: Study, row: Row) -> str:
    """A row by its photo and target, and by its model and layer where the rows have several."""
    parts = [f"{row.name}, {row.title}"]
    parts += [row.model] if study.model != row.model else []
    parts += [row.layer] if study.layer != row.layer else []
    return ", ".join(parts)


def _map(cell: Cell) -> dict[str, Any] | None:
    if cell.heatmap is None:
        return None
    return packing.packed(as_numpy(cell.heatmap.values[0])) | {"stage": cell.heatmap.stage}


def _agreement(study: Study) -> dict[str, Any]:
    """The likeness of every pair, row by row and in the mean; null where it is undefined."""
    names = [str(computation) for computation in study.computations]
    tables = [study.agreement(number) for number in range(len(study.rows))]
    whole = {measure: np.stack([_spread(table, names, measure) for table in tables]) for measure in MEASURES}
    mapped = {at for at, name in enumerate(names) if any(name in table.names for table in tables)}
    mean = {measure: _mean(matrices) for measure, matrices in whole.items()}
    return {
        "measures": MEASURES,
        "order": [column for column in clusters.order(mean[MEASURES[0]]) if column in mapped],
        "mean": {measure: _numbers(matrix) for measure, matrix in mean.items()},
        "rows": [
            {measure: _numbers(matrices[row]) for measure, matrices in whole.items()} for row in range(len(tables))
        ],
        "undefined": [dict(table.undefined) for table in tables],
    }


def _spread(table: Agreement, names: Sequence[str], measure: str) -> clusters.Matrix:
    """One measure of one row for every computation, also for those that gave no map."""
    at = [names.index(name) for name in table.names]
    matrix = np.full((len(names), len(names)), math.nan)
    matrix[np.ix_(at, at)] = table.values[measure]
    return matrix


def _mean(matrices: clusters.Matrix) -> clusters.Matrix:
    """The mean over rows, leaving out what is undefined; undefined where all are."""
    count = np.isfinite(matrices).sum(0)
    return np.where(count, np.nansum(matrices, 0) / np.maximum(count, 1), math.nan)


def _numbers(matrix: clusters.Matrix) -> list[list[float | None]]:
    return [[round(value, 4) if math.isfinite(value) else None for value in line] for line in matrix.tolist()]


def said(study: Study, findings: Sequence[Finding] | None) -> dict[str, Any]:
    """What the template says in words."""
    known = {finding.name: finding for finding in findings or ()}
    columns = [_column(study, computation, known) for computation in study.computations]
    return {
        "study": study,
        "checked": findings is not None,
        "columns": columns,
        "rows": [_row(study, number, columns) for number in range(len(study.rows))],
        "measured": any(column["memory"] for column in columns),
        "metrics": _metrics(study),
        "facts": _facts(study),
        "command": shlex.join(study.provenance.get("command", ())),
        "origins": _origins(study.provenance),
        "colours": COLOURS,
        "measures": MEASURES,
    }


def _metrics(study: Study) -> dict[str, Any]:
    """What the metrics say; nothing where none was asked for, and then nothing of them is imported either."""
    if not study.metrics:
        return {}
    from camzoo.report import readings

    rows = [{"label": _label(study, row), **readings.row(study, number)} for number, row in enumerate(study.rows)]
    return {"columns": readings.columns(study), "rows": rows}


def _column(study: Study, computation: Computation, known: Mapping[str, Finding]) -> dict[str, Any]:
    cells = [cell for cell in study.cells if str(cell.computation) == str(computation)]
    maps = [cell.heatmap for cell in cells if cell.heatmap]
    times = [cell.seconds for cell in cells if cell.seconds is not None]
    peaks = [cell.peak_bytes for cell in cells if cell.peak_bytes is not None]
    name = str(computation)
    return {
        "name": name,
        "method": name.removesuffix(f"@{computation.backend}"),
        "backend": computation.backend,
        "finding": known.get(f"{computation.method}@{computation.backend}"),
        "options": bool(computation.options),
        "stages": _distinct(f"{found.stage}, {found.resolution} grid" for found in maps),
        "seconds": duration(sum(times) / len(times)) if times else "",
        "memory": size(max(peaks)) if peaks else "",
        "notes": _distinct(note for found in maps for note in found.notes),
        "troubles": _troubles(study, cells),
    }


def _troubles(study: Study, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """What is wrong with the maps of one computation: where, and what; once for all rows of which it is true."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.warning or cell.status is not Status.OK:
            status = "" if cell.status is Status.OK else f"{cell.status}: "
            found.setdefault((status, cell.warning or cell.reason), []).append(study.rows[cell.row].name)
    return [
        ("every row" if len(names) == len(cells) else ", ".join(_distinct(names)), status + text)
        for (status, text), names in found.items()
    ]


def _row(study: Study, number: int, columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row = study.rows[number]
    return {
        "row": row,
        "label": _label(study, row),
        "score": _score(row.score),
        "top": [
            {"index": index, "label": label, "percent": percent(share), "share": share, "is": index == row.class_index}
            for index, label, share in row.top
        ],
        "cells": [_cell(row, cell, column) for cell, column in zip(study.of(number), columns, strict=True)],
    }


def _score(value: float | None) -> str:
    """The score that was explained; a saved one that was not finite comes back as None."""
    return f"{value:.4g}" if value is not None and math.isfinite(value) else "not finite"


def _cell(row: Row, cell: Cell, column: Mapping[str, Any]) -> dict[str, Any]:
    cost = [duration(cell.seconds) if cell.seconds is not None else "", size(cell.peak_bytes)]
    heatmap = cell.heatmap
    return {
        "ok": heatmap is not None,
        "status": cell.status,
        "trouble": cell.warning or cell.reason,
        "cost": " \u00b7 ".join(part for part in cost if part),
        "grid": " x ".join(map(str, heatmap.values.shape[1:])) if heatmap else "",
        "stage": heatmap.stage if heatmap else "",
        "summary": f"{column['name']} on {row.name}: {_summary(cell)}",
    }


def _summary(cell: Cell) -> str:
    """A map in words, for those who do not see it."""
    if cell.heatmap is None:
        return f"{cell.status}, {cell.reason}"
    if cell.warning:
        return cell.warning
    values = as_numpy(cell.heatmap.at(Stage.NORMALISED).values)[0]
    height, width = values.shape
    y, x = np.unravel_index(np.argmax(values), values.shape)
    half = (values >= 0.5).mean()
    return (
        f"highest {percent((x + 0.5) / width)} from the left and {percent((y + 0.5) / height)} from the top; "
        f"{percent(half)} of the area is at least half as high"
    )


def _facts(study: Study) -> list[tuple[str, str]]:
    """What all rows share, in a few words each."""
    counts = {"photo": len(study.pictures), "row": len(study.rows), "method": len(study.computations)}
    if counts["row"] == counts["photo"]:
        del counts["row"]
    shown = [f"{count} {word}{'s' if count != 1 else ''}" for word, count in counts.items()]
    facts = [("layer", study.layer), ("grid", study.layout), ("asked", ", ".join(shown)), ("seed", str(study.seed))]
    return facts + [(name, str(study.environment[name])) for name in ("device", "date") if name in study.environment]


def _origins(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Hashes by which photos and weights can be told, a line for each."""
    photos = [(f"photo {photo['name']}", f"sha256 {photo['sha256']}") for photo in provenance.get("photos", ())]
    weights = provenance.get("weights_sha256") or ()
    hashes = [weights] if isinstance(weights, str) else list(weights)
    return [*photos, *(("weights", f"sha256 {found}") for found in hashes)]


def _distinct(texts: Any) -> list[str]:
    return list(dict.fromkeys(texts))


def percent(share: float) -> str:
    """A share as a reader wants it: 39 %, 0.4 %, and never 0 % of what is there."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.095 else f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    """Seconds or milliseconds, three digits."""
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def size(count: int | None) -> str:
    """Bytes in the unit that suits them; empty where nobody measured."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"
