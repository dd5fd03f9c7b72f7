"""A batch of images x methods x metrics, on shapes whose truth is known."""

from __future__ import annotations

import math

import drawings
import pytest
import torch
from conftest import require

from camzoo import backends, metrics, specs
from camzoo.capture import take
from camzoo.errors import NotInstalled, RequestError
from camzoo.evaluation import batch, table
from camzoo.evaluation.batch import CONTROLS, Question
from camzoo.evaluation.samples import Broken, Sample
from camzoo.explaining import explain
from camzoo.specs import Computation
from camzoo.targets import ClassLogit

N = 24
PERFECT = Computation("perfect", "own")


def perfect(images, of):
    """The mask itself."""
    return torch.stack([sample.mask.float() for sample in of])


def broken(images, of):
    raise ValueError("it is broken\nbadly")


@pytest.fixture(scope="module")
def net():
    return drawings.trained()


@pytest.fixture(scope="module")
def loaded():
    return [drawings.sample_of(number) for number in range(N)]


def question(net, methods="gradcam", wanted="fast", own=None, **changes):
    named = (*(Computation(name, "own") for name in own or {}), *specs.expand(methods))
    return Question(net, "last", named, table.expand(wanted), own=own or {}, **changes)


@pytest.fixture(scope="module")
def records(net, loaded):
    """Fast metrics of a perfect map, two methods and the controls."""
    return batch.evaluate(question(net, ["gradcam,layercam", *CONTROLS], own={"perfect": perfect}), loaded)


def values(records, method, metric):
    return [each.value for each in records if (each.method, each.metric) == (method, metric)]


def average(records, method, metric):
    found = values(records, method, metric)
    assert None not in found
    return sum(found) / len(found)


# ---- what is known of it


def test_there_is_one_row_for_each_image_method_and_metric(records, loaded):
    keys = [(each.image, each.method, each.backend, each.metric) for each in records]
    assert len(set(keys)) == len(keys)
    fast = [metric for metric in table.TABLE if metric.fast]
    chance = [metric for metric in fast if metric.chance]
    assert len(keys) == N * (7 * len(fast) + len(chance) + 2)
    assert list(dict.fromkeys(key[0] for key in keys)) == [each.name for each in loaded]
    assert {each.target for each in records if each.image == "4.png"} == {1}


RANKED = ("average-drop", "energy", "box-iou-15", "box-iou-20", "pixel-precision", "mask-iou")


@pytest.mark.parametrize("metric", RANKED)
def test_the_perfect_map_is_above_every_method(records, metric):
    sign = table.find(metric).better
    best = sign * average(records, "perfect", metric)
    for method in ("gradcam", "layercam", "random", "center", "sobel"):
        assert best > sign * average(records, method, metric)
    if metric != "average-drop":
        assert best == pytest.approx(1)


@pytest.mark.parametrize("metric", RANKED)
def test_methods_are_above_the_controls(records, metric):
    sign = table.find(metric).better
    for method in ("gradcam", "layercam"):
        for control in ("random", "center", "sobel"):
            assert sign * average(records, method, metric) > sign * average(records, control, metric)


def test_a_random_map_is_at_chance(net):
    """The share of noise on the object is the share of pixels that it fills, each image having noise of its own."""
    many = [drawings.sample_of(number) for number in range(120)]
    found = batch.evaluate(question(net, "random", "energy"), many)
    noise, chance = values(found, "random", "energy"), values(found, "chance", "energy")
    away = metrics.paired(noise, chance)
    assert away.low < 0 < away.high
    assert len(set(noise)) == len(noise)
    level = sum(chance) / len(chance)
    assert abs(away.value) < 0.1 * level


def test_a_uniform_map_is_undefined(records):
    rows = [each for each in records if each.method == "uniform"]
    assert {(each.status, each.value) for each in rows} == {("undefined", None)}
    assert {each.reason for each in rows if each.metric == "increase"} == {"the map is constant"}


