"""`camzoo.explain`: the whole way from a model and images to maps."""

from __future__ import annotations

import sys
import threading

import pytest
import torch
from conftest import SmallNet, require, seeded
from snapshots import snapshot
from torch import nn

import camzoo
from camzoo import capture, grids
from camzoo.errors import DegenerateMapWarning, Failed, NotInstalled, NotOffered, RequestError
from camzoo.targets import ClassLogit
from camzoo.types import Resolution, Stage


def raw(net, images, classes, layer="last") -> torch.Tensor:
    """Grad-CAM from a capture, in double precision."""
    (taken,), _ = capture.take(net, layer, images, [ClassLogit(classes)])
    activations, gradients = taken.activations.double(), taken.gradients.double()
    return (gradients.mean((2, 3), keepdim=True) * activations).sum(1)


@pytest.mark.parametrize("stage", [*Stage, "raw", "rectified", "normalised"])
def test_each_stage(small_net, images, stage):
    found = camzoo.explain(small_net, images, layer="last", target=1, stage=stage)
    values = raw(small_net, images, (1, 1, 1))
    if Stage(stage) is not Stage.RAW:
        values = grids.rectify(values)
    if Stage(stage) is Stage.NORMALISED:
        values = grids.normalise(values)
    assert (found.values - values).abs().max() <= 1e-6 * values.abs().max()
    assert found.stage is Stage(stage)
    assert (found.method, found.backend, found.resolution) == ("gradcam", "camzoo", Resolution.LAYER)
    assert found.resize().shape == (3, 24, 32)


def test_by_default_the_top_class_at_the_chosen_layer(small_net, images):
    with torch.no_grad():
        top = tuple(small_net(images).argmax(1).tolist())
    found = camzoo.explain(small_net, images, stage="raw")
    values = raw(small_net, images, top, "last_act")
    assert (found.values - values).abs().max() <= 1e-6 * values.abs().max()


@pytest.mark.parametrize(
    "target", [None, 2, [0, 1, 2], lambda outputs: outputs[:, 1]], ids=["top", "one", "each", "call"]
)
def test_one_forward_pass(small_net, images, target):
    runs = []
    small_net.register_forward_pre_hook(lambda *_: runs.append(1))
    camzoo.explain(small_net, images, layer="last", target=target, stage="raw")
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        ({"method": "gradcan"}, RequestError, "unknown method 'gradcan': did you mean gradcam"),
        ({"method": "gradcam@nobody"}, RequestError, "unknown backend 'nobody'"),
        ({"method": "gradcam(1)"}, RequestError, "options are written as"),
        ({"method": "gradcam(colour=1)"}, RequestError, "unknown option of gradcam 'colour'"),
        ({"colour": 1}, NotOffered, "gradcam@camzoo has no option 'colour'"),
        ({"method": "gradcam@torchcam", "colour": 1}, NotOffered, "gradcam@torchcam has no option 'colour'"),
        ({"method": "guided-backprop@torchcam"}, (NotOffered, RequestError), "guided-backprop"),
        ({"stage": "smooth"}, RequestError, "unknown stage 'smooth': there is normalised, raw, rectified"),
        ({"images": "cat.png"}, RequestError, "images are a floating tensor"),
        ({"layer": "lats"}, RequestError, "unknown layer 'lats': did you mean last"),
        ({"target": "cat"}, RequestError, "a target is None, a class index"),
        ({"target": [1]}, RequestError, "1 targets for 3 images"),
    ],
    ids=str,
)
def test_refuses_in_one_line_before_the_model_runs(small_net, images, question, error, message):
    runs = []
    small_net.register_forward_pre_hook(lambda *_: runs.append(1))
    asked = {"images": images, "layer": "last", **question}
    with pytest.raises(error, match=message) as caught:
        camzoo.explain(small_net, **asked)
    assert "\n" not in str(caught.value)
    assert runs == []


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"target": 5}, "class 5 is out of range"),
        ({"layer": "head"}, "layer 'head' gives .* no grid"),
        ({"target": lambda outputs: outputs.mean()}, "one score for each image"),
    ],
    ids=["class", "layer", "target"],
)
def test_refuses_what_only_a_pass_can_tell(images, question, message):
    net = seeded(SmallNet).train()
    before = snapshot(net)
    with pytest.raises(RequestError, match=message):
        camzoo.explain(net, images, **{"layer": "last", **question})
    assert snapshot(net) == before


def test_a_model_that_raises_is_the_callers_own_error(images):
    class Broken(SmallNet):
        def forward(self, images):
            super().forward(images)
            raise ZeroDivisionError("the user's own")

    with pytest.raises(ZeroDivisionError, match="the user's own"):
        camzoo.explain(seeded(Broken), images, layer="last")


