"""Contenders by name, and the work that is timed."""

from __future__ import annotations

import numpy as np
import pytest
import racing
import torch

import camzoo
from camzoo.errors import NotInstalled, NotOffered, RequestError
from camzoo.problems import pose
from camzoo.timing import contenders
from camzoo.timing.samples import Scope
from camzoo.types import Backend, Offer, Resolution, Stage


@pytest.fixture(scope="module")
def problem():
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    return pose(racing.net().eval(), images, "last_act")


def done(name, problem, scope):
    with contenders.lent(contenders.parse(name), problem, scope) as work:
        return work()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gradcam", ("gradcam", "gradcam", "camzoo")),
        ("gradcam@captum", ("gradcam@captum", "gradcam", "captum")),
        ("scorecam(top_channels=4)", ("scorecam(top_channels=4)", "scorecam", "camzoo")),
        ("racing:gradcam=gradcam", ("racing:gradcam", "gradcam", "racing:gradcam")),
        ("racing:gradcam=layercam/raw", ("racing:gradcam", "layercam", "racing:gradcam")),
    ],
)
def test_a_name_says_who_and_what(name, expected):
    assert contenders.identity(name) == (name, *expected)
    contender = contenders.parse(name)
    assert (contender.name, contender.method, contender.backend) == expected


def test_a_list_is_expanded_and_each_is_taken_once():
    names = contenders.expand("gradcam@*,gradcam", ["racing:gradcam=gradcam", "racing:gradcam=gradcam"])
    assert names[0] == "gradcam"
    assert names[-1] == "racing:gradcam=gradcam"
    assert "gradcam@captum" in names
    assert len(names) == len(set(names))


def test_own_implementations_can_race_alone():
    assert contenders.expand("", ["racing:gradcam=gradcam"]) == ["racing:gradcam=gradcam"]


@pytest.mark.parametrize(
    ("methods", "owned", "said"),
    [
        ("gradcan", (), "did you mean gradcam"),
        ("", (), "no method is named"),
        ("gradcam", ("racing:gradcam",), "racing:gradcam=gradcam"),
        ("gradcam", ("racing:gradcam=gradcan",), "did you mean gradcam"),
        ("gradcam", ("racing:gradcam=gradcam/row",), "did you mean raw"),
        ("gradcam", ("racing:gradcan=gradcam",), "did you mean gradcam"),
        ("gradcam", ("nowhere_at_all:thing=gradcam",), "importing 'nowhere_at_all'"),
        ("gradcam", ("racing.gradcam=gradcam",), "name it as package.module:thing"),
    ],
)
def test_what_nobody_has_is_refused(methods, owned, said):
    with pytest.raises(RequestError, match=said):
        contenders.expand(methods, owned)


def test_a_method_that_a_library_does_not_have_is_not_offered():
    with pytest.raises(NotOffered, match="captum has no layercam"):
        contenders.parse("layercam@captum")


def test_a_library_that_is_absent_is_told(monkeypatch):
    absent = Backend("absent", "no-such-distribution", (Offer("gradcam", "it", Stage.RAW),), lambda *_: None)
    monkeypatch.setattr(contenders.backends, "find", lambda _name: absent)
    with pytest.raises(NotInstalled, match="pip install no-such-distribution"):
        contenders.load(contenders.parse("gradcam"))


@pytest.mark.parametrize("name", ["gradcam", "gradcam@captum", "gradcam@pytorch-grad-cam", "racing:Same=gradcam"])
def test_the_array_is_what_a_user_gets(name, problem):
    expected = camzoo.explain(problem.model, problem.images, layer="last_act", target=list(problem.classes)).resize()
    found = done(name, problem, Scope.ARRAY)
    assert isinstance(found, np.ndarray)
    assert found.shape == (2, 48, 48)
    if "pytorch" not in name:  # which normalises once more after the resize
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_the_map_is_as_the_formula_gives_it(problem):
    expected = camzoo.explain(
        problem.model, problem.images, layer="last_act", target=list(problem.classes), stage="raw"
    )
    for name in ("gradcam", "gradcam@captum"):
        found = done(name, problem, Scope.MAP)
        assert isinstance(found, torch.Tensor)
        torch.testing.assert_close(found, expected.values, rtol=1e-5, atol=1e-7)


def test_who_gives_no_map_of_the_layer_is_not_offered_as_a_map(problem):
    with pytest.raises(NotOffered, match="pixels"):
        done("gradcam@pytorch-grad-cam", problem, Scope.MAP)
    assert contenders.parse("gradcam@pytorch-grad-cam").resolution is Resolution.IMAGE


def test_an_own_implementation_is_built_anew_and_leaves_nothing_behind(problem):
    racing.Same.built = racing.Same.left_behind = 0
    for _ in range(3):
        done("racing:Same=gradcam", problem, Scope.MAP)
    assert racing.Same.built == 3
    assert racing.Same.left_behind == 3  # its own call, and no later one
    assert not problem.layer_module._forward_hooks


def test_the_images_are_a_copy_in_the_same_memory_format(problem):
    seen = []

    class Spy(racing.Net):
        def forward(self, images):
            seen.append(images)
            return super().forward(images)

    images = problem.images.contiguous(memory_format=torch.channels_last)
    asked = pose(Spy().eval(), images, "last_act")
    seen.clear()
    done("racing:gradcam=gradcam", asked, Scope.MAP)
    assert seen[0].data_ptr() != images.data_ptr()
    assert seen[0].stride() == images.stride()