def test_the_model_is_told(records, net, loaded):
    images = torch.stack([each.image for each in loaded])
    sure = net(images).softmax(1).amax(1).tolist()
    assert values(records, "model", "probability") == pytest.approx(sure, rel=1e-5)
    assert average(records, "model", "correct") == 1


# ---- the numbers are those of the functions, called plainly


def test_values_are_those_of_the_metrics(net, loaded, records):
    images = torch.stack([each.image for each in loaded])
    classes = net(images).argmax(1)

    def score(inputs, rows):
        return net(inputs).softmax(1).gather(1, classes[rows, None])[:, 0]

    maps = explain(net, images, "gradcam", layer="last", target=classes.tolist(), stage="raw").values
    masks = torch.stack([each.mask for each in loaded])
    wanted = {
        "average-drop": metrics.confidence(score, images, maps).drop,
        "energy": metrics.energy(maps, masks),
        "box-iou-20": metrics.box_iou(maps, [each.boxes for each in loaded], (32, 32), share=0.2),
        "pointing": metrics.pointing(maps, masks),
        "entropy": metrics.entropy(maps, (32, 32)),
    }
    for name, values_ in wanted.items():
        assert values(records, "gradcam", name) == pytest.approx(values_.tolist(), rel=1e-4, abs=1e-6), name


def test_slow_metrics(net, loaded):
    """Every metric that needs no other library; and the perfect map is above chance in those that look at the model."""
    wanted = "insertion,deletion,insertion-mean,deletion-mean,coherency,adcc,class-sensitivity"
    found = batch.evaluate(question(net, "gradcam,center", wanted, {"perfect": perfect}), loaded[:6])
    assert {each.metric for each in found if each.status != "ok"} == {"class-sensitivity"}
    assert average(found, "perfect", "deletion") < average(found, "center", "deletion")
    assert average(found, "perfect", "insertion") > average(found, "center", "insertion")
    assert average(found, "center", "coherency") == pytest.approx(1)
    assert average(found, "center", "class-sensitivity") == pytest.approx(1)
    images = torch.stack([each.image for each in loaded[:6]])
    (taken,), _ = take(net, "last", images, [ClassLogit(tuple(net(images).argmin(1).tolist()))])
    least = metrics.shown(batch._own_map(taken, Computation("gradcam"), loaded[:6]), (32, 32))
    maps = explain(net, images, "gradcam", layer="last", stage="raw").values
    wanted_ = metrics.class_sensitivity(maps, least, (32, 32))
    assert wanted_.isnan().any()
    assert [math.nan if each is None else each for each in values(found, "gradcam", "class-sensitivity")] == (
        pytest.approx(wanted_.tolist(), abs=1e-5, nan_ok=True)
    )
    parts = [torch.tensor(values(found, "gradcam", name)) for name in ("coherency", "adcc")]
    assert (parts[1] <= 3 * parts[0]).all()


def test_borrowed_metrics(net, loaded):
    require("captum")
    require("pytorch_grad_cam")
    found = batch.evaluate(question(net, "gradcam", "road,arcc,infidelity,sensitivity-max"), loaded[:2])
    assert {each.status for each in found} == {"ok"}
    images = torch.stack([each.image for each in loaded[:2]])
    classes, impute = net(images).argmax(1), metrics.borrowed("road-imputer")

    def score(inputs, rows):
        return net(inputs).softmax(1).gather(1, classes[rows, None])[:, 0]

    maps = explain(net, images, "gradcam", layer="last", stage="raw").values
    four = metrics.road(score, images, maps, impute, shares=(0.2, 0.4, 0.6, 0.8)).value  # its noise is other noise
    alone = batch.evaluate(question(net, "gradcam", "coherency,complexity"), loaded[:2])
    parts = [torch.tensor(values(alone, "gradcam", name)) for name in ("coherency", "complexity")]
    assert values(found, "gradcam", "arcc") == pytest.approx(metrics.arcc(*parts, four).tolist(), abs=2e-3)


