"""What verbs show while they work and when they are done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from camzoo.types import Status

if TYPE_CHECKING:
    from camzoo.evaluation.readings import Reading
    from camzoo.study import Progress, Study


@contextmanager
def progress_bars() -> Iterator[tuple[Progress, Callable[[int, int], None]]]:
    """Progress on stderr, of the computations and of the inputs of one: bars on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield line, now_and_then(inputs_line)
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True) as bar:
        outer, inner = bar.add_task("", total=None), bar.add_task("inputs", total=None, visible=False)

        def computation(done: int, total: int, name: str) -> None:
            bar.update(outer, completed=done, total=total, description=escape(name))
            bar.update(inner, visible=False)

        yield computation, lambda done, total: bar.update(inner, completed=done, total=total, visible=True)


def line(done: int, total: int, name: str) -> None:
    if name:
        print(f"[{done + 1}/{total}] {name}", file=sys.stderr, flush=True)


def inputs_line(done: int, total: int) -> None:
    print(f"    {done} of {total} inputs", file=sys.stderr, flush=True)


def now_and_then(report: Callable[[int, int], None], pause: float = 10) -> Callable[[int, int], None]:
    """The same report, but not more often than every few seconds."""
    last = time.monotonic()

    def seldom(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= pause:
            last = time.monotonic()
            report(done, total)

    return seldom


def summary(result: Study, files: list[Path]) -> None:
    out = stdout()
    print(result.subject)
    for row in result.rows:
        told = ((result.model, row.model), (result.layer, row.layer))
        name = ", ".join([row.name, *(own for common, own in told if common != own)])
        print(f"{name}: {row.title}" + (f", {row.target} {row.score:.3f}" if row.class_index is not None else ""))
    table = Table("computation", "status", "seconds", "stage", "", box=None, header_style="bold")
    for computation in result.computations:
        cells = [cell for cell in result.cells if str(cell.computation) == str(computation)]
        cell = next((cell for cell in cells if cell.status is not Status.OK), cells[0])
        warned = [f"{result.rows[it.row].name}: {it.warning}" for it in cells if it.warning]
        seconds = f"{cell.seconds:.3f}" if cell.seconds is not None else ""
        stage = f"{cell.heatmap.stage}, {cell.heatmap.resolution} grid" if cell.heatmap else ""
        notes = list(cell.heatmap.notes) if cell.heatmap else []
        table.add_row(
            escape(str(computation)),
            styled(cell.status),
            seconds,
            stage,
            escape("; ".join(said for said in (cell.reason, *warned, *notes) if said)),
        )
    out.print(table)
    if result.metrics:
        _readings(result, out)
    print("wrote")
    for path in files:
        print(f"  {path}")


COLUMNS = 7
"""The most metrics beside each other: more of them go below."""


def _readings(result: Study, out: Console) -> None:
    """What the metrics say, a table for each row: methods below each other, and where a value is missing why."""
    from camzoo.evaluation.readings import WAYS, missing
    from camzoo.evaluation.table import TABLE

    better = {metric.name: WAYS[metric.better] for metric in TABLE}
    for number, row in enumerate(result.rows):
        cells = [cell for cell in result.of(number) if cell.readings]
        told = ((result.model, row.model), (result.layer, row.layer))
        named = [row.name, row.title, *(own for common, own in told if common != own)]
        for start in range(0, len(result.metrics), COLUMNS):
            names = result.metrics[start : start + COLUMNS]
            headers = [f"{name}\n{better.get(name, '')}" for name in names]
            table = Table(escape(", ".join(named)), *headers, box=None, header_style="bold")
            for cell in cells:
                table.add_row(escape(str(cell.computation)), *(_said(cell.readings[name]) for name in names))
            chances = [next((cell.readings[name].chance for cell in cells), None) for name in names]
            if any(chance is not None for chance in chances):
                table.add_row("by chance", *("" if chance is None else f"{chance:.4g}" for chance in chances))
            out.print(table)
        for why, where in missing({str(cell.computation): cell.readings for cell in cells}).items():
            print(f"{', '.join(where)}: {why}")
    print("One image ranks nothing: which method is better is said by `camzoo evaluate`, over a data set.")


def _said(reading: Reading) -> str:
    return styled(reading.status) if reading.value is None else f"{reading.value:.4g}"


def styled(status: str) -> str:
    colour = {"ok": "green", "ready": "green", "failed": "red", "not installed": "yellow"}.get(status, "dim")
    return f"[{colour}]{status}[/]"


def stdout() -> Console:
    """A console on stdout that does not cut lines where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=200)
