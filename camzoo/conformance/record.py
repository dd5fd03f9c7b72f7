"""Findings <-> conformance.json."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from camzoo.conformance.verdicts import Finding, Kind, Verdict
from camzoo.errors import RequestError

SCHEMA_VERSION = 1
FILE = "conformance.json"
NUMBERS = ("error", "tolerance", "residual")


def check_free(folder: Path) -> None:
    """Refuses a folder that holds something else than an earlier check, before any work is done.

    Raises:
        RequestError: with what to do instead.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file: name a folder with --out")
    nearest = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise RequestError(f"{folder} cannot be written: name another folder with --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).exists():
        raise RequestError(f"{folder} holds something else than a check: name another folder with --out")


def save(findings: Sequence[Finding], environment: Mapping[str, Any], folder: Path) -> Path:
    """Writes findings into a folder, in the place of those of an earlier check.

    Args:
        findings: one for each `method@backend`.
        environment: what they were found with.
        folder: made where it does not exist.

    Returns:
        The file.

    Raises:
        RequestError: the folder cannot be written.
    """
    cells = [_plain(asdict(finding)) for finding in findings]
    text = json.dumps({"schema_version": SCHEMA_VERSION, "environment": dict(environment), "cells": cells}, indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{folder} cannot be written: {error.strerror or error}; name another with --out") from None
    return folder / FILE


def load(path: Path) -> tuple[list[Finding], dict[str, Any]]:
    """The findings in a file, and the environment in which they were found.

    Raises:
        RequestError: there is none, or it is damaged.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema_version"] != SCHEMA_VERSION:
            raise RequestError(f"{path} has schema {record['schema_version']}, this camzoo reads {SCHEMA_VERSION}")
        return [_finding(cell) for cell in record["cells"]], record["environment"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RequestError(f"{path} holds no findings that can be read: {error}") from error


def _finding(cell: dict[str, Any]) -> Finding:
    numbers = {name: None if cell[name] is None else float(cell[name]) for name in NUMBERS}
    kind = cell["kind"] and Kind(cell["kind"])
    lists = {name: tuple(cell[name]) for name in ("breaches", "refusals")}
    return Finding(**cell | numbers | lists | {"verdict": Verdict(cell["verdict"]), "kind": kind})


def _plain(cell: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: what is not finite is a text that says so."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in cell.items()
    }
