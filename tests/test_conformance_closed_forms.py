"""Closed forms: the twins and camzoo's own methods held to them, exactly where the numbers are whole."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from camzoo import methods, native
from camzoo.conformance import closed_forms, reference, stands, subjects
from camzoo.conformance.closed_forms import BY_HAND, LINEAR, POOLED, by_hand, closed
from camzoo.conformance.evidence import Literal
from camzoo.conformance.inner import NoReference
from camzoo.conformance.reference import raw

NAMES = [method.name for method in methods.TABLE]
BY_STAND = {stand.name: stand for stand in (stands.POOLED, stands.STRAIGHT, stands.WHOLE)}
EXACT = ["gradcam", "counterfactual-gradcam", "shapleycam", "hirescam", "gradcam-elementwise", "layercam"]


@cache
def problem(stand: str):
    return BY_STAND[stand].problem()


def literals(stand: str) -> list[Literal]:
    return [Literal(problem(stand), index) for index in range(len(problem(stand).images))]


def away(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def applies(method: str, stand: str) -> bool:
    if stand == "straight":
        return method in LINEAR or (method in BY_HAND and "guided" not in method)
    return method in BY_HAND or (stand == "pooled" and method in POOLED)


CASES = [(method, stand) for method in NAMES for stand in BY_STAND if applies(method, stand)]


@pytest.mark.parametrize(("method", "stand"), CASES)
def test_camzoo_and_the_twins_meet_the_closed_forms(method, stand):
    ours = subjects.of_backend(native.backend, method, reference.options(method)).maps(problem(stand)).numpy()
    for one, found in zip(literals(stand), ours, strict=True):
        wanted = closed(method, one)
        assert wanted
        for each in wanted.values():
            assert away(found, each) <= 1e-12
            assert away(raw(method, one, reference.options(method)), each) <= 1e-12


@pytest.mark.parametrize("method", EXACT)
def test_whole_numbers_are_met_exactly(method):
    """Sums of whole numbers, and their quotient by 32 cells: nothing is rounded, in whatever order they are added."""
    ours = subjects.of_backend(native.backend, method).maps(problem("whole")).numpy()
    for one, found in zip(literals("whole"), ours, strict=True):
        wanted = closed(method, one)["by hand"]
        assert (wanted * 32 == np.round(wanted * 32)).all()
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(raw(method, one), wanted)


@pytest.mark.slow
def test_batchnorm_and_two_rectifiers_by_hand():
    one = Literal(stands.RECTIFIED.problem(), 0)
    net = by_hand(one)
    np.testing.assert_allclose(net.y, one.y, rtol=1e-12)
    for method, form in BY_HAND.items():
        assert away(raw(method, one), form(net)) <= 1e-12


def test_all_methods_are_one_where_average_pooling_follows():
    (one, _) = literals("pooled")
    maps = [closed(method, one)["pooled"] * 6 * 8 for method in ("gradcam", "hirescam", "xgradcam", "shapleycam")]
    for each in maps:
        np.testing.assert_allclose(each, closed("cam", one)["pooled"], atol=1e-12)


def test_which_arguments_apply():
    pooled, straight, whole = (literals(stand)[0] for stand in BY_STAND)
    assert set(closed("gradcam", pooled)) == {"by hand", "pooled"}
    assert set(closed("gradcam", straight)) == {"by hand"}
    assert set(closed("ablationcam", straight)) == {"linear"}
    assert closed("ablationcam", whole) == closed("scorecam", whole) == closed("cam", whole) == {}
    assert closed("guided-backprop", straight) == closed("eigencam", pooled) == {}
    assert closed("gradcam", Literal(stands.SMOOTH.problem(), 0)) == {}
    assert closed("gradcam", Literal(stands.TRANSFORMER.problem(), 0)) == {}


@pytest.mark.parametrize(("method", "stand"), CASES)
def test_a_closed_form_is_of_this_class(method, stand):
    one = literals(stand)[0]
    other = Literal(replace(one.problem, classes=tuple((c + 1) % 5 for c in one.problem.classes)), 0)
    for argument, wanted in closed(method, one).items():
        assert away(closed(method, other)[argument], wanted) > 1e-3


def test_an_image_too_large_to_be_written_out_is_refused(monkeypatch):
    monkeypatch.setattr(closed_forms, "MOST", 3 * 12 * 16 - 1)
    with pytest.raises(NoReference):
        by_hand(literals("pooled")[0])


def test_a_layer_as_a_matrix():
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    before = layer.weight.dtype
    (weight, bias), shape = closed_forms.as_matrix(layer, (2, 5, 4))
    values = torch.randn(2, 5, 4, dtype=torch.float64)
    wanted = layer.double()(values[None])[0]
    assert (before, shape) == (torch.float32, (3, 3, 2))
    np.testing.assert_allclose(weight @ values.numpy().ravel() + bias, wanted.detach().numpy().ravel(), atol=1e-12)


def test_the_forms_are_of_methods_that_there_are():
    assert {*BY_HAND, *POOLED, *LINEAR} <= set(NAMES)
