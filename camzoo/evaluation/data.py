"""A data set as a list of items that are read when they are needed, from a folder, a table or a torch Dataset."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camzoo import images
from camzoo.boxes import Box
from camzoo.errors import NotInstalled, RequestError, unknown
from camzoo.noise import generator

COLUMNS = ("path", "label", "box", "mask")
NEEDS_ARROW = "pip install 'camzoo[evaluate]'"


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a data set, and what people said of it.

    Attributes:
        name: unique in its data set.
        read: gives the photo, or the tensor `(C, H, W)` that the model takes; raises what is wrong with it.
        label: the class in the words of the data set, or None.
        boxes: of the object, in the pixels of the photo.
        mask: gives the object's pixels as a grey picture of the photo's size, zero outside; or None.
        size: `(width, height)` that the annotation was made for, or None.
    """

    name: str
    read: Callable[[], Any] = field(repr=False)
    label: str | None = None
    boxes: tuple[Box, ...] = ()
    mask: Callable[[], Image.Image] | None = field(default=None, repr=False)
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """A data set.

    Attributes:
        name: for titles.
        kind: what it was read as, in words.
        items: in a fixed order.
    """

    name: str
    kind: str
    items: Sequence[Item] = field(repr=False)

    def limited(self, count: int | None, seed: int = 0) -> Data:
        """So many items, drawn by a seed and left in their order: the first ones would all be of one class."""
        if count is None or count >= len(self.items):
            return self
        drawn = np.sort(generator(seed).permutation(len(self.items))[:count])
        return Data(self.name, self.kind, [self.items[index] for index in drawn])

    def listing(self) -> str:
        """A hash of every name, label and box: what says that two data sets are the same without reading photos."""
        found = hashlib.sha256()
        for item in self.items:
            found.update(f"{item.name}\0{item.label}\0{item.boxes}\0{item.mask is not None}\n".encode())
        return found.hexdigest()


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
        data = _voc(path) if (path / "Annotations").is_dir() else _folder(path)
    else:
        readers = {".csv": _csv, ".parquet": _parquet, ".json": _coco}
        if path.suffix.lower() not in readers:
            raise RequestError(f"{path} is no data set: give a folder of photos, a .csv, a .parquet or a COCO .json")
        data = readers[path.suffix.lower()](path, Path(photos) if photos else path.parent)
    if not data.items:
        raise RequestError(f"{path} has nothing to evaluate on: no photo is in it")
    return data


def of_dataset(dataset: Any, name: str = "dataset") -> Data:
    """A torch Dataset.

    Args:
        dataset: with a length, whose entries are a picture or the tensor `(C, H, W)` that the model takes, alone or
            first in a pair with its label, or a mapping with `image` and, where known, `label`, `boxes` (a list of
            `left, top, right, bottom`) and `mask` (a picture). Labels and boxes of a mapping or pair are read once.
        name: for titles.

    Raises:
        RequestError: it is empty.
    """
    items = [_entry(dataset, index) for index in range(len(dataset))]
    if not items:
        raise RequestError(f"{name} is empty: there is nothing to evaluate on")
    return Data(name, "torch Dataset", items)


def _entry(dataset: Any, index: int) -> Item:
    try:
        entry = _parts(dataset[index])
    except Exception:  # what cannot be read is told when it is its turn
        entry = {}
    label = entry.get("label")
    mask = partial(_mask_of, dataset, index) if entry.get("mask") is not None else None
    boxes = tuple(Box(*map(float, box)) for box in entry.get("boxes", ()))
    return Item(str(index), partial(_image_of, dataset, index), None if label is None else str(label), boxes, mask)


def _parts(entry: Any) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, tuple | list):
        label = entry[1] if len(entry) > 1 else None
        return {"image": entry[0], "label": label.item() if hasattr(label, "item") else label}
    return {"image": entry}


def _image_of(dataset: Any, index: int) -> Any:
    return _parts(dataset[index])["image"]


def _mask_of(dataset: Any, index: int) -> Image.Image:
    mask: Image.Image = _parts(dataset[index])["mask"]
    return mask


def _folder(folder: Path) -> Data:
    """Photos in a folder, or in one folder for each class."""
    known = _suffixes()
    top = [path for path in _listed(folder) if path.is_file() and path.suffix.lower() in known]
    classes = [path for path in _listed(folder) if path.is_dir()]
    within = {each.name: [path for path in _below(each) if path.suffix.lower() in known] for each in classes}
    if not any(within.values()):
        return Data(folder.name, "folder of photos", [_photo(folder, path) for path in top])
    if top:
        raise RequestError(f"{folder} has photos beside folders with photos: give a folder of one kind")
    labelled = [_photo(folder, path, name) for name, paths in within.items() for path in paths]
    return Data(folder.name, "folder for each class", labelled)


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


def printable(name: str) -> str:
    """A name as every file can hold it: what is no Unicode in it is written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _csv(path: Path, photos: Path) -> Data:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} cannot be read as CSV: {error}") from None
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
        if not row["path"] or None in row:
            raise RequestError(f"{path}, row {number}: there should be {len(header)} entries, and a path among them")
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
    if not any((photos / name).exists() for name, _ in found):
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
    from camzoo.evaluation import annotations

    return Data(path.name, "COCO", annotations.coco(path, photos))


def _voc(folder: Path) -> Data:
    from camzoo.evaluation import annotations

    return Data(folder.name, "Pascal VOC", annotations.voc(folder))
