"""The page of findings: every cell is in it, every difference is explained under it, text from outside is escaped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from camzoo import backends
from camzoo.conformance import known_differences
from camzoo.conformance.page import page
from camzoo.conformance.verdicts import Finding, Kind, Verdict

ENVIRONMENT = {"date": "2026-01-02T03:04:05", "versions": {"torch": "9.9"}}
DOCUMENT = Path(__file__).parent.parent / "docs" / "conformance.md"
FINDINGS = [
    Finding("gradcam++", "camzoo", Verdict.AGREES, "raw", 3e-15, 1e-10, problem="pooled"),
    Finding("gradcam++", "torchcam", Verdict.KNOWN, "rectified", 1.5, 1e-10, "why", "pooled", Kind.ERROR, 2e-16),
    Finding("fem", "pytorch-grad-cam", Verdict.KNOWN, "normalised", float("inf"), 1e-5, "", "whole", Kind.ERROR, 0.0),
    Finding("gradcam", "mine", Verdict.NEW, "weights", 0.5, 1e-10, "<script>alert(1)</script>", "pooled"),
    Finding("legrad", "camzoo", Verdict.NOT_OFFERED, reason="no <attention>"),
    Finding("gradcam", "camzoo", Verdict.AGREES, "raw", 0.0, 1e-10, breaches=("in-place: <kept>",)),
]


def test_every_cell_has_its_word():
    text = page(FINDINGS, ENVIRONMENT)
    assert "Checked on 2026-01-02 at the built-in problems, with torch 9.9." in text
    assert "| `gradcam++` | agrees 3e-15 | [differs 1.5](#gradcam-plus-plus-at-torchcam) |  |  |" in text
    assert "| `gradcam` | agrees 0 |  |  | **differs, new** |" in text
    assert "| camzoo | 2 | 0 | 0 | 1 |" in text


def test_every_difference_is_explained_with_its_figure():
    text = page(FINDINGS, ENVIRONMENT)
    entry = known_differences.find("gradcam++", "torchcam")
    assert f"](findings/{entry.finding}.md)" in text
    assert entry.why in text
    assert 'id="gradcam-plus-plus-at-torchcam"' in text
    assert "by 1.5 of its largest value (rectified, at *pooled*); with what is named here 2e-16." in text
    assert "which is zero (normalised, at *whole*)" in text
    assert "## Not explained" in text


def test_text_from_outside_is_escaped():
    text = page(FINDINGS, ENVIRONMENT)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "no &lt;attention&gt;" in text
    assert "in-place: &lt;kept&gt; (`gradcam@camzoo`)" in text


@pytest.mark.checkout
def test_the_published_page_has_every_cell_and_every_entry():
    text = DOCUMENT.read_text()
    for backend in backends.found().values():
        for offer in backend.offers:
            assert f"| `{offer.method}` |" in text, "run `make conformance`"
    for entry in known_differences.LEDGER:
        assert entry.why in text, f"run `make conformance`: {entry.method}@{entry.backend}"
    assert "differs, new" not in text.partition("## The matrix")[2]


@pytest.mark.checkout
def test_the_published_page_leads_to_pages_that_are_there():
    text = DOCUMENT.read_text()
    names = {part.split(".md")[0] for part in text.split("](findings/")[1:]}
    index = (DOCUMENT.parent / "findings" / "README.md").read_text()
    assert {path.name for path in (DOCUMENT.parent / "findings").glob("*-*.md")} == set(
        re.findall(r"\]\(([\w-]+\.md)\)", index)
    )
    assert len(names) > 10
    for name in names:
        assert (DOCUMENT.parent / "findings" / f"{name}.md").is_file()
