"""The pages of docs/ run as they stand, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import require

pytestmark = pytest.mark.checkout
DOCS = Path(__file__).parent.parent / "docs"


def code(page: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL))


def test_other_frameworks():
    jax = require("jax")
    names: dict = {}
    exec(code("other-frameworks.md"), names)
    assert isinstance(names["raw"], jax.Array)
    assert names["raw"].shape == (2, 8, 12)
    assert names["shown"].shape == (2, 32, 48)
    assert float(names["shown"].max()) <= 1


def test_every_page_is_run():
    run = set(re.findall(r'code\("([^"]+)"\)', Path(__file__).read_text()))
    assert {page.name for page in DOCS.glob("*.md") if "```python" in page.read_text()} <= run
