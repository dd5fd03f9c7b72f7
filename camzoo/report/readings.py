"""What a report says of metrics: a table for each row, methods below each other."""

from __future__ import annotations

from typing import Any

from camzoo.evaluation.readings import WAYS, Reading, missing
from camzoo.evaluation.table import TABLE
from camzoo.study import Study


def columns(study: Study) -> list[tuple[str, str]]:
    """The metrics by name, and which way is better."""
    better = {metric.name: WAYS[metric.better] for metric in TABLE}
    return [(name, better.get(name, "")) for name in study.metrics]


def row(study: Study, number: int) -> dict[str, Any]:
    """The readings of one row: a line for each method, the chance levels, and why values are missing."""
    cells = [cell for cell in study.of(number) if cell.readings]
    lines = [(cell.computation, [cell.readings.get(name) for name in study.metrics]) for cell in cells]
    chances = [
        next((cell.readings[name].chance for cell in cells if name in cell.readings), None) for name in study.metrics
    ]
    return {
        "lines": [
            {
                "method": str(computation).removesuffix(f"@{computation.backend}"),
                "backend": computation.backend,
                "values": [_said(reading) for reading in readings],
            }
            for computation, readings in lines
        ],
        "chances": [_number(chance) for chance in chances] if any(each is not None for each in chances) else [],
        "missing": missing({str(cell.computation): cell.readings for cell in cells}),
    }


def _said(reading: Reading | None) -> tuple[str, bool]:
    """A value in four digits, or why there is none; and whether there is one."""
    if reading is None:
        return "", False
    return (str(reading.status), False) if reading.value is None else (_number(reading.value), True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
