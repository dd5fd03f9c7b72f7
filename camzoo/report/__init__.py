"""A Study as one page that opens from disk: maps drawn in the browser by one renderer, and all that made them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib import resources

from jinja2 import Environment, StrictUndefined

from camzoo.conformance.verdicts import Finding
from camzoo.report import contents
from camzoo.study import Study

STYLE, TEMPLATE = "report.css", "template.html"
SCRIPTS = ("numbers.js", "drawing.js", "maps.js", "pair.js", "agreement.js", "page.js")
"""One module, in this order."""


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
    style, script = _read(STYLE), "\n".join(_read(f"scripts/{name}") for name in SCRIPTS)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_read(TEMPLATE)).render(
        contents.said(study, findings),
        carried=contents.carried(study),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # names of files may hold what no text has


def frame(study: Study, height: int = 720) -> str:
    """The report as an element of another page, such as a notebook: a frame that can touch nothing around it.

    Args:
        study: what to show.
        height: of the frame, in pixels.
    """
    page = escape(html(study), quote=True)
    style = f"width: 100%; height: {height}px; border: 0"
    return f'<iframe sandbox="allow-scripts allow-downloads" style="{style}" srcdoc="{page}"></iframe>'


def _read(name: str) -> str:
    return resources.files("camzoo.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
