"""Findings as a page of Markdown: the matrix of method by library, and under it each difference explained."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camzoo.conformance import known_differences
from camzoo.conformance.verdicts import Finding, Kind, Verdict

WORDS = {
    Verdict.AGREES: "agrees",
    Verdict.KNOWN: "differs",
    Verdict.NEW: "**differs, new**",
    Verdict.BREAKS: "**breaks a promise**",
    Verdict.NOT_OFFERED: "not on these models",
    Verdict.NOT_INSTALLED: "not installed",
    Verdict.FAILED: "**failed**",
}
KINDS = {
    Kind.ERROR: "Errors: the code does not do what its paper or docstring says",
    Kind.DEFINITION: "Other definitions: legitimate, and not the one of the same name elsewhere",
    Kind.DETAIL: "Other numerical details: an epsilon, an interpolation, the source of noise",
}
HEAD = """# What each library computes

Written by `camzoo check`: every method of every library, held to two oracles that are independent of camzoo's own fast
code: literal float64 twins of the papers' equations, and closed forms on networks whose maps can be done on paper.
camzoo's own methods are held to the same.

*agrees*: equal to the reference at the earliest stage that the library gives, to the precision of its dtype (1e-10 of
the largest value in float64, 1e-5 in float32). *differs*: away from it, and the reason is known to the digit: a variant
of the method with that one change gives the library's own number to the same precision. An empty cell: the library
does not have the method. Every error has a page with a minimal reproduction: [findings](findings/README.md).
"""


def page(findings: Sequence[Finding], environment: Mapping[str, Any]) -> str:
    """The page.

    Args:
        findings: one for each `method@backend`.
        environment: with the `versions` of what was checked, and the `date`.
    """
    parts = [HEAD, _versions(environment), _summary(findings), _matrix(findings)]
    parts += [
        _section(title, [f for f in findings if f.verdict is Verdict.KNOWN and f.kind is kind])
        for kind, title in KINDS.items()
    ]
    bad = [finding for finding in findings if not finding.verdict.good]
    parts.append(_section("Not explained", bad))
    parts.append(_breaches(findings))
    parts.append(_elsewhere([f for f in findings if f.verdict is Verdict.NOT_OFFERED]))
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def save(findings: Sequence[Finding], environment: Mapping[str, Any], folder: Path) -> Path:
    """Writes the page into a folder beside the record."""
    path = folder / "conformance.md"
    path.write_text(page(findings, environment), encoding="utf-8")
    return path


def _versions(environment: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    at = html.escape(str(environment.get("checked_at", "the built-in problems")))
    return f"Checked on {str(environment.get('date', ''))[:10]} at {at}, with {listed}.\n"


def _summary(findings: Sequence[Finding]) -> str:
    """Libraries by verdict, counted."""
    backends = list(dict.fromkeys(finding.backend for finding in findings))
    verdicts = [verdict for verdict in Verdict if any(finding.verdict is verdict for finding in findings)]
    lines = ["| | " + " | ".join(verdicts) + " |", "|---|" + "---:|" * len(verdicts)]
    for backend in backends:
        own = [finding.verdict for finding in findings if finding.backend == backend]
        lines.append(f"| {backend} | " + " | ".join(str(own.count(verdict)) for verdict in verdicts) + " |")
    return "\n".join(lines) + "\n"


def _matrix(findings: Sequence[Finding]) -> str:
    backends = list(dict.fromkeys(finding.backend for finding in findings))
    cells = {(finding.method, finding.backend): finding for finding in findings}
    lines = ["| method | " + " | ".join(backends) + " |", "|---|" + "---|" * len(backends)]
    for method in sorted({finding.method for finding in findings}):
        texts = [_cell(cells.get((method, backend))) for backend in backends]
        lines.append(f"| `{method}` | " + " | ".join(texts) + " |")
    return "## The matrix\n\n" + "\n".join(lines) + "\n"


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return ""
    text = WORDS[finding.verdict]
    if finding.verdict is Verdict.AGREES:
        return f"{text} {_number(finding.error)}"
    if finding.verdict is Verdict.KNOWN:
        return f"[{text} {_number(finding.error)}](#{_anchor(finding)})"
    return text


def _section(title: str, findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    return f"## {title}\n\n" + "\n".join(_explained(finding) for finding in findings)


def _explained(finding: Finding) -> str:
    """One difference with its figures."""
    lines = [f'### <a id="{_anchor(finding)}"></a>`{finding.name}`', ""]
    entry = known_differences.find(finding.method, finding.backend)
    if finding.verdict is Verdict.KNOWN and entry:
        lines += [_sentence(entry.what), "", f"Where: {entry.why}"]
        lines += ["", f"Reproduction: [{entry.finding}](findings/{entry.finding}.md)"] if entry.finding else []
        lines += ["", f"Upstream: <{entry.issue}>"] if entry.issue else []
        residual = f"; with what is named here {_number(finding.residual)}"
    else:
        lines += [html.escape(finding.reason)]
        residual = ""
    if finding.error is not None and (finding.verdict is Verdict.KNOWN or math.isfinite(finding.error)):
        where = f"({finding.stage}, at *{finding.problem}*)"
        by = f"by {_number(finding.error)} of its largest value" if math.isfinite(finding.error) else "which is zero"
        away = f"Away from the reference, {by} {where}{residual}."
        lines += ["", away]
    return "\n".join([*lines, ""])


def _breaches(findings: Sequence[Finding]) -> str:
    """Promises that are known to be broken, each with those who break it."""
    who: dict[str, list[str]] = {}
    for finding in findings:
        for breach in finding.breaches:
            who.setdefault(breach, []).append(f"`{finding.name}`")
    if not who:
        return ""
    lines = [f"- {html.escape(breach)} ({', '.join(names)})" for breach, names in sorted(who.items())]
    return "## Promises that are known to be broken\n\n" + "\n".join(lines) + "\n"


def _elsewhere(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    lines = [f"- `{finding.name}`: {html.escape(finding.reason)}" for finding in findings]
    return "## Not offered on the built-in problems\n\n" + "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _anchor(finding: Finding) -> str:
    return finding.name.replace("++", "-plus-plus").replace("@", "-at-")


def _number(value: float | str | None) -> str:
    """One digit is enough to see an order of magnitude; what is exact is 0."""
    if value is None:
        return ""
    if not math.isfinite(float(value)):
        return "from zero"
    return "0" if value == 0 else f"{float(value):.0e}" if float(value) < 0.01 else f"{float(value):.2g}"
