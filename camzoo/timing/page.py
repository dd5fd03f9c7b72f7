"""Runs as a page of Markdown: what costs what, against whom, how it grows, and how far the numbers can be trusted."""

from __future__ import annotations

import html
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from camzoo import native
from camzoo.timing import comparing, rehearsal, scaling, statistics, words
from camzoo.timing.comparing import Kind
from camzoo.timing.samples import Case, Outcome, Row, Run
from camzoo.timing.statistics import Ranked

HEAD = """# What an explanation costs

The unit is one forward pass of the same model on the same images, timed right before and right after each call: 1.07
means 7 % more than the prediction alone. Every figure is a median with its 95 % interval. Only maps that
[the check](conformance.md) finds equal to the paper's are ranked. *(2.7) differs, known*: measured, and not ranked
because it is not the same map. *Too few samples*: fewer than 6, or all of one process. A star: the interquartile range
is above 10 % of the median. A tie: the interval of the ratio covers 1, or the gap is under 3 %.
[How the numbers are taken](../benchmarks/README.md).
"""


@dataclass(frozen=True, slots=True)
class Files:
    """What lies beside the page for one run: paths from the page, the JSON and each figure with its title."""

    json: str = ""
    figures: Mapping[str, str] = field(default_factory=dict)


def page(runs: Sequence[Run], files: Sequence[Files] = ()) -> str:
    """The page.

    Args:
        runs: benchmarks. One whose cases and contenders are all in an earlier one repeats it, and is held against it.
        files: for each run what lies beside the page.
    """
    beside = [*files, *[Files()] * (len(runs) - len(files))]
    shown = [
        (run, files) for number, (run, files) in enumerate(zip(runs, beside, strict=True)) if not _repeats(runs, number)
    ]
    parts = [HEAD]
    for run, near in shown:
        parts += _growth(run, near) if scaling.along(run) else _costs(run, near)
    parts += [_not_ranked([run for run, _ in shown]), _trust(runs), _around(runs)]
    return "\n".join(part.rstrip() + "\n" for part in parts if part)


def _repeats(runs: Sequence[Run], number: int) -> Run | None:
    """The earlier run that this one repeats."""
    asked = _asked(runs[number])
    return next((run for run in runs[:number] if asked and asked <= _asked(run)), None)


def _asked(run: Run) -> set[tuple[Case, str]]:
    return {(row.case, row.contender) for row in run.rows}


def _costs(run: Run, files: Files) -> list[str]:
    """For each kind of work a table of contenders by model, camzoo against each library, and everything in detail."""
    kinds = list(dict.fromkeys(replace(case, model="") for case in run.cases))
    parts = [f"## {_name(run)}\n\n{_made(run, files)}", _figures(files)]
    for kind in kinds:
        cases = [case for case in run.cases if replace(case, model="") == kind]
        ranked = [statistics.ranking(run.of(case)) for case in cases]
        parts += [f"### {_work(kind)}\n", _matrix(cases, ranked), _against(cases, ranked)]
        parts += [_detail(case, rows) for case, rows in zip(cases, ranked, strict=True)]
    return parts


def _matrix(cases: Sequence[Case], ranked: Sequence[Sequence[Ranked]]) -> str:
    cells = [{each.row.contender: _cost(each) for each in rows} for rows in ranked]
    names = list(dict.fromkeys(each.row.contender for rows in ranked for each in rows))
    return _table(
        ["forward passes", *(_text(case.model) for case in cases)],
        [[_code(name), *(column.get(name, "") for column in cells)] for name in names],
    )


def _cost(ranked: Ranked) -> str:
    if ranked.summary is None:
        return str(ranked.row.outcome)
    noisy = "\\*" if ranked.summary.noisy else ""
    if ranked.place is None:
        why = ranked.why.partition(":")[0]
        return f"({words.number(ranked.summary.forwards.middle)}{noisy}) {_text(why)}"
    return words.interval(ranked.summary.forwards) + noisy


