"""Captum's ledger: every method at every built-in problem meets its reference or its variant; findings reproduce."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from camzoo_adapters.captum import backend
from conftest import require
from reproductions import run_here

from camzoo.conformance import attributions, reference
from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences.captum import ENTRIES, OPTIONS
from camzoo.conformance.stands import MAX_POOLED, RECTIFIED, STANDS, STRAIGHT
from camzoo.conformance.subjects import of_backend
from camzoo.conformance.verdicts import Kind
from camzoo.errors import NotOffered

FINDINGS = Path(__file__).parent.parent / "docs" / "findings"
TOLERANCES = {"torch.float64": 1e-10, "torch.float32": 1e-5}
METHODS = [offer.method for offer in backend.offers]
LEDGER = {entry.method: entry for entry in ENTRIES}
QUICK = (STRAIGHT, MAX_POOLED)


@pytest.fixture(autouse=True)
def library() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        require("captum.attr")


def away(found, wanted) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def wanted(method: str, evidence: Literal, subject):
    if method in attributions.METHODS:
        return attributions.METHODS[method](evidence, **OPTIONS.get(method, {}))
    raw = reference.raw(method, evidence, reference.options(method))
    return reference.staged(raw, subject.stage, subject.resolution, evidence.size)


def errors(method: str, stand) -> list[tuple[float, float, float]]:
    """For each image: away from the reference, away from the variant, allowed; empty where the stand does not suit."""
    subject, problem = of_backend(backend, method, OPTIONS.get(method)), stand.problem()
    found = []
    try:
        maps = subject.maps(stand.problem())
        for index, one in enumerate(maps):
            evidence, values = Literal(problem, index), one.double().numpy()
            error = away(values, wanted(method, evidence, subject))
            residual = away(values, LEDGER[method].variant(evidence)) if method in LEDGER else error
            found.append((error, residual, TOLERANCES[str(maps.dtype)]))
    except NotOffered:
        return []
    return found


def check(method: str, places) -> None:
    found = [one for stand in places for one in errors(method, stand)]
    assert found
    for error, residual, allowed in found:
        assert min(error, residual) <= allowed
        assert method not in LEDGER or residual <= allowed


@pytest.mark.parametrize("method", METHODS)
def test_every_method_meets_its_reference_or_its_variant(method):
    check(method, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_meets_its_reference_or_its_variant_everywhere(method):
    check(method, STANDS)


@pytest.mark.parametrize("method", LEDGER)
def test_every_entry_is_needed(method):
    assert any(error > allowed for stand in (MAX_POOLED, RECTIFIED) for error, _, allowed in errors(method, stand))


def test_every_method_has_a_reference():
    assert set(METHODS) == (set(attributions.METHODS) - {"sess"}) | (set(METHODS) & set(reference.METHODS))
    assert not set(attributions.METHODS) & set(reference.METHODS)
    assert set(OPTIONS) <= set(METHODS)
    assert len(LEDGER) == len(ENTRIES)


def test_entries_are_of_this_library_and_errors_have_a_page():
    for entry in ENTRIES:
        assert entry.backend == "captum"
        assert entry.method in METHODS
        assert entry.versions == "==0.9.0"
        assert ".py:" in entry.why
        assert (entry.kind is Kind.ERROR) == bool(entry.finding)


@pytest.mark.checkout
def test_every_error_has_its_page_and_every_page_its_reproduction():
    pages = {page.stem for page in FINDINGS.glob("captum-*.md")}
    assert {entry.finding for entry in ENTRIES if entry.finding} <= pages
    assert pages == {script.stem for script in FINDINGS.glob("captum-*.py")}


@pytest.mark.checkout
@pytest.mark.parametrize("script", sorted(FINDINGS.glob("captum-*.py")), ids=lambda script: script.stem)
def test_every_reproduction_shows_its_error(script):
    text = script.read_text()
    assert len(text.splitlines()) < 30
    code, said = run_here(script)
    assert code == 1, said
    assert "should" in said
