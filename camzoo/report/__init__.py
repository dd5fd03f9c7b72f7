"""A Study as one page that opens from disk: maps drawn in the browser by one renderer, and all that made them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from camzoo.conformance.verdicts import Finding
from camzoo.report import contents, filling
from camzoo.study import Study

SCRIPTS = ("numbers.js", "drawing.js", "maps.js", "pair.js", "agreement.js", "page.js")


def html(study: Study, findings: Sequence[Finding] | None = None) -> str:
    """The report: one page that needs no server and no network, and nothing beside it.

    Whatever came from outside, such as names of files and labels, is escaped; a policy in the page lets the browser run
    no script but the report's own, and load nothing.

    Args:
        study: what to show.
        findings: of a check, for the verdict beside each method; None where there was none.

    Returns:
        The text of an HTML file, to be written in UTF-8.
    """
    said = {**contents.said(study, findings), "carried": contents.carried(study)}
    return filling.page(__name__, "template.html", ["report.css"], SCRIPTS, **said)


def frame(study: Study, height: int = 720) -> str:
    """The report as an element of another page, such as a notebook: a frame that can touch nothing around it.

    Args:
        study: what to show.
        height: of the frame, in pixels.
    """
    page = escape(html(study), quote=True)
    style = f"width: 100%; height: {height}px; border: 0"
    return f'<iframe sandbox="allow-scripts allow-downloads" style="{style}" srcdoc="{page}"></iframe>'
