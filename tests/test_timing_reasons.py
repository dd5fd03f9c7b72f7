"""Why a map differs on the very case: told where the reason gives the map, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import racing
import torch
from conftest import seeded
from test_timing_correctness import judged

from camzoo.problems import pose
from camzoo.timing.correctness import Yardstick
from camzoo.timing.samples import Scope


class Writing(racing.Net):
    """A ReLU in place comes right after the layer."""

    def forward(self, images):
        return self.head(torch.relu_(self.last(self.act(self.stem(images)))).mean((2, 3)))


class Tiny(racing.Net):
    """Its maps are far below 1e-7."""

    def forward(self, images):
        return 1e-12 * super().forward(images)


class Faint(racing.Net):
    """The activations of its last layer are far below 1e-7 in sum, and the gradients there as large."""

    def forward(self, images):
        return self.head(1e10 * self.last_act(1e-10 * self.last(self.act(self.stem(images)))).mean((2, 3)))


class Both(Writing):
    """Either."""

    def forward(self, images):
        return 1e-10 * super().forward(images)


def yardstick(kind, layer):
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    return Yardstick(pose(seeded(kind), images, layer))


@pytest.fixture(scope="module")
def writing():
    return yardstick(Writing, "last")


@pytest.fixture(scope="module")
def tiny():
    return yardstick(Tiny, "last_act")


@pytest.mark.parametrize("name", ["gradcam@torchcam", "gradcam@pytorch-grad-cam"])
def test_what_was_written_over_the_layer_is_named(name, writing):
    found = judged(name, writing)
    assert found.verdict == "differs, known"
    assert found.verdict_reason.startswith("the model writes over the output of last in place, and it reads what")
    assert found.distance > 0.01


def test_it_is_named_on_the_grid_of_the_layer_too(writing):
    assert judged("gradcam@torchcam", writing, Scope.MAP).verdict == "differs, known"


def test_who_copies_the_layer_and_camzoo_itself_agree(writing):
    assert judged("gradcam@captum", writing).verdict == "agrees"
    assert judged("gradcam", writing).verdict == "agrees"


def test_an_epsilon_that_flattens_tiny_maps_is_named(tiny):
    found = judged("gradcam@pytorch-grad-cam", tiny)
    assert found.verdict == "differs, known"
    assert found.verdict_reason.startswith("its min-max adds 1e-7 to the maximum, more than the values here: with that")
    assert judged("gradcam@torchcam", tiny).verdict == "agrees"


def test_an_epsilon_in_a_formula_is_named():
    found = judged("xgradcam@pytorch-grad-cam", yardstick(Faint, "last_act"))
    assert found.verdict == "differs, known"
    assert found.verdict_reason.startswith("its formula adds 1e-7 to each channel's sum of activations, more than")
    assert judged("gradcam@pytorch-grad-cam", yardstick(Faint, "last_act")).verdict == "agrees"


def test_both_at_once_are_named():
    found = judged("gradcam@pytorch-grad-cam", yardstick(Both, "last"))
    assert found.verdict == "differs, known"
    assert "in place" in found.verdict_reason
    assert "1e-7" in found.verdict_reason


@pytest.mark.parametrize(
    "spoil", [lambda found: found[..., ::-1], lambda found: 0.9 * found, lambda found: found * np.nan]
)
def test_a_map_that_the_reason_does_not_give_stays_new(spoil, writing, tiny):
    """Must fail: the model writes in place, and maps are tiny, but that is not why these differ."""
    assert judged("gradcam@torchcam", writing, spoil=spoil).verdict == "differs, new"
    assert judged("gradcam@pytorch-grad-cam", tiny, spoil=lambda found: spoil(found + 1.0)).verdict == "differs, new"


def test_neither_camzoo_nor_an_own_implementation_is_excused(writing):
    torchcam = judged("gradcam@torchcam", writing)
    assert torchcam.verdict == "differs, known"
    for name in ("gradcam", "racing:gradcam=gradcam"):
        assert judged(name, writing, spoil=lambda found: 0.5 * found).verdict == "differs, new"