# ---- which class is explained


def test_boxes_are_of_the_class_that_is_explained(net, loaded):
    other = [replaced(loaded[0], truth=2, label="square"), replaced(loaded[1], truth=None, label="dog")]
    found = batch.evaluate(question(net, "gradcam", "energy,box-iou-15"), other)
    assert {each.status for each in found if each.method == "gradcam"} == {"undefined"}
    assert "no box of the explained class in view" in {each.reason for each in found}
    unlabelled = batch.evaluate(question(net, "gradcam", "energy"), [replaced(loaded[0], truth=None, label=None)])
    assert values(unlabelled, "gradcam", "energy")[0] is not None
    assert values(found, "model", "correct") == [0.0, None]


def test_the_true_class(net, loaded):
    """Its maps, its place in the ranking; and what has none is a row with the reason."""
    wrong = replaced(loaded[0], truth=2, label="square")
    none = replaced(loaded[1], truth=None, label="dog")
    found = batch.evaluate(question(net, "gradcam", "error-top-1,error-top-5,energy", by_label=True), [wrong, none])
    assert {each.target for each in found if each.image == wrong.name} == {2}
    assert values(found, "gradcam", "error-top-1") == [1.0]
    assert [each.reason for each in found if each.image == none.name] == ["the model has no class 'dog'"]
    maps = explain(net, wrong.image[None], "gradcam", layer="last", target=2, stage="raw").values
    wanted = metrics.energy(maps, wrong.mask[None]).item()
    assert values(found, "gradcam", "energy")[0] == (pytest.approx(wanted) if not math.isnan(wanted) else None)


def test_the_error_is_of_the_models_ranking_too(net, loaded):
    """A perfect map of a class that the model puts second: wrong among one, right among five."""
    wrong = replaced(loaded[0], truth=2, label="square")
    asked = question(net, "center", "error-top-1,error-top-5", {"perfect": perfect}, by_label=True)
    found = batch.evaluate(asked, [wrong, loaded[3]])
    assert values(found, "perfect", "error-top-1") == [1.0, 0.0]
    assert values(found, "perfect", "error-top-5") == [0.0, 0.0]


def test_own_functions_are_given_the_sample_of_each_image(net, loaded):
    posed = batch.pose(question(net, "center", "complexity", {"perfect": perfect}), loaded[:3])
    rows = torch.tensor([2, 0, 2])
    found = posed.again(PERFECT, posed.images[rows], rows, least=False)
    assert torch.equal(found, torch.stack([loaded[at].mask.float() for at in rows]))


def replaced(sample, **changes):
    kept = {name: getattr(sample, name) for name in Sample.__slots__}
    return Sample(**kept | changes)


# ---- what breaks is told and stops nothing


def test_a_method_that_breaks(net, loaded):
    found = batch.evaluate(question(net, "gradcam", "complexity", {"broken": broken}), loaded[:2])
    bad = [each for each in found if each.method == "broken"]
    assert [(each.status, each.value, each.reason) for each in bad] == [
        ("failed", None, "ValueError: it is broken")
    ] * 2
    assert None not in values(found, "gradcam", "complexity")


def test_what_a_backend_does_not_offer(net, loaded):
    found = batch.evaluate(question(net, "gradcam,attention-rollout", "complexity"), loaded[:1])
    (row,) = [each for each in found if each.method == "attention-rollout"]
    assert row.status == "not offered"
    assert row.reason


def test_a_library_that_is_absent(net, loaded, monkeypatch):
    monkeypatch.setattr(backends, "version", lambda _backend: backends.metadata.version("nobody-has-this"))
    monkeypatch.setattr(backends, "load", lambda _backend: (_ for _ in ()).throw(NotInstalled("pip install captum")))
    found = batch.evaluate(question(net, "gradcam@captum", "complexity"), loaded[:1])
    (row,) = [each for each in found if each.method == "gradcam"]
    assert (row.backend, row.status, row.reason) == ("captum", "not installed", "pip install captum")


