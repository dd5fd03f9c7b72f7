"""Study <-> folder: results.json, maps.npz, the pictures, the figures and the agreement."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camzoo.agreement import Agreement
from camzoo.errors import RequestError
from camzoo.specs import Computation
from camzoo.study import Cell, Row, Study
from camzoo.types import Heatmap, Resolution, Stage, Status

SCHEMA_VERSION = 1
RESULTS = "results.json"


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Refuses a folder that cannot be written, or that holds a run already, before any work is done.

    Raises:
        RequestError: with what to do instead.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file: name a folder with --out")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise RequestError(f"{folder} is not empty: name another folder with --out, or say --overwrite")
    if folder.exists() and any(folder.iterdir()) and not (folder / RESULTS).exists():
        raise RequestError(f"{folder} holds something else than a run of camzoo: name another folder with --out")
    parent = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=parent):
            pass
    except OSError as error:
        raise RequestError(f"{folder} cannot be written: {error.strerror}; name another folder with --out") from None


def save(study: Study, folder: Path, overwrite: bool = False) -> list[Path]:
    """Writes a Study into a folder: all of it or nothing.

    Everything is written beside the folder first and moved into place at the end.

    Args:
        study: what to write.
        folder: where to; made where it does not exist.
        overwrite: whether an earlier run in it may be replaced.

    Returns:
        The files, the one to look at first.

    Raises:
        RequestError: the folder cannot be written, or holds a run already.
    """
    from camzoo import figures

    check_free(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        fresh = Path(temporary) / "run"
        (fresh / "pictures").mkdir(parents=True)
        (fresh / RESULTS).write_text(_json(_results(study)))
        np.savez_compressed(fresh / "maps.npz", **_maps(study))
        for number, picture in enumerate(study.pictures):
            Image.fromarray(picture).save(fresh / "pictures" / f"{number}.png")
        (fresh / "comparison.png").write_bytes(figures.png(study.figure()))
        tables = [_table(row, study.agreement(row)) for row in range(len(study.rows))]
        (fresh / "agreement.json").write_text(_json({"schema_version": SCHEMA_VERSION, "rows": tables}))
        (fresh / "agreement.png").write_bytes(figures.png(figures.agreement(study)))
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    return [folder / name for name in ("comparison.png", "agreement.png", "agreement.json", RESULTS, "maps.npz")]


def load(folder: Path) -> Study:
    """The Study in a folder; nothing in the folder is executed.

    Raises:
        RequestError: there is none, or it was written by a later camzoo.
    """
    try:
        results = json.loads((folder / RESULTS).read_text())
        maps = np.load(folder / "maps.npz", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder} holds no run of camzoo: {error}") from None
    if results.get("schema_version") != SCHEMA_VERSION:
        raise RequestError(f"{folder} has schema {results.get('schema_version')}, this camzoo reads {SCHEMA_VERSION}")
    with maps:
        cells = tuple(_read_cell(entry, maps) for entry in results["cells"])
    rows = tuple(Row(**row) for row in results["rows"])
    count = max((row.image for row in rows), default=-1) + 1
    pictures = tuple(np.asarray(Image.open(folder / "pictures" / f"{number}.png")) for number in range(count))
    problem = results["problem"]
    return Study(
        rows=rows,
        cells=cells,
        pictures=pictures,
        model=problem["model"],
        layer=problem["layer"],
        layout=problem["layout"],
        seed=problem["seed"],
        environment=results["environment"],
    )


def _results(study: Study) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": dict(study.environment),
        "problem": {"model": study.model, "layer": study.layer, "layout": study.layout, "seed": study.seed},
        "rows": [{name: getattr(row, name) for name in Row.__dataclass_fields__} for row in study.rows],
        "cells": [_cell(study, cell) for cell in study.cells],
    }


def _cell(study: Study, cell: Cell) -> dict[str, Any]:
    heatmap, row = cell.heatmap, study.rows[cell.row]
    return {
        "row": cell.row,
        "image": row.image,
        "target": row.target,
        "method": cell.computation.method,
        "backend": cell.computation.backend,
        "options": dict(cell.computation.options),
        "status": cell.status,
        "reason": cell.reason,
        "warning": cell.warning,
        "seconds": cell.seconds,
        "stage": heatmap and heatmap.stage,
        "resolution": heatmap and heatmap.resolution,
        "image_size": heatmap and list(heatmap.image_size),
        "notes": list(heatmap.notes) if heatmap else [],
        "array": heatmap and _array_name(cell),
    }


def _read_cell(entry: dict[str, Any], maps: Any) -> Cell:
    heatmap = None
    if entry["array"]:
        heatmap = Heatmap(
            values=maps[entry["array"]][None],
            stage=Stage(entry["stage"]),
            resolution=Resolution(entry["resolution"]),
            image_size=tuple(entry["image_size"]),
            method=entry["method"],
            backend=entry["backend"],
            notes=tuple(entry["notes"]),
        )
    computation = Computation(entry["method"], entry["backend"], entry["options"])
    told = {name: entry[name] for name in ("reason", "seconds", "warning")}
    return Cell(entry["row"], computation, Status(entry["status"]), heatmap=heatmap, **told)


def _maps(study: Study) -> dict[str, Any]:
    return {_array_name(cell): _host(cell.heatmap.values[0]) for cell in study.cells if cell.heatmap}


def _host(values: Any) -> Any:
    """On the host in its own dtype; bfloat16, which NumPy has not, as float32."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.itemsize < 4 else values).numpy()
    return values


def _array_name(cell: Cell) -> str:
    return f"row{cell.row} {cell.computation}"


def _table(row: int, table: Agreement) -> dict[str, Any]:
    return {
        "row": row,
        "stage": Stage.NORMALISED,
        "names": table.names,
        "grids": table.grids,
        "undefined": table.undefined,
        "measures": {measure: matrix.tolist() for measure, matrix in table.values.items()},
    }


def _json(value: Any) -> str:
    return json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The same with null for every number that is not finite, which JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value
