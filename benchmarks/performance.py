"""The committed results as docs/performance.md, with its figures: nothing is measured.

python benchmarks/performance.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import evaluated
from scenarios import BOTH, RESULTS, TABLE

from camzoo import charts, figures
from camzoo.timing import record, scaling
from camzoo.timing.page import Files, page
from camzoo.timing.samples import Run, Scope

DOCS = Path(__file__).parent.parent / "docs"
FIGURES = DOCS / "performance"


def results() -> Iterator[Path]:
    """The files of the scenarios that were measured, in the order of the table; a repetition after its run."""
    for device in BOTH:
        for name in TABLE:
            for again in ("", "-again"):
                if (path := RESULTS / f"{name}{again}-{device}.json").exists():
                    yield path


def drawn(run: Run, name: str) -> dict[str, str]:
    """Writes the figures of a run.

    Returns:
        Their paths from the page, by title.
    """
    if scaling.along(run):
        wanted = {"how cost grows": (charts.scaling, run)}
    else:
        scopes = [scope for scope in Scope if any(case.scope is scope for case in run.cases)]
        parts = {
            scope: replace(run, rows=tuple(row for row in run.rows if row.case.scope is scope)) for scope in scopes
        }
        last = parts[scopes[-1]]
        wanted = {f"cost, {scope}": (charts.dots, part) for scope, part in parts.items()}
        wanted |= {"memory": (charts.memory, last), "error against cost": (charts.pareto, last)}
    FIGURES.mkdir(exist_ok=True)
    made = {}
    for title, (draw, part) in wanted.items():
        path = FIGURES / f"{name}-{title.replace(', ', '-').replace(' ', '-')}.png"
        path.write_bytes(figures.png(draw(part)))
        made[title] = f"{FIGURES.name}/{path.name}"
    return made


def evaluations() -> Iterator[str]:
    """The part of the page about each evaluation that was measured, whose figure is written."""
    for path in (RESULTS / f"evaluation-{device}.json" for device in BOTH):
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            FIGURES.mkdir(exist_ok=True)
            figure = FIGURES / f"{path.stem}.png"
            figure.write_bytes(figures.png(evaluated.figure(result)))
            yield evaluated.section(result, f"../benchmarks/results/{path.name}", f"{FIGURES.name}/{figure.name}")


def main() -> None:
    """Writes the page."""
    paths = list(results())
    runs = [record.load(path) for path in paths]
    files = [
        Files(f"../benchmarks/results/{path.name}", {} if "-again-" in path.name else drawn(run, path.stem))
        for run, path in zip(runs, paths, strict=True)
    ]
    path = DOCS / "performance.md"
    path.write_text("\n".join([page(runs, files), *evaluations()]), encoding="utf-8")
    print(f"wrote {path}, from {len(runs)} results")


if __name__ == "__main__":
    main()
