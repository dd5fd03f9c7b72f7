"""Study <-> folder: results.json, maps.npz, the pictures, the report, the figures and the agreement."""

from __future__ import annotations

import json
import math
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from camzoo.agreement import Agreement
from camzoo.errors import RequestError
from camzoo.evaluation.readings import Reading
from camzoo.specs import Computation
from camzoo.study import Cell, Row, Study
from camzoo.types import Heatmap, Resolution, Stage, Status

SCHEMA_VERSION = 2
RESULTS, MAPS, PICTURES = "results.json", "maps.npz", "pictures"
COMPARISON, AGREEMENT, AGREEMENT_FIGURE = "comparison.png", "agreement.json", "agreement.png"
REPORT = "report.html"
FILES = (REPORT, COMPARISON, AGREEMENT_FIGURE, AGREEMENT, RESULTS, MAPS)


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Refuses a folder that cannot be written, or that holds a run already, before any work is done.

    Raises:
        RequestError: with what to do instead.
    """
    try:
        nearest = _nearest(folder)
        if not nearest.is_dir():
            raise RequestError(f"{nearest} is a file: name a folder with --out")
        if nearest == folder and any(folder.iterdir()):
            if not overwrite:
                raise RequestError(f"{folder} is not empty: name another folder with --out, or say --overwrite")
            if not (folder / RESULTS).exists():
                raise RequestError(f"{folder} holds something else than a run: name another folder with --out")
        with tempfile.TemporaryDirectory(dir=nearest):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from None


def save(study: Study, folder: Path, overwrite: bool = False) -> list[Path]:
    """Writes a Study into a folder: all of it or nothing.

    Everything is written aside first and moved into place at the end. Of an earlier run only what camzoo writes is
    replaced; files of others in the folder stay.

    Args:
        study: what to write.
        folder: where to; made where it does not exist.
        overwrite: whether an earlier run in it may be replaced.

    Returns:
        The files, the one to look at first.

    Raises:
        RequestError: the folder cannot be written, or holds a run already.
    """
    check_free(folder, overwrite)
    try:
        with tempfile.TemporaryDirectory(dir=_nearest(folder), prefix=".camzoo-") as aside:
            fresh = Path(aside) / "run"
            fresh.mkdir()
            _write(study, fresh)
            folder.mkdir(parents=True, exist_ok=True)
            _move(fresh, folder, Path(aside) / "replaced")
    except OSError as error:
        raise _unwritable(folder, error) from error
    return [folder / name for name in FILES]


def _write(study: Study, folder: Path) -> None:
    from camzoo import figures, report

    (folder / RESULTS).write_text(_json(_results(study)), encoding="utf-8")
    np.savez_compressed(folder / MAPS, **_maps(study))
    (folder / PICTURES).mkdir()
    for number, picture in enumerate(study.pictures):
        Image.fromarray(picture).save(folder / PICTURES / f"{number}.png")
    (folder / COMPARISON).write_bytes(figures.png(study.figure()))
    # A file's name may hold what no text can: a question mark stands for it.
    (folder / REPORT).write_text(report.html(study), encoding="utf-8", errors="replace")
    tables = [_table(row, study.agreement(row)) for row in range(len(study.rows))]
    agreement = {"schema_version": SCHEMA_VERSION, "rows": tables}
    (folder / AGREEMENT).write_text(_json(agreement), encoding="utf-8")
    (folder / AGREEMENT_FIGURE).write_bytes(figures.png(figures.agreement(study)))


def _move(fresh: Path, folder: Path, replaced: Path) -> None:
    """Puts what was written into the folder, and what it replaces aside."""
    replaced.mkdir()
    written = sorted(path.name for path in fresh.iterdir())
    for name in written:
        if (folder / name).exists():
            (folder / name).rename(replaced / name)
    for name in written:
        (fresh / name).rename(folder / name)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest of its parents that exists."""
    return next(path for path in [folder, *folder.absolute().parents] if path.exists())


def _unwritable(folder: Path, error: OSError) -> RequestError:
    return RequestError(f"{folder} cannot be written: {error.strerror or error}; name another folder with --out")


def load(folder: Path) -> Study:
    """The Study in a folder; nothing in the folder is executed.

    Raises:
        RequestError: there is none, it is damaged, or it was written by another version of camzoo.
    """
    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        version = results["schema_version"]
        if version in (1, SCHEMA_VERSION):
            return _read(results if version == SCHEMA_VERSION else _from_schema_1(results), folder)
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{folder} holds no run of camzoo that can be read: {error}") from error
    raise RequestError(f"{folder} has schema {version}, this camzoo reads {SCHEMA_VERSION}")


def _read(results: dict[str, Any], folder: Path) -> Study:
    rows = tuple(_read_row(row) for row in results["rows"])
    count = len({row.image for row in rows})
    with (folder / MAPS).open("rb") as file, np.load(file, allow_pickle=False) as maps:
        cells = tuple(_read_cell(entry, maps) for entry in results["cells"])
    return Study(
        rows=rows,
        cells=cells,
        pictures=tuple(_picture(folder / PICTURES / f"{number}.png") for number in range(count)),
        seed=results["seed"],
        environment=results["environment"],
        provenance=results["provenance"],
    )


def _read_row(entry: dict[str, Any]) -> Row:
    top = tuple((index, label, _number(share)) for index, label, share in entry["top"])
    return Row(**entry | {"score": _number(entry["score"]), "top": top})


def _number(value: float | None) -> float:
    """A number that was written: one that is not finite became null."""
    return math.nan if value is None else value


def _from_schema_1(results: dict[str, Any]) -> dict[str, Any]:
    """What golden maps of old say, in words of today: one model and layer for all rows, and no provenance."""
    shared = {name: results["problem"][name] for name in ("model", "layer", "layout")}
    return {
        "environment": results["environment"],
        "provenance": {},
        "seed": results["problem"]["seed"],
        "rows": [{**row, **shared, "top": []} for row in results["rows"]],
        "cells": [{**cell, "peak_bytes": None} for cell in results["cells"]],
    }


def _picture(path: Path) -> np.ndarray[Any, Any]:
    with path.open("rb") as file, Image.open(file) as image:
        return np.asarray(image)


def _results(study: Study) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": dict(study.environment),
        "provenance": dict(study.provenance),
        "seed": study.seed,
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
        "peak_bytes": cell.peak_bytes,
        "stage": heatmap and heatmap.stage,
        "resolution": heatmap and heatmap.resolution,
        "image_size": heatmap and list(heatmap.image_size),
        "notes": list(heatmap.notes) if heatmap else [],
        "array": heatmap and _array_name(cell),
        "metrics": {name: asdict(reading) for name, reading in cell.readings.items()},
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
    told = {name: entry[name] for name in ("reason", "seconds", "warning", "peak_bytes")}
    readings = {name: Reading(**said) for name, said in entry.get("metrics", {}).items()}
    return Cell(entry["row"], computation, Status(entry["status"]), heatmap=heatmap, readings=readings, **told)


def _maps(study: Study) -> dict[str, Any]:
    return {_array_name(cell): _host(cell.heatmap.values[0]) for cell in study.cells if cell.heatmap}


def _host(values: Any) -> Any:
    """On the host in its own dtype; bfloat16, which NumPy has not, as float32."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.dtype is torch.bfloat16 else values).numpy()
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
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """The same in words of JSON: null for a number that is not finite, and its `repr` for what JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int) else repr(value)
