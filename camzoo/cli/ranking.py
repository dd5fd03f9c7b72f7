"""The tables of a benchmark in the terminal: one for each case, the cheapest first, at the end who has no place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from camzoo.timing.samples import Case, Run
    from camzoo.timing.statistics import Ranked

WIDE = 120
"""Columns of a terminal in which all of a table fits; in fewer the names and the cost keep their room."""
NARROW = ("place", "contender", "forwards [95 %]", "over own", "says")
WHOLE = ("place", "contender", "forwards [95 %]")
"""Columns that are never cut or wrapped."""


def show(run: Run, console: Console) -> None:
    """A table for each case."""
    for case in run.cases:
        console.print(_table(run, case, console.width))


def _table(run: Run, case: Case, width: int) -> Table:
    from camzoo.timing import statistics

    ranked = statistics.ranking(run.of(case))
    rows = [_cells(each, ranked) for each in ranked]
    table = Table(title=_title(case, ranked), title_justify="left", box=None, header_style="bold")
    names = [name for name in rows[0] if any(row[name] for row in rows) and (width >= WIDE or name in NARROW)]
    for name in names:
        title = "" if name in ("place", "says") else name
        table.add_column(title, no_wrap=name in WHOLE, overflow="fold")
    for row in rows:
        table.add_row(*(escape(row[name]) for name in names))
    return table


def _title(case: Case, ranked: Sequence[Ranked]) -> str:
    """What was done, with the layer that the rule chose."""
    layer = next((each.row.layer for each in ranked if each.row.layer), "")
    return escape(case.name if case.layer or not layer else f"{case.name}, layer {layer}")


def _cells(ranked: Ranked, among: Sequence[Ranked]) -> dict[str, str]:
    """The cells of one row, by column."""
    from camzoo.timing import words

    row, counts = ranked.row, ranked.row.counts
    return {
        "place": str(ranked.place or ""),
        "contender": row.contender,
        **_times(ranked),
        "over own": _over_own(ranked, among),
        "memory": words.size(row.peak_bytes) if row.peak_bytes is not None else "",
        "passes": f"{counts.forwards}+{counts.backwards}" if counts else "",
        "distance": words.error(row.distance) if row.distance is not None else "",
        "says": ranked.why or (f"tie: {', '.join(ranked.ties)}" if ranked.ties else ""),
    }


def _times(ranked: Ranked) -> dict[str, str]:
    from camzoo.timing import words

    summary = ranked.summary
    cost = words.cost(summary) + ("*" if summary.noisy else "") if summary else ""
    times = (summary.seconds, summary.device_seconds, summary.first) if summary else (None,) * 3
    said = ("" if each is None else words.seconds(each) for each in times)
    return {"forwards [95 %]": cost, **dict(zip(("seconds", "device time", "first"), said, strict=True))}


def _over_own(ranked: Ranked, among: Sequence[Ranked]) -> str:
    """How many times as much as camzoo's own, by paired ratios within each round, where both have a place."""
    from camzoo import native
    from camzoo.timing import comparing, statistics, words

    own = comparing.reference(ranked.row, [each.row for each in among if each.place])
    if ranked.row.backend == native.NAME or not ranked.place or not own:
        return ""
    ratio = statistics.paired(ranked.row, own)
    return words.ratio(ratio) if ratio else ""