def test_a_foreign_map_is_judged_as_ones_own(net, loaded):
    require("captum")
    found = batch.evaluate(question(net, "gradcam,gradcam@captum", "energy,average-drop"), loaded[:4])
    for metric in ("energy", "average-drop"):
        own, foreign = (
            [each.value for each in found if (each.method, each.backend, each.metric) == ("gradcam", at, metric)]
            for at in ("camzoo", "captum")
        )
        assert own == pytest.approx(foreign, rel=1e-4, abs=1e-6)


def test_a_bad_image_is_a_row(net, loaded):
    bad = Broken(7, "bad.png", None, "truncated")
    found = batch.evaluate(question(net, "gradcam", "complexity"), [loaded[0], bad, loaded[1]])
    assert [each.image for each in found] == ["0.png"] * 3 + ["bad.png"] + ["1.png"] * 3
    (row,) = [each for each in found if each.image == "bad.png"]
    assert (row.status, row.reason, row.target, row.value) == ("failed", "truncated", None, None)
    assert batch.evaluate(question(net, "gradcam", "complexity"), [bad]) == [row]


def test_images_of_several_sizes(net, loaded):
    large = replaced(loaded[1], image=torch.zeros(3, 40, 48), mask=None)
    found = batch.evaluate(question(net, "center", "complexity"), [loaded[0], large, loaded[2]])
    alone = batch.evaluate(question(net, "center", "complexity"), [large])
    assert [each for each in found if each.image == large.name] == alone


def test_a_batch_does_not_matter(net, loaded):
    """Of the same images in other batches come the same numbers, to rounding."""
    asked = question(net, "gradcam,random,center", "fast")
    whole = batch.evaluate(asked, loaded[:6])
    parts = batch.evaluate(asked, loaded[:2]) + batch.evaluate(asked, loaded[2:6])
    for one, other in zip(whole, parts, strict=True):
        assert one.value == (pytest.approx(other.value, rel=1e-3, abs=1e-5) if other.value is not None else None)


class Flattening(torch.nn.Module):
    """Flattens by `view`, which takes contiguous tensors only."""

    def __init__(self, net):
        super().__init__()
        self.last, self.head = net, torch.nn.Linear(4 * 8 * 8, 3)

    def forward(self, images):
        features = torch.relu(self.last(images))
        return self.head(features.view(len(images), -1))


def test_a_model_that_flattens_by_view(loaded):
    torch.manual_seed(0)
    model = Flattening(torch.nn.Conv2d(3, 4, 4, stride=4)).eval()
    assert batch.pose(question(model), loaded[:2]).images.is_contiguous()
    found = batch.evaluate(question(model, wanted="average-drop,insertion-mean"), loaded[:2])
    assert "failed" not in {each.status for each in found}


def test_images_are_laid_out_channels_last(net, loaded):
    posed = batch.pose(question(net), loaded[:2])
    assert posed.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(posed.images, torch.stack([each.image for each in loaded[:2]]))


def test_the_model_is_as_it_was(net, loaded):
    net.train()
    before = {name: each.clone() for name, each in net.state_dict().items()}
    batch.evaluate(question(net, "gradcam", "average-drop"), loaded[:1])
    assert all(module.training for module in net.modules())
    net.eval()
    assert all(torch.equal(before[name], each) for name, each in net.state_dict().items())
    assert all(each.grad is None for each in net.parameters())


# ---- the table


def test_metrics_by_name():
    assert [each.name for each in table.expand("energy, average-drop,energy")] == ["average-drop", "energy"]
    assert table.expand("all") == table.TABLE
    assert set(table.expand(["fast", "road"])) - set(table.expand("fast")) == {table.find("road")}


@pytest.mark.parametrize(("text", "why"), [("enegry", "did you mean energy"), (" ,", "no metric is named")])
def test_a_wrong_name_is_refused(text, why):
    with pytest.raises(RequestError, match=why):
        table.expand(text)
