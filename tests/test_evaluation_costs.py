"""Costs in forward passes: by hand on a small net, the same every time, and in the manifest once."""

from __future__ import annotations

import drawings
import pytest
import torch
from conftest import require

from camzoo import specs
from camzoo.evaluation import costs, files, table
from camzoo.evaluation.batch import Question
from camzoo.evaluation.samples import Loading
from camzoo.specs import Computation

SIDE = drawings.SIDE


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return drawings.ShapeNet().eval()


@pytest.fixture(scope="module")
def image():
    return drawings.SEEN.tensor(drawings.drawn(0)[0])[0]


def question(net, *methods, layer="last", **given):
    return Question(net, layer, tuple(specs.expand(methods)), table.expand("energy"), **given)


def test_counted_by_hand(net, image):
    """The gradient runs back through what follows the layer, and weights its channels; a mask costs a forward pass."""
    convolutions = [(SIDE, 3, 12), (SIDE // 2, 12, 24), (SIDE // 4, 24, 32)]
    head = 2 * 32 * 3
    forward = sum(2 * side**2 * 9 * entering * leaving for side, entering, leaving in convolutions) + head
    found = costs.costs(question(net, "gradcam", "eigencam", "scorecam(top_channels=4)", "uniform"), image)
    assert found["gradcam"] == pytest.approx(1 + (head + 2 * 32 * (SIDE // 4) ** 2) / forward, abs=1e-12)
    assert found["uniform"] == 1
    assert found["scorecam(top_channels=4)"] == pytest.approx(5, abs=0.01)
    assert 1 <= found["eigencam"] < 1.1
    earlier = costs.costs(question(net, "gradcam", layer="middle"), image)["gradcam"]
    back = 2 * (SIDE // 4) ** 2 * 9 * 24 * 32 + head + 2 * 24 * (SIDE // 4) ** 2
    assert earlier == pytest.approx(1 + back / forward, abs=1e-12)


def test_it_is_always_the_same_whatever_is_explained(net, image):
    asked = question(net, "gradcam", "scorecam", "random")
    found = costs.costs(asked, image)
    assert found == costs.costs(asked, image)
    assert found == costs.costs(question(net, "gradcam", "scorecam", "random", by_label=True), image)


def test_what_breaks_is_left_out(net, image):
    own = {"broken": lambda *_given: 1 / 0, "free": lambda images, _samples: images[:, 0]}
    methods = (Computation("broken", "own"), Computation("gradcam"), Computation("free", "own"))
    found = costs.costs(Question(net, "last", methods, table.expand("energy"), own=own), image)
    assert set(found) == {"gradcam", "free@own"}
    assert found["free@own"] == 0


def test_a_model_without_such_operations_has_no_cost(image):
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.ReLU()

        def forward(self, images):
            return self.last(images).mean((2, 3))

    assert costs.costs(question(Mean(), "gradcam"), image) == {}


def test_they_are_kept_once(net, tmp_path):
    """Of the first image that can be read; a run that goes on keeps what is there, one that was killed adds them."""
    require("pyarrow.parquet")
    from camzoo.evaluation.data import Item

    def broken():
        raise OSError("it is broken")

    items = [Item("bad", broken), Item("good", lambda: drawings.drawn(0)[0])]
    asked = question(net, "gradcam")
    files.begin(tmp_path / "run", {"schema_version": 1, "question": {}}, resume=False)
    costs.keep(asked, Loading(items, drawings.SEEN, {}), tmp_path / "run")
    kept = files.read_manifest(tmp_path / "run")
    assert 1 < kept["costs"]["gradcam"] < 1.01
    costs.keep(question(net, "random"), Loading(items, drawings.SEEN, {}), tmp_path / "run")
    assert files.read_manifest(tmp_path / "run") == kept
    files.begin(tmp_path / "other", {"schema_version": 1, "question": {}}, resume=False)
    costs.keep(asked, Loading(items[:1], drawings.SEEN, {}), tmp_path / "other")
    assert files.read_manifest(tmp_path / "other")["costs"] == {}
