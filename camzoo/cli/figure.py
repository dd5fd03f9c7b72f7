"""`camzoo figure`: the figure of a paper, from a folder that `camzoo compare` wrote."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from camzoo.cli.application import app
from camzoo.errors import RequestError, unknown

LARGEST = 2400  # dots per inch


@app.command()
def figure(
    folder: Annotated[Path, typer.Argument(help="What `camzoo compare` wrote.")],
    out: Annotated[Path, typer.Option(help="A .png, .svg or .pdf file.")] = Path("figure.png"),
    columns: Annotated[int, typer.Option(min=1, help="The most methods beside each other.")] = 8,
    cmap: Annotated[str | None, typer.Option(help="A colour map of matplotlib; inferno.")] = None,
    dpi: Annotated[int, typer.Option(min=20, max=LARGEST, help="Of pictures, in dots per inch.")] = 300,
    names: Annotated[str, typer.Option(help="Of the maps: method, library, both, or timed.")] = "both",
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Draw a saved comparison again, as a figure for a paper."""
    from camzoo import figures, render, store

    kind = out.suffix.lower().removeprefix(".")
    if kind not in ("png", *figures.VECTOR):
        raise unknown("kind of figure", out.suffix or out.name, [".png", *(f".{known}" for known in figures.VECTOR)])
    if out.exists() and not overwrite:
        raise RequestError(f"{out} exists: name another file with --out, or say --overwrite")
    drawn = figures.comparison(store.load(folder), columns, cmap or render.COLOURS, names=names)
    _write(figures.png(drawn, dpi) if kind == "png" else figures.vector(drawn, kind, dpi), out)
    print(f"wrote\n  {out}")


def _write(content: bytes, out: Path) -> None:
    """All of it or nothing."""
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".camzoo-") as aside:
            fresh = Path(aside) / "figure"
            fresh.write_bytes(content)
            fresh.replace(out)
    except OSError as error:
        said = error.strerror or error
        raise RequestError(f"{out} cannot be written: {said}; name another file with --out") from None