def _against(cases: Sequence[Case], ranked: Sequence[Sequence[Ranked]]) -> str:
    """Paired ratios of the libraries to camzoo, where both are ranked."""
    ratios: dict[str, dict[Case, statistics.Interval]] = {}
    for case, rows in zip(cases, ranked, strict=True):
        good = [each.row for each in rows if each.place]
        for row in good:
            own = comparing.reference(row, good)
            if row.backend != native.NAME and own and (ratio := statistics.paired(row, own)):
                ratios.setdefault(row.contender, {})[case] = ratio
    if not ratios:
        return ""
    lines = [
        [_code(name), *(words.ratio(found[case]) if case in found else "" for case in cases)]
        for name, found in ratios.items()
    ]
    table = _table(["over camzoo's own", *(_text(case.model) for case in cases)], lines)
    return f"How many times as much as camzoo's own, by paired ratios within each round:\n\n{table}\n{_sums(ratios)}"


def _sums(ratios: Mapping[str, Mapping[Case, statistics.Interval]]) -> str:
    """For each library in how many pairs camzoo costs less, and the middle of the ratios."""
    by_library: dict[str, list[statistics.Interval]] = {}
    for name, found in ratios.items():
        by_library.setdefault(name.rpartition("@")[2], []).extend(found.values())
    lines = []
    for library, pairs in sorted(by_library.items()):
        ties = sum(map(statistics.tie, pairs))
        less = sum(not statistics.tie(pair) and pair.middle > 1 for pair in pairs)
        middle = words.number(float(np.median([pair.middle for pair in pairs])))
        tied = f"{ties} {'is a tie' if ties == 1 else 'are ties'}"
        lines.append(
            f"- {_code(library)}: of {len(pairs)} pairs camzoo costs less in {less} and more in "
            f"{len(pairs) - less - ties}, {tied}; the median ratio is {middle}."
        )
    return "\n".join(lines) + "\n"


def _detail(case: Case, ranked: Sequence[Ranked]) -> str:
    head = ["place", "contender", "forward passes", "quartiles", "p95", "time", "device time", "first call", "samples"]
    head += ["forwards", "images", "tail rows", "backwards", "syncs", "copied", "flops", "peak memory", "distance"]
    head, *lines = words.filled("device time", head, [_line(each) for each in ranked])
    table = _table(head, lines)
    layer = next((each.row.layer for each in ranked if each.row.layer), "")
    units = [each.summary.forward for each in ranked if each.summary]
    unit = f"; a forward pass takes {words.seconds(float(np.median(units)))}" if units else ""
    at = f", layer {_text(layer)}" if layer and not case.layer else ""
    summary = f"{_text(case.name)}{at}: every figure{unit}"
    return f"<details><summary>{summary}</summary>\n\n{table}\n</details>\n"


def _line(ranked: Ranked) -> list[str]:
    row, found, counts = ranked.row, ranked.summary, ranked.row.counts
    timed, counted = [""] * 7, [""] * 7
    if found:
        low, high = map(words.number, found.quartiles)
        on_device, first = ("" if each is None else words.seconds(each) for each in (found.device_seconds, found.first))
        timed = [words.cost(found) + ("\\*" if found.noisy else ""), f"{low} to {high}"]
        timed += [words.number(found.p95), words.seconds(found.seconds), on_device, first]
        timed += [f"{found.count} in {found.processes}"]
    if counts:
        flops = words.number(counts.flops / counts.flops_of_forward) if counts.flops_of_forward else ""
        counted = [f"{n:,}" for n in (counts.forwards, counts.images, counts.tail_rows, counts.backwards)]
        counted += [f"{counts.synchronisations:,}", words.size(counts.copied_bytes), flops]
    held = words.size(row.peak_bytes) if row.peak_bytes is not None else ""
    away = words.error(row.distance) if row.distance is not None else ""
    place = str(ranked.place) if ranked.place else str(row.outcome) if row.outcome is not Outcome.OK else "not ranked"
    return [place, _code(row.contender), *timed, *counted, held, away]


