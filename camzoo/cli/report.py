"""`camzoo report`: the page of a saved run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camzoo.cli.application import app
from camzoo.errors import RequestError

if TYPE_CHECKING:
    from camzoo.conformance.verdicts import Finding


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of `camzoo compare`, `demo` or `evaluate`.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; DIR/report.html, or leaderboard.html.")] = None,
    check: Annotated[
        Path | None, typer.Option(help="Findings of `camzoo check`; DIR/conformance.json if it is there.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the file named with --out.")] = False,
) -> None:
    """Draw the page of a saved run: one file that opens in any browser, without a network."""
    if out and out.exists() and not overwrite:
        raise RequestError(f"{out} exists: name another file with --out, or say --overwrite")
    text, name = _leaderboard(folder, check) if _is_evaluation(folder) else _report(folder, check)
    where = out or folder / name
    _write(text, where)
    print(f"wrote\n  {where}")


def _report(folder: Path, check: Path | None) -> tuple[str, str]:
    """The page of a comparison, and what it is called."""
    from camzoo import report as report_
    from camzoo import store

    return report_.html(store.load(folder), _findings(folder, check)), store.REPORT


def _is_evaluation(folder: Path) -> bool:
    from camzoo.evaluation import files

    return (folder / files.MANIFEST).is_file()


def _leaderboard(folder: Path, check: Path | None) -> tuple[str, str]:
    """The page of an evaluation, finished or not, and what it is called."""
    from camzoo import leaderboard
    from camzoo.evaluation import reading

    if check:
        raise RequestError(f"{folder} holds an evaluation: findings of a check (--check) have no place on its page")
    return leaderboard.html(reading.read(folder)), leaderboard.PAGE


def _findings(folder: Path, check: Path | None) -> list[Finding] | None:
    """Those of the file that is named, which has to be there, or of the folder, where there are any."""
    from camzoo.conformance import record

    if check:
        return record.load(check / record.FILE if check.is_dir() else check)[0]
    beside = folder / record.FILE
    return record.load(beside)[0] if beside.exists() else None


def _write(text: str, out: Path) -> None:
    """All of it or nothing."""
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".camzoo-") as aside:
            fresh = Path(aside) / "report"
            fresh.write_text(text, encoding="utf-8", newline="\n")
            fresh.replace(out)
    except OSError as error:
        said = error.strerror or error
        raise RequestError(f"{out} cannot be written: {said}; name another file with --out") from None
