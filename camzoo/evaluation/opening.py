"""Opens the data set at a path: a folder, a table, or what people annotated."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from camzoo import images
from camzoo.boxes import Box
from camzoo.errors import NotInstalled, RequestError, unknown
from camzoo.evaluation import annotated
from camzoo.evaluation.data import NEEDS_ARROW, Data, Item, printable

COLUMNS = ("path", "label", "box", "mask")


def open_data(path: str | Path, photos: str | Path | None = None) -> Data:
    """The data set at a path.

    Args:
        path: a folder of photos, a folder for each class, a folder in Pascal VOC's form (`Annotations`, `JPEGImages`),
            a `.csv` or `.parquet` table with the columns `path`, `label`, `box` and `mask` of which only the first is
            needed, or a COCO `.json`.
        photos: the folder that the paths in a table or a COCO file are relative to; that of the file, where not given.

    Raises:
        RequestError: it is none of these, or there is nothing in it.
        NotInstalled: pyarrow, which reads Parquet, is absent.
    """
    path = Path(path)
    if not path.exists():
        raise RequestError(f"{path} does not exist: give a folder of photos, a .csv, a .parquet or a COCO .json")
    if path.is_dir():
        voc = (path / "Annotations").is_dir()
        data = Data(path.resolve().name, "Pascal VOC", annotated.voc(path)) if voc else _folder(path)
    else:
        readers = {".csv": _csv, ".parquet": _parquet, ".json": _coco}
        if path.suffix.lower() not in readers:
            raise RequestError(f"{path} is no data set: give a folder of photos, a .csv, a .parquet or a COCO .json")
        data = readers[path.suffix.lower()](path, Path(photos) if photos else path.parent)
    if not data.items:
        raise RequestError(f"{path} has nothing to evaluate on: no photo is in it")
    return data


def _folder(folder: Path) -> Data:
    """Photos in a folder, or in one folder for each class."""
    known = _suffixes()
    top = [path for path in _listed(folder) if path.is_file() and path.suffix.lower() in known]
    classes = [path for path in _listed(folder) if path.is_dir()]
    within = {each.name: [path for path in _below(each) if path.suffix.lower() in known] for each in classes}
    if not any(within.values()):
        return Data(folder.resolve().name, "folder of photos", [_photo(folder, path) for path in top])
    if top:
        raise RequestError(f"{folder} has photos beside folders with photos: give a folder of one kind")
    labelled = [_photo(folder, path, name) for name, paths in within.items() for path in paths]
    return Data(folder.resolve().name, "folder for each class", labelled)


def _photo(folder: Path, path: Path, label: str | None = None) -> Item:
    return Item(printable(path.relative_to(folder).as_posix()), partial(images.read, path), label)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise RequestError(f"{folder} cannot be read ({error.strerror}): give a readable folder") from None


def _below(folder: Path) -> list[Path]:
    return [deeper for path in _listed(folder) for deeper in (_below(path) if path.is_dir() else [path])]


def _suffixes() -> frozenset[str]:
    return frozenset(Image.registered_extensions()) - {".eps", ".ps", ".pdf"}


def _csv(path: Path, photos: Path) -> Data:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} cannot be read as CSV: {error}") from None
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():  # as the reader fills up what is too long or too short
            raise RequestError(f"{path}, row {number}: there should be {len(header)} entries")
    return _table(path, photos, header, rows)


def _parquet(path: Path, photos: Path) -> Data:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        raise NotInstalled(f"Parquet is read by pyarrow: {NEEDS_ARROW}") from None
    try:
        table = parquet.read_table(path)
    except (OSError, ArrowException) as error:
        raise RequestError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    return _table(path, photos, table.column_names, table.to_pylist())


def _table(path: Path, photos: Path, header: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Data:
    """Rows of one photo and one label are one item, with all of their boxes."""
    header = list(header)
    if "path" not in header:
        raise RequestError(f"{path} has no column 'path': it has {', '.join(header) or 'none'}")
    if other := [name for name in header if name not in COLUMNS]:
        raise unknown(f"column of {path}", other[0], COLUMNS)
    found: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for number, row in enumerate(rows, start=1):
        if not row["path"]:
            raise RequestError(f"{path}, row {number}: there is no path")
        label = row.get("label")
        found.setdefault((str(row["path"]), None if label in (None, "") else str(label)), []).append(row)
    twice = _more_than_once(name for name, _ in found)
    items = [
        Item(
            name=printable(f"{name} ({label})" if name in twice else name),
            read=partial(images.read, photos / name),
            label=label,
            boxes=tuple(box for row in same for box in _boxes(row.get("box"), f"{path}, {name}")),
            mask=partial(images.read, photos / same[0]["mask"]) if same[0].get("mask") else None,
        )
        for (name, label), same in found.items()
    ]
    if found and not any((photos / name).exists() for name, _ in found):
        raise RequestError(f"{path} names no photo that exists: its paths are looked up in {photos}")
    return Data(path.name, f"{path.suffix[1:].upper()} table", items)


def _more_than_once(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _boxes(given: Any, where: str) -> list[Box]:
    """Boxes from `left top right bottom`, several with semicolons, or from lists of four numbers."""
    if given is None or given == "":
        return []
    texts = [each.replace(",", " ").split() for each in given.split(";")] if isinstance(given, str) else given
    lists = [texts] if texts and not isinstance(texts[0], list | tuple) else texts
    try:
        boxes = [Box(*map(float, each)) for each in lists]
    except (TypeError, ValueError):
        raise RequestError(f"{where}: {given!r} is no box: write left top right bottom, in pixels") from None
    for box in boxes:
        if not box.area > 0:
            raise RequestError(f"{where}: {given!r} is no box: right is beyond left, and bottom beyond top")
    return boxes


def _coco(path: Path, photos: Path) -> Data:
    return Data(path.name, "COCO", annotated.coco(path, photos))
