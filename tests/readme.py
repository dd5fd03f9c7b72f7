"""Writes the coverage matrix into README.md: every method at every backend, from the code."""

from __future__ import annotations

from pathlib import Path

from camzoo import backends
from camzoo.types import Status

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- coverage: written by `make readme` -->\n", "<!-- end of coverage -->"


def matrix() -> str:
    """The matrix as a Markdown table; what a library calls a method stands in its cell."""
    names = list(backends.found())
    cells = {(cell.method, cell.backend): cell for cell in backends.coverage()}
    methods = sorted({method for method, _ in cells})
    head = ["| method | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    return "\n".join([*head, *(row(method, names, cells) for method in methods)]) + "\n"


def row(method: str, names: list[str], cells: dict) -> str:
    """One method; an installed library and an absent one look alike, so that the page is the same everywhere."""
    shown = (cells[method, name] for name in names)
    return (
        f"| `{method}` | " + " | ".join("" if c.status is Status.NOT_OFFERED else f"`{c.calls}`" for c in shown) + " |"
    )


def written(text: str) -> str:
    """The page with the matrix of today."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + matrix() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
