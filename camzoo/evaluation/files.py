"""The folder of an evaluation: a manifest that says what was asked, and one Parquet file for each finished batch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from camzoo.errors import NotInstalled, RequestError
from camzoo.evaluation.batch import Record
from camzoo.evaluation.data import NEEDS_ARROW

MANIFEST, PARTS = "manifest.json", "parts"
SCHEMA_VERSION = 1


def arrow() -> Any:
    """pyarrow, with its Parquet module.

    Raises:
        NotInstalled: it is absent.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise NotInstalled(f"results are kept as Parquet, by pyarrow: {NEEDS_ARROW}") from None
    return pyarrow


def schema() -> Any:
    """The columns of every part, in order: those of a Record."""
    pa = arrow()
    kinds = {"target": pa.int32(), "value": pa.float64()}
    return pa.schema([(each.name, kinds.get(each.name, pa.string())) for each in fields(Record)])


def begin(folder: Path, manifest: Mapping[str, Any], resume: bool) -> None:
    """Takes a folder for a run: an empty one, or with `resume` one in which the same was asked.

    Raises:
        RequestError: it is none, holds something else, or cannot be written; or another question was asked in it.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file: name a folder with --out")
    there = (folder / MANIFEST).exists()
    if there and not resume:
        raise RequestError(f"{folder} holds an evaluation: go on with --resume, or name another folder with --out")
    if not there and folder.is_dir() and any(folder.iterdir()):
        raise RequestError(f"{folder} holds something else than an evaluation: name another folder with --out")
    if there:
        _same_question(folder, manifest)
        return
    try:
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        _aside(folder / MANIFEST, text(manifest))
    except OSError as error:
        raise RequestError(f"{folder} cannot be written ({error.strerror}): name another with --out") from None


def text(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as its file holds it."""
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()


def _same_question(folder: Path, manifest: Mapping[str, Any]) -> None:
    before, now = read_manifest(folder)["question"], manifest["question"]
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            was, is_ = (_short(each.get(key)) for each in (before, now))
            raise RequestError(f"{folder} was asked something else: {key} was {was}, and is {is_} now")


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def read_manifest(folder: Path) -> dict[str, Any]:
    """What was asked in a folder.

    Raises:
        RequestError: there is no manifest, or it cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise RequestError(f"{folder} holds no evaluation: {MANIFEST} is not there")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None
    if version != SCHEMA_VERSION:
        raise RequestError(f"{path} has version {version!r}, and version {SCHEMA_VERSION} is read here")
    return manifest


def part(folder: Path, number: int) -> Path:
    """The file of one batch."""
    return folder / PARTS / f"part-{number:05d}.parquet"


def done(folder: Path) -> frozenset[int]:
    """The batches that are there, whole."""
    return frozenset(int(path.stem.removeprefix("part-")) for path in (folder / PARTS).glob("part-*.parquet"))


def keep(folder: Path, number: int, records: Sequence[Record]) -> None:
    """Keeps a batch, all of it or nothing.

    Raises:
        RequestError: it cannot be written.
    """
    pa = arrow()
    table = pa.Table.from_pylist([asdict(record) for record in records], schema())
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink)
    try:
        _aside(part(folder, number), sink.getvalue().to_pybytes())
    except OSError as error:
        raise RequestError(
            f"{folder} cannot be written ({error.strerror}): make room, and go on with --resume"
        ) from None


def write(path: Path, content: bytes) -> None:
    """Writes a file that is made from the results, all of it or nothing.

    Raises:
        RequestError: it cannot be written.
    """
    try:
        _aside(path, content)
    except OSError as error:
        raise RequestError(f"{path} cannot be written ({error.strerror})") from None


def _aside(path: Path, content: bytes) -> None:
    """Written beside its place and then renamed: a reader, or a run after a kill, finds all of it or nothing."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