def test_a_library_that_is_absent_says_so_with_the_command(monkeypatch, small_net, images):
    from importlib import metadata

    real = metadata.version

    def version(name):
        if name == "torchcam":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(NotInstalled, match=r"^pip install torchcam$"):
        camzoo.explain(small_net, images, "gradcam@torchcam", layer="last")


def test_a_library_gives_the_same_map(small_net, images):
    require("torchcam")
    found = camzoo.explain(small_net, images, "gradcam@torchcam", layer="last", target=[1, 2, 3])
    own = camzoo.explain(small_net, images, layer="last", target=[1, 2, 3])
    assert found.backend == "torchcam"
    assert torch.allclose(found.values, own.values, rtol=0, atol=1e-5)


class TestDegenerate:
    """A map that shows nothing is given, with a warning that points at the caller."""

    def check(self, net, images, message, **question):
        with pytest.warns(DegenerateMapWarning, match=message) as caught:
            found = camzoo.explain(net, images, layer="last", **question)
        assert [warning.filename for warning in caught] == [__file__] * len(images)
        return found

    def test_all_zero(self, images):
        net = seeded(SmallNet)
        nn.init.zeros_(net.head.weight)
        found = self.check(net, images, "map . of gradcam is all zero", target=1)
        assert bool((found.values == 0).all())

    def test_every_cell_speaks_against(self, images):
        net = seeded(SmallNet)
        nn.init.constant_(net.head.weight, -1.0)
        nn.init.constant_(net.last.bias, 100.0)
        self.check(net, images, "all zero once rectified", target=1)

    def test_not_finite(self, small_net, images):
        nn.init.constant_(small_net.stem.bias, float("nan"))
        found = self.check(small_net, images, "not finite in 48 of 48 cells", target=1)
        assert bool(found.values.isnan().all())

    def test_a_map_that_shows_something_does_not_warn(self, small_net, images):
        camzoo.explain(small_net, images, layer="last", target=4, stage="raw")


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("method", ["gradcam", "gradcam@torchcam"])
def test_the_callers_state_does_not_matter(images, around, method):
    if "@" in method:
        require("torchcam")
    wanted = camzoo.explain(seeded(SmallNet), images, method, layer="last", target=4)
    net = seeded(SmallNet).train().requires_grad_(False)
    before = snapshot(net)
    with around():
        found = camzoo.explain(net, images.clone(), method, layer="last", target=4)
    assert torch.equal(found.values, wanted.values)
    after = snapshot(net)
    del before["versions"], after["versions"]  # a library may write a flag or a buffer, which is written back
    assert after == before


def test_options_are_written_in_the_name_or_as_keywords(small_net, images):
    if "scorecam" not in {row.method for row in camzoo.methods() if row.backend == "camzoo"}:
        pytest.skip("there is no scorecam yet")
    in_name = camzoo.explain(small_net, images, "scorecam(top_channels=3)", layer="last", target=4)
    keyword = camzoo.explain(small_net, images, "scorecam", layer="last", target=4, top_channels=3)
    both = camzoo.explain(small_net, images, "scorecam(top_channels=7)", layer="last", target=4, top_channels=3)
    every = camzoo.explain(small_net, images, "scorecam", layer="last", target=4)
    assert torch.equal(in_name.values, keyword.values)
    assert torch.equal(both.values, keyword.values)
    assert not torch.equal(every.values, keyword.values)


@pytest.mark.parametrize("method", ["gradcam", "gradcam@torchcam"])
def test_eight_threads_on_one_model(method):
    """Layer and class are chosen in each thread; the maps are those of one thread, and nothing is left behind."""
    if "@" in method:
        require("torchcam")
    net = seeded(SmallNet).train()
    batches = [torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(8)]

    def explain(batch) -> torch.Tensor:
        return camzoo.explain(net, batch, method, stage="rectified").values

    wanted = [explain(batch) for batch in batches]
    before, start, wrong = snapshot(net), threading.Barrier(8), []

    def work(index: int) -> None:
        start.wait()
        for _ in range(4):
            try:
                assert torch.equal(explain(batches[index]), wanted[index])
            except BaseException as error:
                wrong.append(error)
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    after = snapshot(net)
    for kind in ("hooks", "training", "modules", "attributes", "requires_grad", "grad"):
        assert after[kind] == before[kind], kind


def test_a_library_that_breaks_says_why(small_net, images, monkeypatch):
    from camzoo import backends

    host = backends.find("torchcam")

    def explain(*_):
        raise IndexError("index 9 is out\nof bounds")

    broken = type(host)(host.name, "camzoo", host.offers, explain)
    monkeypatch.setattr(backends, "find", lambda name: broken)
    with pytest.raises(Failed, match=r"^IndexError: index 9 is out$"):
        camzoo.explain(small_net, images, "gradcam@torchcam", layer="last")