def _growth(run: Run, files: Files) -> list[str]:
    """The exponents of everything that was measured at several sizes."""
    parts = [f"## {_name(run)}\n\n{_made(run, files)}", _figures(files)]
    label = scaling.label(run)
    lines = scaling.lines(run)
    for case in dict.fromkeys(line.case for line in lines):
        of_case = [line for line in lines if line.case == case]
        sizes = sorted({size for line in of_case for size in _sizes(line)})
        head = [_text(label), *(f"{size:g}" for size in sizes), "exponent", "away from the line"]
        parts += [
            f"### {_work(case, scaling.along(run) or '')}\n",
            _table(head, [_sized(line, sizes) for line in of_case]),
        ]
    parts.append(
        "Seconds of a call, and the exponent b of seconds ~ size^b, fitted to the medians by least squares of the "
        "logarithms; its interval is what the noise of the medians leaves, the last column how far the farthest median "
        "is from the line.\n"
    )
    return parts


def _sizes(line: scaling.Line) -> list[float]:
    return [point.size for point in line.points] + [size for size, _ in line.missing]


def _sized(line: scaling.Line, sizes: Sequence[float]) -> list[str]:
    cells = {point.size: words.seconds(point.seconds.middle) for point in line.points}
    cells |= {size: _text(why.partition(":")[0]) for size, why in line.missing}
    fit = [words.interval(line.fit.exponent), f"{line.fit.misfit:.0%}"] if line.fit else ["", ""]
    name = line.name if line.name == scaling.FORWARD else _code(line.name)
    return [name, *(cells.get(size, "") for size in sizes), *fit]


def _not_ranked(runs: Sequence[Run]) -> str:
    """Who is not ranked, why, and where: nothing is left out."""
    where: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for row in run.rows:
            if why := statistics.why_not_ranked(row):
                where.setdefault((row.contender, why), []).append(row.case.name)
    if not where:
        return ""
    lines = [f"- {_code(name)}: {_text(why)} ({_where(cases)})" for (name, why), cases in sorted(where.items())]
    return "## Not ranked, and why\n\n" + "\n".join(lines) + "\n"


def _where(cases: Sequence[str], most: int = 2) -> str:
    named = "; ".join(_text(case) for case in cases[:most])
    return named if len(cases) <= most else f"{named}; and {len(cases) - most} more"


def _trust(runs: Sequence[Run]) -> str:
    """How much noise there was, how often a comparison would be wrong, and what a repetition says."""
    parts = ["## How far these numbers can be trusted\n"]
    for number, run in enumerate(runs):
        if earlier := _repeats(runs, number):
            parts.append(_repeated(earlier, run))
        else:
            parts += [_noise(run), _rates(run)]
    return "\n".join(part for part in parts if part)


def _noise(run: Run) -> str:
    rows = [row for row in run.rows if row.samples]
    measured = [statistics.summary(row) for row in rows]
    if not measured:
        return ""
    noisy = sum(found.noisy for found in measured)
    refused = sum(found.noise > statistics.REFUSED for found in measured)
    return (
        f"- {_name(run)}: {len(measured)} of {len(run.rows)} rows were measured. The interquartile range is above 10 % "
        f"of the median in {noisy} of them, and above 25 %, so that no place is given, in {refused}."
        f"{_warmth(rows)}"
    )


def _warmth(rows: Sequence[Row]) -> str:
    """How rows were warmed up before the clock ran."""
    calls = [count for row in rows for count in row.warmups]
    if not calls:
        return ""
    return (
        f" Before the clock ran there were {np.median(calls):.0f} calls after the first, {max(calls)} at the most; in "
        f"{sum(row.unsettled for row in rows)} of {len(rows)} rows they never became alike."
    )


