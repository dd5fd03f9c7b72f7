"""How a cost grows: seconds over batch, resolution, channels or number of methods, with the exponent of a power law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from camzoo.timing import statistics
from camzoo.timing.samples import Case, Row, Run
from camzoo.timing.statistics import Fit, Interval, Values

LABELS = {"batch": "images at a time", "size": "side of the image in pixels"}
FORWARD = "a plain forward pass"
NEUTRAL: dict[str, Any] = {"batch": 1, "size": 1, "layer": None}
LEAST = 3
"""Sizes below which no exponent is fitted."""


@dataclass(frozen=True, slots=True)
class Point:
    """One size of a line: the median seconds of a call, with its interval; `groups` has them by process."""

    size: float
    seconds: Interval
    groups: list[Values] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One contender over all sizes.

    Attributes:
        case: what all points have in common; what varies is 1 or None in it.
        name: of the contender, or of the kind of contender.
        backend: who computes it, "" for a forward pass.
        points: those that were measured, by size.
        missing: for the others, size and why.
        fit: the power law through the points, None where there are too few.
        notes: what the check says against it.
    """

    case: Case
    name: str
    backend: str
    points: tuple[Point, ...]
    missing: tuple[tuple[float, str], ...] = ()
    fit: Fit | None = None
    notes: tuple[str, ...] = ()


def along(run: Run) -> str | None:
    """What varies in a run: "batch", "size", or as its scenario says "layer" or "contender"; None where nothing does.

    A scenario is an entry of the environment: `{"along": ..., "label": ..., "sizes": {layer or contender: number}}`,
    and for contenders `"lines"`, which name belongs to which.
    """
    if scenario := _scenario(run):
        return str(scenario["along"])
    for name in ("batch", "size"):
        if any(len(sizes) > 1 for sizes in _varied(run, name).values()):
            return name
    return None


def label(run: Run) -> str:
    """What varies, in words."""
    what = along(run) or ""
    return str(_scenario(run).get("label", LABELS.get(what, what)))


def lines(run: Run) -> list[Line]:
    """A line for each contender, before those of a case one for the forward pass; none where nothing varies."""
    what = along(run)
    if what is None:
        return []
    scenario = _scenario(run)
    rows: dict[tuple[Case, str], list[tuple[float, Row]]] = {}
    for row in run.rows:
        size = _size(row, what, scenario)
        if size is not None:
            name = str(scenario.get("lines", {}).get(row.contender, row.contender))
            rows.setdefault((_neutral(row.case, what), name), []).append((size, row))
    made = [_line(case, name, sorted(found, key=lambda each: each[0])) for (case, name), found in rows.items()]
    return [line for case in dict.fromkeys(case for case, _ in rows) for line in _of_case(case, rows, made)]


def _of_case(case: Case, rows: Mapping[tuple[Case, str], list[tuple[float, Row]]], made: list[Line]) -> list[Line]:
    sized = [each for (of, _), found in rows.items() if of == case for each in found]
    return [_forward(case, sized), *(line for line in made if line.case == case)]


def _scenario(run: Run) -> Mapping[str, Any]:
    scenario: Mapping[str, Any] = run.environment.get("scenario", {})
    return scenario if "along" in scenario else {}


def _varied(run: Run, name: str) -> dict[Case, set[int]]:
    found: dict[Case, set[int]] = {}
    for case in run.cases:
        found.setdefault(_neutral(case, name), set()).add(getattr(case, name))
    return found


def _neutral(case: Case, what: str) -> Case:
    return replace(case, **{what: NEUTRAL[what]}) if what in NEUTRAL else case


def _size(row: Row, what: str, scenario: Mapping[str, Any]) -> float | None:
    """Where on the axis a row lies; None where it is no part of what varies."""
    if what in LABELS:
        return float(getattr(row.case, what))
    key = row.case.layer if what == "layer" else row.contender
    size = scenario["sizes"].get(key)
    return None if size is None else float(size)


def _line(case: Case, name: str, rows: list[tuple[float, Row]]) -> Line:
    points = tuple(_point(size, statistics.by_process(row.samples, "seconds")) for size, row in rows if row.samples)
    missing = tuple((size, statistics.why_not_ranked(row)) for size, row in rows if not row.samples)
    said = [statistics.why_not_ranked(row) for _, row in rows if row.samples]
    return Line(case, name, rows[0][1].backend, points, missing, _fit(points), tuple(dict.fromkeys(filter(None, said))))


def _forward(case: Case, rows: list[tuple[float, Row]]) -> Line:
    """The forward passes beside all calls of a size, as one line."""
    sizes = sorted({size for size, row in rows if row.samples})
    samples = {size: [each for at, row in rows if at == size for each in row.samples] for size in sizes}
    points = tuple(_point(size, statistics.by_process(samples[size], "forward")) for size in sizes)
    return Line(case, FORWARD, "", points, fit=_fit(points))


def _point(size: float, groups: list[Values]) -> Point:
    middle = float(np.median(np.concatenate(groups)))
    return Point(size, statistics.interval(middle, statistics.medians(groups)), groups)


def _fit(points: tuple[Point, ...]) -> Fit | None:
    if len({point.size for point in points}) < LEAST:
        return None
    return statistics.fit([(point.size, point.groups) for point in points])
