"""A template, its style and its scripts as one page that opens from disk, under a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

BASE_STYLE, BASE_SCRIPT = "base.css", "common.js"


def page(package: str, template: str, styles: Sequence[str], scripts: Sequence[str], **said: Any) -> str:
    """One page that needs no server and no network, and nothing beside it.

    Whatever came from outside, such as names of files and labels, is escaped; a policy in the page lets the browser run
    no script but the page's own, and load nothing.

    Args:
        package: where template, styles and scripts lie; `BASE_STYLE` and `BASE_SCRIPT` come before its own.
        template: file name; it is given `style`, `script` and their hashes beside what is said.
        styles: file names, in order.
        scripts: file names in the folder `scripts`, which become one module in this order.
        **said: what the template shows.

    Returns:
        The text of an HTML file, to be written in UTF-8.
    """
    style = "\n".join([_read(__package__, BASE_STYLE), *(_read(package, name) for name in styles)])
    script = "\n".join(
        [_read(__package__, f"scripts/{BASE_SCRIPT}"), *(_read(package, f"scripts/{name}") for name in scripts)]
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(_read(package, template)).render(
        **said, style=style, script=script, style_hash=_hash(style), script_hash=_hash(script)
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # names of files may hold what no text has


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
