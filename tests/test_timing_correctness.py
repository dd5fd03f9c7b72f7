"""Correct first: the check's verdict, and the map on the bench's own case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import racing
import torch
from conftest import seeded

from camzoo.problems import pose
from camzoo.timing import contenders, correctness
from camzoo.timing.correctness import Judgement, Yardstick
from camzoo.timing.samples import Scope

AGREES = Judgement("agrees")


@pytest.fixture(scope="module")
def problem():
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    return pose(racing.net().eval(), images, "last_act")


@pytest.fixture(scope="module")
def yardstick(problem):
    return Yardstick(problem)


def judged(name, yardstick, scope=Scope.ARRAY, images=2, said=AGREES, spoil=None):
    contender = contenders.parse(name)
    with contenders.lent(contender, yardstick.problem, scope) as work:
        found = work()
    return yardstick.judge(said, contender, scope, spoil(found) if spoil else found, images)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("gradcam", "agrees"),
        ("gradcam++@torchcam", "differs, known"),
        ("racing:gradcam=gradcam", "agrees"),
        ("racing:wrong=gradcam", "agrees"),  # at small networks
        ("racing:gradcam=layercam", "differs, new"),
        ("racing:broken=gradcam", "failed"),
        ("layercam@pytorch-grad-cam(eigen_smooth=True)", None),
    ],
)
def test_the_verdict_of_the_check(name, verdict):
    if verdict is None:  # a library with options is checked at its defaults
        name, verdict = "layercam(eigen_smooth=True)@pytorch-grad-cam", "agrees"
    found = correctness.of_check(contenders.parse(name))
    assert found.verdict == verdict
    assert bool(found.verdict_reason) == (verdict != "agrees")


def test_the_whole_check_tries_the_promises_too(monkeypatch):
    asked = []
    monkeypatch.setattr(correctness.check, "of_computation", lambda *given: asked.append(given) or racing_finding())
    for full in (False, True):
        correctness.of_check(contenders.parse("gradcam"), full)
    assert [len(stands) for _, stands, _, _ in asked] == [3, 7]
    assert [bool(held) for _, _, held, _ in asked] == [False, True]


def racing_finding():
    from camzoo.conformance.verdicts import Finding, Verdict

    return Finding("gradcam", "camzoo", Verdict.AGREES)


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(
    "name", ["gradcam", "gradcam@captum", "gradcam@torchcam", "eigencam", "racing:gradcam=gradcam"]
)
def test_a_right_map_agrees(name, scope, yardstick):
    found = judged(name, yardstick, scope)
    assert found.verdict == "agrees"
    assert found.distance < 1e-5
    assert found.reference == "camzoo's own map in float64"


def test_a_right_map_on_the_pixels_agrees(yardstick):
    found = judged("gradcam@pytorch-grad-cam", yardstick)
    assert (found.verdict, found.distance < 1e-5) == ("agrees", True)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_map_that_is_wrong_on_the_case_is_found(scope, yardstick):
    found = judged("racing:wrong=gradcam", yardstick, scope)
    assert found.verdict == "differs, new"
    assert found.distance > 0.1
    assert "agrees at small networks; here its map is" in found.verdict_reason


def test_a_library_whose_options_change_the_map_is_found(yardstick):
    found = judged("layercam(eigen_smooth=True)@pytorch-grad-cam", yardstick)
    assert found.verdict == "differs, new"


@pytest.mark.parametrize(
    "spoil", [lambda found: found[:, :-1], lambda found: found * np.nan, lambda found: 0.999 * found]
)
def test_another_shape_not_finite_or_a_little_off_is_wrong(spoil, yardstick):
    found = judged("gradcam", yardstick, spoil=spoil)
    assert found.verdict == "differs, new"


def test_one_wrong_image_of_a_batch_is_enough(yardstick):
    def spoil(found):
        return np.stack([found[0], found[1][::-1]])

    assert judged("gradcam", yardstick, spoil=spoil).verdict == "differs, new"


def test_what_differs_already_keeps_its_verdict_and_has_a_distance(yardstick):
    said = Judgement("differs, known", "an epsilon")
    found = judged("gradcam++@torchcam", yardstick, said=said)
    assert (found.verdict, found.verdict_reason) == ("differs, known", "an epsilon")
    assert found.distance > 1e-3


def test_what_runs_the_model_often_is_held_to_the_dtype_of_the_case(yardstick):
    found = judged("gradcam@captum", yardstick, images=129)
    assert found.reference == "camzoo's own map in float32 (more than 64 forward passes of each image)"
    assert found.distance < 1e-5


def test_camzoo_is_not_held_to_itself(yardstick):
    found = judged("gradcam", yardstick, images=129)
    assert found.distance is None
    assert found.reference.startswith("none: it is camzoo's own map")


def test_a_method_that_camzoo_does_not_have_has_no_reference(yardstick):
    found = judged("layer-activation@captum", yardstick, said=AGREES)
    assert (found.verdict, found.distance) == ("agrees", None)
    assert found.reference == "none: camzoo has no layer-activation"


def test_a_map_that_says_nothing_is_no_reference(problem):
    silent = racing.net().eval()
    torch.nn.init.zeros_(silent.head.weight)
    found = judged("gradcam@captum", Yardstick(replace(problem, model=silent)))
    assert found.distance is None
    assert "all zero" in found.reference


def test_half_precision_is_given_what_rounding_costs_and_no_more(problem):
    half = replace(problem, model=racing.net().eval().bfloat16(), images=problem.images.bfloat16())
    yardstick = Yardstick(half)
    assert 1e-4 < judged("gradcam@captum", yardstick).distance < 0.1
    assert judged("gradcam@captum", yardstick).verdict == "agrees"
    assert judged("racing:wrong=gradcam", yardstick).verdict == "differs, new"


def test_rounding_of_half_precision_that_is_more_than_is_ranked_is_named(problem, monkeypatch):
    monkeypatch.setattr(correctness, "FARTHEST", 0.0)
    half = Yardstick(replace(problem, model=racing.net().eval().bfloat16(), images=problem.images.bfloat16()))
    found = judged("ablationcam(closed_form=False)", half)
    assert found.distance > 0.01
    assert found.verdict == "differs, known"
    assert "the rounding of bfloat16: computed in it, camzoo's own formula gives its map (" in found.verdict_reason
    assert judged("racing:wrong=gradcam", half).verdict == "differs, new"


def test_single_precision_has_no_such_excuse(problem, monkeypatch):
    monkeypatch.setattr(correctness, "FARTHEST", 0.0)
    monkeypatch.setitem(correctness.LEAST, "float32", 1e-9)
    yardstick = Yardstick(problem)  # the map is camzoo's own in float32 to the last bit, so that only the dtype speaks
    assert judged("gradcam", yardstick, Scope.MAP).verdict == "differs, new"
    monkeypatch.setattr(correctness, "HALF", ("float32",))
    assert judged("gradcam", yardstick, Scope.MAP).verdict == "differs, known"


class Uncopied(racing.Net):
    def __deepcopy__(self, _memo):
        raise TypeError("no copies")


def test_where_the_model_cannot_be_copied_it_is_said(problem):
    yardstick = Yardstick(replace(problem, model=seeded(Uncopied)))
    found = judged("gradcam@captum", yardstick)
    assert found.reference == "camzoo's own map in float32 (copying the model fails: TypeError: no copies)"
    assert found.distance < 1e-5


def test_where_float64_does_not_fit_it_is_said(problem, monkeypatch):
    run = correctness.backends.run

    def short(backend, asked, *given):
        if asked.images.dtype == torch.float64:
            raise torch.OutOfMemoryError("out of memory")
        return run(backend, asked, *given)

    monkeypatch.setattr(correctness.backends, "run", short)
    found = judged("gradcam@captum", Yardstick(problem))
    assert found.reference == "camzoo's own map in float32 (float64 does not fit into memory)"
