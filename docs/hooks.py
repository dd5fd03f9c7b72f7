"""What MkDocs does here beside its own: folders in the navigation, the table of methods, formulas without scripts."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import formulas

from camzoo import methods

METHODS = "<!-- every method -->"
OUTWARD = re.compile(r"(?<!!)\[([^\]\n]+)\]\((\.\./[^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Writes out the folders in the navigation."""
    config.nav = [_expanded(entry, Path(config.docs_dir)) for entry in config.nav]
    return config


def _expanded(entry: Any, docs: Path) -> Any:
    if isinstance(entry, dict):
        ((title, inner),) = entry.items()
        if isinstance(inner, list):
            return {title: [_expanded(each, docs) for each in inner]}
        return {title: _pages(inner, docs) if inner.endswith("/") else inner}
    return entry


def _pages(folder: str, docs: Path) -> list[str]:
    """The pages of a folder, its README first."""
    names = sorted((path.name for path in (docs / folder).glob("*.md")), key=lambda name: (name != "README.md", name))
    return [f"{folder}{name}" for name in names]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Puts every method's docstring where a page asks for them; what lies outside of the site is named, not linked."""
    folder = posixpath.dirname(page.file.src_uri)

    def told(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[2]))
        return f"{link[1]} (`{path.removeprefix('../')}`)" if path.startswith("../") else link[0]

    return OUTWARD.sub(told, markdown).replace(METHODS, "\n\n".join(map(_block, methods.TABLE)))


def _block(method: methods.Method) -> str:
    path = f"{method.function.__module__}.{method.function.__name__}"
    return f"::: {path}\n    options:\n      heading: {method.name}\n      toc_label: {method.name}"


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Draws formulas: those between dollar signs on every page, those of docstrings in the reference."""
    html = formulas.of_tex(html)
    return formulas.of_docstrings(html) if page.file.src_uri.startswith("reference/") else html