def _rates(run: Run) -> str:
    rates = rehearsal.rehearsed(run)
    if rates is None:
        return "  There is no noise to rehearse a comparison with: no ranked row has samples of two processes."
    alarms, noticed, overlaps = (
        f"{count} ({count / rates.pairs:.1%})" for count in (rates.false_alarms, rates.noticed, rates.overlaps)
    )
    return (
        f"  `camzoo bench --compare`, rehearsed on {rates.pairs} pairs of made-up runs with the noise of this one "
        f"(processes {rates.processes:.1%} apart, rounds {rates.rounds:.1%}): the false alarms, unchanged rows called "
        f"slower or faster, are {alarms}; a slowdown of {rates.slowdown - 1:.0%} was found in {noticed}; the intervals "
        f"of two runs overlapped in {overlaps}. Here {rehearsal.sensitivity(run)}."
    )


def _repeated(one: Run, other: Run) -> str:
    agree, both = comparing.overlap(one, other)
    kinds = Counter(change.kind for change in comparing.compare(one, other) if change.kind is not Kind.ONLY_OLD)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    unlike = comparing.differences(one, other)
    made = f" The two were not made alike: {_text('; '.join(unlike))}." if unlike else ""
    share = f" ({agree / both:.1%})" if both else ""
    return (
        f"- {_name(one)}, run twice: the intervals of {agree} of {both} paired ratios{share} have something in common. "
        f"By `camzoo bench --compare`: {told}.{made}"
    )


def _around(runs: Sequence[Run]) -> str:
    """What each run was made with."""
    parts = ["## What it was measured with\n"]
    for run in runs:
        lines = [f"- {_text(name)}: {_text(_plain(value))}" for name, value in _flat(run.environment) if value != ""]
        title = f"{_name(run)}, {_text(str(run.environment.get('date', 'no date'))[:10])}"
        parts.append(f"<details><summary>{title}</summary>\n\n" + "\n".join(lines) + "\n\n</details>\n")
    return "\n".join(parts)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}: ")
        else:
            yield f"{above}{name}", value


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _name(run: Run) -> str:
    """The scenario's title, if it is one, and device and machine."""
    devices = ", ".join(dict.fromkeys(case.device for case in run.cases))
    machine = run.environment.get("device") if devices != "cpu" else run.environment.get("cpu")
    where = f"{devices} ({machine})" if machine and machine != devices else devices
    title = run.environment.get("scenario", {}).get("title")
    return _text(f"{title}: {where}" if title else where)


def _made(run: Run, files: Files) -> str:
    """The command line and the JSON of what stands below."""
    record = f", [raw samples]({files.json})" if files.json else ""
    cut = "" if run.finished else " It was interrupted: what is missing is missing."
    return f"Made by {_code(run.command)}{record}.{cut}\n"


def _figures(files: Files) -> str:
    return "\n".join(f"![{_text(title)}]({path})\n" for title, path in files.figures.items())


def _work(case: Case, along: str = "") -> str:
    """A case in words, without its model where that is left out."""
    parts = [case.model, f"{case.weights} weights" if case.weights == "random" else "", case.layer or ""]
    parts += [f"{case.batch} image{'s'[: case.batch != 1]} at a time" if along != "batch" else ""]
    parts += [f"{case.size} x {case.size} pixels" if along != "size" else "", case.dtype]
    parts += ["channels-last" if case.channels_last else "", case.device]
    parts += ["map on the device" if case.scope == "map" else "full-size array on the host"]
    text = _text(", ".join(part for part in parts if part))
    return text[0].upper() + text[1:]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in itertools.chain([head, rule], lines)) + "\n"


def _text(text: str) -> str:
    """A text from outside on one line of Markdown: no tag, no link, no new column."""
    return re.sub(r"([|\[\]`*_\\])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _code(text: str) -> str:
    """A name as code."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
