"""Run <-> bench.json, and the lines of samples.jsonl from which a Run is made: what is measured is kept at once."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from camzoo.errors import RequestError
from camzoo.timing.samples import NOT_REACHED, Case, Counts, Outcome, Row, Run, Sample, Scope

SCHEMA_VERSION = 1
FILE, LINES = "bench.json", "samples.jsonl"

Line = dict[str, Any]
"""One line of samples.jsonl; its `kind` says what it holds."""


def check_free(folder: Path, resume: bool) -> None:
    """Refuses a folder that cannot be written, or that holds something else, before any work is done.

    Raises:
        RequestError: with what to do instead.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file: name a folder with --out")
    nearest = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise RequestError(f"{folder} cannot be written: name another folder with --out")
    there = (folder / LINES).exists()
    if there and not resume:
        raise RequestError(f"{folder} holds a benchmark: go on with --resume, or name another folder with --out")
    if resume and not there:
        raise RequestError(f"{folder} holds no benchmark to go on with: leave --resume out")
    if not there and folder.is_dir() and any(folder.iterdir()):
        raise RequestError(f"{folder} holds something else than a benchmark: name another folder with --out")


def read_lines(folder: Path) -> list[Line]:
    """The lines that a run has kept; a last one that was cut off is taken away.

    A line counts once: one that Ctrl-C met while it was kept can stand twice.

    Raises:
        RequestError: one cannot be read.
    """
    path = folder / LINES
    try:
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            os.truncate(path, len(whole))  # what is whole is not written again, so that it cannot be lost
        return [json.loads(line) for line in dict.fromkeys(whole.splitlines())]
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None


def append(folder: Path, line: Mapping[str, Any]) -> None:
    """Keeps one line, at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({name: _plain(value) for name, value in line.items()}, allow_nan=False) + "\n")
    except OSError as error:
        raise RequestError(f"{folder} cannot be written: {error.strerror or error}") from None


def rows(
    cases: Sequence[Case], identities: Sequence[tuple[str, str, str, str]], lines: Iterable[Line]
) -> tuple[Row, ...]:
    """The rows of what was kept.

    Args:
        cases: the cases of the run.
        identities: of each contender its name in the lines, and its name, method and backend in the rows.
        lines: as `read_lines` gives them.
    """
    kept: dict[tuple[int, str], list[Line]] = defaultdict(list)
    for line in lines:
        if "contender" in line:
            kept[line["case"], line["contender"]].append(line)
    return tuple(
        _row(case, identity[1:], kept[number, identity[0]])
        for number, case in enumerate(cases)
        for identity in identities
    )


def _row(case: Case, identity: tuple[str, ...], lines: Sequence[Line]) -> Row:
    of: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        of[line["kind"]].append(line)
    measured: dict[str, Any] = {}
    for line in [*of["examined"], *of["memory"], *of["outcome"]]:
        measured |= {name: line[name] for name in MEASURED & line.keys()}
    plain = measured | {
        "outcome": measured.get("outcome", Outcome.OK if of["sample"] else Outcome.FAILED),
        "reason": measured.get("reason", "" if of["sample"] else NOT_REACHED),
        "first": [line["seconds"] for line in of["first"]],
        "warmups": [line["warmups"] for line in of["first"]],
        "alike": [line["alike"] for line in of["first"]],
        "samples": {name: [line[name] for line in of["sample"]] for name in SAMPLE},
    }
    return _read_row(case, dict(zip(("contender", "method", "backend"), identity, strict=True)) | plain)


SAMPLE = tuple(field.name for field in fields(Sample))
MEASURED = {field.name for field in fields(Row)} - {"case", "contender", "method", "backend", "samples"}


def save(run: Run, path: Path) -> Path:
    """Writes a Run into a file, all of it or nothing.

    Raises:
        RequestError: the file cannot be written.
    """
    cases = run.cases
    record = {
        "schema_version": SCHEMA_VERSION,
        "command": run.command,
        "finished": run.finished,
        "environment": dict(run.environment),
        "cases": [asdict(case) for case in cases],
        "rows": [_plain_row(row, cases.index(row.case)) for row in run.rows],
    }
    text = json.dumps(record, indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, suffix=".part", encoding="utf-8") as file:
            file.write(text + "\n")
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


def load(path: Path) -> Run:
    """The Run in a file, or in a folder that `camzoo bench` wrote.

    Raises:
        RequestError: there is none, or it is damaged.
    """
    path = path / FILE if path.is_dir() else path
    if not path.exists() and (path.parent / LINES).exists():
        raise RequestError(f"{path.parent} holds a run that was ended before it was done: go on with --resume")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema_version"] != SCHEMA_VERSION:
            raise RequestError(f"{path} has schema {record['schema_version']}, this camzoo reads {SCHEMA_VERSION}")
        cases = [case_of(case) for case in record["cases"]]
        read = tuple(_read_row(cases[row.pop("case")], row) for row in record["rows"])
        return Run(read, record["command"], record["environment"], record["finished"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RequestError(f"{path} holds no benchmark that can be read: {error}") from None


def case_of(plain: Mapping[str, Any]) -> Case:
    """A case from its plain values."""
    return Case(**{**plain, "scope": Scope(plain["scope"])})


def _plain_row(row: Row, case: int) -> dict[str, Any]:
    plain = {name: getattr(row, name) for name in (field.name for field in fields(Row))}
    columns = {name: [getattr(sample, name) for sample in row.samples] for name in SAMPLE}
    counts = None if row.counts is None else asdict(row.counts)
    return plain | {"case": case, "samples": columns, "counts": counts, "distance": _plain(row.distance)}


def _plain(value: Any) -> Any:
    """A value as JSON has it: an infinite distance, or one that is no number, in words."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read_row(case: Case, plain: Mapping[str, Any]) -> Row:
    values = dict(plain)
    columns = values["samples"]
    columns = columns | {"passes": [tuple(both) for both in columns["passes"]]}
    samples = (
        Sample(**dict(zip(SAMPLE, one, strict=True))) for one in zip(*(columns[name] for name in SAMPLE), strict=True)
    )
    counts, distance = values.get("counts"), values.get("distance")
    values |= {
        "outcome": Outcome(values["outcome"]),
        "samples": tuple(samples),
        "first": tuple(values["first"]),
        "warmups": tuple(values["warmups"]),
        "alike": tuple(values["alike"]),
        "counts": None if counts is None else Counts(**counts),
        "distance": None if distance is None else float(distance),
    }
    return Row(case, **values)
