"""Comparing: rows, cells and their statuses, with backends made up for the purpose."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import camzoo
from camzoo import backends, native
from camzoo.errors import Failed, NotOffered, RequestError
from camzoo.specs import Computation
from camzoo.study import _Cost as Cost
from camzoo.study import compare, joined
from camzoo.types import Backend, Heatmap, Offer, Resolution, Stage, Status


def backend(name, explain, distribution="camzoo", methods=("gradcam", "other"), resolution=Resolution.LAYER) -> Backend:
    offers = tuple(Offer(method, method.title(), Stage.RAW, resolution) for method in methods)
    return Backend(name, distribution, offers, explain)


def heatmap(problem, method, values, resolution=Resolution.LAYER) -> Heatmap:
    return Heatmap(values, Stage.RAW, resolution, problem.image_size, method, "fake")


def ramp(problem, method, _options) -> Heatmap:
    """A map that grows with the class, so that mixed-up rows would show."""
    classes = torch.tensor(problem.class_indices("fake"))[:, None, None]
    return heatmap(problem, method, torch.arange(48.0).reshape(1, 6, 8) + 100 * classes)


def refuse(_problem, _method, _options):
    raise NotOffered("only on Sundays")


def zero_division(_problem, _method, _options):
    raise ZeroDivisionError("division\nby zero")


def told(_problem, _method, _options):
    raise Failed("its own reason")


def pixels(problem, method, _options) -> Heatmap:
    values = torch.rand(len(problem.images), *problem.image_size, generator=torch.Generator().manual_seed(3))
    return heatmap(problem, method, values, Resolution.IMAGE)


def zeros(problem, method, _options) -> Heatmap:
    return heatmap(problem, method, torch.zeros(len(problem.images), 6, 8))


FAKES = {
    fake.name: fake
    for fake in (
        native.backend,
        backend("ramp", ramp),
        backend("absent", ramp, "no-such-distribution"),
        backend("refuses", refuse),
        backend("breaks", zero_division),
        backend("tells", told),
        backend("pixels", pixels, resolution=Resolution.IMAGE),
        backend("zeros", zeros),
    )
}


@pytest.fixture(autouse=True)
def fakes(monkeypatch) -> None:
    monkeypatch.setattr(backends, "found", lambda: FAKES)
    monkeypatch.setattr(backends, "_loaded", dict)


def statuses(study) -> list[tuple[str, Status, str]]:
    return [(cell.computation.backend, cell.status, cell.reason) for cell in study.cells]


def test_each_status_with_its_reason_and_nothing_ends_the_run(small_net, images) -> None:
    wanted = [f"gradcam@{name}" for name in ("absent", "refuses", "breaks", "tells", "ramp")] + ["gradcam"]
    study = compare(small_net, images[:1], wanted)
    assert statuses(study) == [
        ("absent", Status.NOT_INSTALLED, "pip install no-such-distribution"),
        ("refuses", Status.NOT_OFFERED, "only on Sundays"),
        ("breaks", Status.FAILED, "ZeroDivisionError: division"),
        ("tells", Status.FAILED, "its own reason"),
        ("ramp", Status.OK, ""),
        ("camzoo", Status.OK, ""),
    ]
    for cell in study.cells:
        ok = cell.status is Status.OK
        assert (cell.heatmap is not None) == ok
        assert (cell.seconds is not None) == ok
        assert not ok or cell.seconds > 0


@pytest.mark.parametrize(
    "given",
    [
        None,
        torch.zeros(1, 6, 8),
        heatmap(type("P", (), {"image_size": (24, 32)}), "gradcam", torch.zeros(2, 6, 8)),
        heatmap(type("P", (), {"image_size": (24, 32)}), "gradcam", torch.zeros(6, 8)),
        heatmap(type("P", (), {"image_size": (24, 32)}), "gradcam", None),
    ],
    ids=["none", "tensor", "count", "axes", "empty"],
)
def test_a_backend_that_gives_no_heatmap_has_failed(small_net, images, monkeypatch, given) -> None:
    monkeypatch.setitem(FAKES, "wrong", backend("wrong", lambda *_: given))
    study = compare(small_net, images[:1], "gradcam@wrong,gradcam@ramp")
    assert [cell.status for cell in study.cells] == [Status.FAILED, Status.OK]
    assert study.cells[0].reason
    assert "\n" not in study.cells[0].reason


def test_a_method_of_ours_that_breaks_has_failed_too(small_net, images, monkeypatch) -> None:
    def heatmap(*_):
        raise MemoryError("no room\nat all")

    monkeypatch.setattr(native, "heatmap", heatmap)
    study = compare(small_net, images[:1], "gradcam,gradcam@ramp")
    assert [cell.status for cell in study.cells] == [Status.FAILED, Status.OK]
    assert study.cells[0].reason == "MemoryError: no room"


def test_interrupting_is_not_swallowed(small_net, images, monkeypatch) -> None:
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(FAKES, "stop", backend("stop", interrupt))
    with pytest.raises(KeyboardInterrupt):
        compare(small_net, images[:1], "gradcam@stop")


def test_an_unknown_option_is_refused(small_net, images) -> None:
    with pytest.raises(RequestError, match="unknown option of gradcam 'nonsense'"):
        compare(small_net, images[:1], ["gradcam", "gradcam(nonsense=1)@ramp"])


def test_rows_go_image_by_image_and_in_each_target_by_target(small_net, images) -> None:
    study = compare(
        small_net,
        images,
        ["gradcam@ramp", "gradcam"],
        target=[[4, 1], [0, 2], [3, 3]],
        names=["a.png", "b.png"],
        labels=["zero", "one", "two"],
    )
    assert [(row.image, row.name, row.class_index, row.label) for row in study.rows] == [
        (0, "a.png", 4, "class 4"),
        (0, "a.png", 1, "one"),
        (1, "b.png", 0, "zero"),
        (1, "b.png", 2, "two"),
        (2, "image 2", 3, "class 3"),
        (2, "image 2", 3, "class 3"),
    ]
    assert [cell.row for cell in study.cells] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [str(computation) for computation in study.computations] == ["gradcam@ramp", "gradcam"]
    for number, row in enumerate(study.rows):
        first, ours = study.of(number)
        assert first.heatmap.values[0, 0, 0] == 100 * row.class_index
        single = camzoo.explain(small_net, images[row.image : row.image + 1], target=row.class_index, stage="raw")
        torch.testing.assert_close(ours.heatmap.values, single.values, rtol=1e-5, atol=1e-7)


def test_scores_and_probabilities_are_those_of_the_class(small_net, images) -> None:
    study = compare(small_net, images, target="top2")
    with torch.no_grad():
        outputs = small_net(images)
    best = outputs.topk(2, dim=1)
    for number, row in enumerate(study.rows):
        image, rank = divmod(number, 2)
        assert row.class_index == best.indices[image, rank]
        assert row.score == pytest.approx(float(best.values[image, rank]), abs=1e-6)
        assert row.probability == pytest.approx(float(outputs.softmax(1)[image, row.class_index]), abs=1e-6)
        assert row.title == f"class {row.class_index}  {row.probability:.1%}"
        assert row.target == f"logit of class {row.class_index}"


def test_the_five_best_classes_of_each_row(small_net, images) -> None:
    study = compare(small_net, images[:2], target=[[3, 0], [1, 1]], labels=["zero", "one"])
    with torch.no_grad():
        probabilities = small_net(images[:2]).double().softmax(1)
    for row in study.rows:
        order = probabilities[row.image].argsort(descending=True).tolist()
        assert [index for index, _, _ in row.top] == order[:5]
        names = ("zero", "one", "class 2", "class 3", "class 4")
        assert [label for _, label, _ in row.top] == [names[index] for index in order]
        assert [value for *_, value in row.top] == pytest.approx(probabilities[row.image][order].tolist(), abs=1e-7)


def test_each_row_knows_its_model_layer_and_grid(small_net, images) -> None:
    study = compare(small_net, images[:2], layer="act", model_name="net (file a.pt)")
    assert {(row.model, row.layer, row.layout) for row in study.rows} == {
        ("net (file a.pt)", "act", "12 x 16 channels-first")
    }
    assert study.subject == "net (file a.pt), layer act (12 x 16 channels-first)"


def test_memory_is_told_only_where_allocations_are_counted(small_net, images) -> None:
    study = compare(small_net, images[:1], "gradcam,gradcam@ramp")
    assert [cell.peak_bytes for cell in study.cells] == [None, None]


def test_memory_on_a_cpu_is_weighed_in_a_call_of_its_own(small_net, images, monkeypatch) -> None:
    calls = []

    def greedy(problem, method, options):
        calls.append(method)
        torch.empty(2**25, dtype=torch.uint8)
        return ramp(problem, method, options)

    monkeypatch.setitem(FAKES, "greedy", backend("greedy", greedy))
    study = compare(small_net, images[:1], "gradcam@ramp,gradcam@greedy,gradcam,gradcam@refuses", weigh=True)
    ramps, greedys, ours, refused = [cell.peak_bytes for cell in study.cells]
    assert len(calls) == 2
    assert 0 < ramps < 2**20
    assert 2**25 <= greedys < 2**25 + 2**20
    assert ours >= 8 * 6 * 8 * 4  # the activations of its capture
    assert refused is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_on_a_gpu(small_net, images, monkeypatch) -> None:
    def greedy(problem, method, options):
        torch.empty(2**25, dtype=torch.uint8, device=problem.images.device)
        return ramp(problem, method, options)

    monkeypatch.setitem(FAKES, "greedy", backend("greedy", greedy))
    study = compare(small_net.cuda(), images[:1].cuda(), "gradcam@ramp,gradcam@greedy,gradcam,layercam")
    ramps, greedys, one, other = [cell.peak_bytes for cell in study.cells]
    assert 0 <= ramps < 2**20
    assert 2**25 <= greedys < 2**25 + 2**20
    assert abs(one - other) < 2**20
    assert min(one, other) >= 8 * 6 * 8 * 4  # the activations of the shared capture


@pytest.mark.parametrize(("peak", "expected"), [(30, 100), (70, 130), (None, None)])
def test_what_is_held_of_a_shared_capture_counts_for_each_map_of_ours(peak, expected) -> None:
    assert Cost(0.1, peak, 0).peak_after(Cost(1.0, 100, 60)) == expected


def two(small_net, images, **changes):
    """Two layers of one model on the same two photos, and what is not the same in the second."""
    wanted = {"wanted": ["gradcam", "gradcam@refuses"], "names": ["a.png", "b.png"], "target": 1}
    first = compare(small_net, images[:2], layer="act", **wanted)
    return [first, compare(small_net, images[:2], layer="last_act", **(wanted | changes))]


def test_joined_rows_of_one_photo_stand_together_with_their_own_cells(small_net, images) -> None:
    parts = two(small_net, images)
    study = joined(iter(parts))
    assert [(row.name, row.layer) for row in study.rows] == [
        ("a.png", "act"),
        ("a.png", "last_act"),
        ("b.png", "act"),
        ("b.png", "last_act"),
    ]
    assert [cell.row for cell in study.cells] == [0, 0, 1, 1, 2, 2, 3, 3]
    for number, row in enumerate(study.rows):
        photo, part = number // 2, parts[number % 2]
        assert row == replace(part.rows[photo], image=photo)
        assert [cell.heatmap for cell in study.of(number)] == [cell.heatmap for cell in part.of(photo)]
        assert np.array_equal(study.pictures[row.image], part.pictures[photo])
    assert len(study.pictures) == 2
    assert (study.model, study.layer, study.layout) == ("SmallNet", "2 layers", "2 layouts")
    assert study.subject == "SmallNet, 2 layers"
    assert list(map(str, study.computations)) == ["gradcam", "gradcam@refuses"]
    study.figure()


def test_joined_models_keep_their_own_view_of_a_photo(small_net, images) -> None:
    wanted = {"names": ["a.png"], "layer": "act", "target": 1}
    parts = [
        compare(small_net, batch[:1], model_name=name, **wanted)
        for batch, name in ((images, "one"), (images[..., :24], "other"))
    ]
    study = joined(parts)
    assert [(row.image, row.model) for row in study.rows] == [(0, "one"), (1, "other")]
    assert [picture.shape for picture in study.pictures] == [(24, 32, 3), (24, 24, 3)]
    assert study.subject == "2 models, layer act"


def test_joined_tells_the_environment_and_origin_of_each(small_net, images) -> None:
    one, other = two(small_net, images)
    around = {"device": "cpu", "versions": {"torch": "2", "numpy": "2"}}
    one = replace(one, environment=around, provenance={"seed": 0})
    study = joined([one, replace(other, environment=around, provenance={"seed": 0})])
    assert (study.environment, study.provenance) == (around, {"seed": 0})
    later = {"device": "cpu", "versions": {"torch": "3", "numpy": "2", "timm": "1"}}
    study = joined([one, replace(other, environment=later)])
    assert study.environment == {"device": "cpu", "versions": {"torch": "2; 3", "numpy": "2", "timm": "none; 1"}}
    assert study.provenance == {"joined": [{"seed": 0}, {}]}


@pytest.mark.parametrize("changes", [{"wanted": ["gradcam"]}, {"seed": 1}, {"wanted": ["gradcam@refuses", "gradcam"]}])
def test_what_was_not_asked_alike_is_not_joined(small_net, images, changes) -> None:
    with pytest.raises(RequestError, match="the same computations and seed"):
        joined(two(small_net, images, **changes))


def test_one_study_is_itself(small_net, images) -> None:
    study = compare(small_net, images[[0, 1, 0]], names=["a.png", "b.png", "a.png"])
    assert joined([study]) is study


def test_photos_that_look_alike_are_two_where_their_names_are(small_net, images) -> None:
    parts = [compare(small_net, images[[0, 0]], names=["a.png", "b.png"], layer=layer) for layer in ("act", "last")]
    assert [row.image for row in joined(parts).rows] == [0, 0, 1, 1]


def test_nothing_is_not_joined() -> None:
    with pytest.raises(RequestError, match="there are no studies"):
        joined([])


def test_a_callable_target_has_its_name(small_net, images) -> None:
    def contrast(outputs):
        return outputs[:, 0] - outputs[:, 1]

    study = compare(small_net, images[:1], "gradcam,gradcam@ramp", target=contrast)
    assert study.rows[0].target == study.rows[0].title == "contrast"
    assert study.rows[0].class_index is None
    assert study.rows[0].probability is None
    assert study.cells[0].status is Status.OK
    assert study.cells[1].status is Status.NOT_OFFERED


def test_a_model_of_one_output_has_no_probability(images) -> None:
    from conftest import SmallNet, seeded

    study = compare(seeded(lambda: SmallNet(classes=1)), images[:1])
    assert study.rows[0].probability is None
    assert study.rows[0].top == ()
    assert study.rows[0].title == "logit of class 0"


def test_warnings_of_maps_that_show_nothing(small_net, images) -> None:
    study = compare(small_net, images[:2], "gradcam@zeros,gradcam@ramp")
    assert [bool(cell.warning) for cell in study.cells] == [True, False, True, False]
    assert study.cells[0].status is Status.OK
    found = study.agreement(1)
    assert found.names == ("gradcam@zeros", "gradcam@ramp")
    assert found.undefined == {"gradcam@zeros": study.cells[0].warning}
    assert math.isnan(found.values["pearson"][0, 1])
    assert math.isnan(found.values["pearson"][0, 0])
    assert found.values["pearson"][1, 1] == pytest.approx(1)


def test_agreement_on_the_layers_grid_or_the_pixels(small_net, images) -> None:
    study = compare(small_net, images[:1], "gradcam,gradcam@ramp,gradcam@pixels,gradcam@breaks")
    found = study.agreement()
    assert found.names == ("gradcam", "gradcam@ramp", "gradcam@pixels")
    assert found.grids == [["layer", "layer", "image"], ["layer", "layer", "image"], ["image"] * 3]
    maps = [cell.heatmap for cell in study.cells[:3]]
    ours, theirs, large = (replace(it, values=it.values.double()).at("normalised") for it in maps)
    for other, at, mine in ((theirs.values, 1, ours.values), (large.values, 2, ours.resize())):
        expected = np.corrcoef(mine.ravel(), other.ravel())[0, 1]
        assert found.values["pearson"][0, at] == pytest.approx(expected, abs=1e-12)


def test_wildcards_and_order(small_net, images) -> None:
    study = compare(small_net, images[:1], "gradcam@*")
    assert [cell.computation.backend for cell in study.cells] == list(FAKES)
    study = compare(small_net, images[:1], "other@ramp,gradcam@ramp,other@ramp")
    assert [str(cell.computation) for cell in study.cells] == ["other@ramp", "gradcam@ramp"]


def test_seconds_are_for_one_image(small_net, images, monkeypatch) -> None:
    def slow(problem, method, options):
        time.sleep(0.06)
        return ramp(problem, method, options)

    monkeypatch.setitem(FAKES, "slow", backend("slow", slow))
    study = compare(small_net, images, "gradcam@slow")
    assert all(0.02 <= cell.seconds < 0.06 for cell in study.cells)


def test_progress_is_told(small_net, images) -> None:
    seen = []
    compare(small_net, images[:1], "gradcam,gradcam@ramp", progress=lambda *told: seen.append(told))
    assert seen == [(0, 2, "gradcam"), (1, 2, "gradcam@ramp"), (2, 2, "")]


def test_what_the_study_says_of_itself(small_net, images) -> None:
    study = compare(small_net, images[:1], layer="act", seed=5)
    assert (study.model, study.layer, study.layout, study.seed) == ("SmallNet", "act", "12 x 16 channels-first", 5)
    assert study.environment["versions"]["torch"]
    assert "tensor" not in repr(study)
    assert len(repr(study)) < 600
    assert study._repr_png_().startswith(b"\x89PNG")
    assert study._repr_html_().startswith("<iframe")


def test_the_seed_reaches_the_backend_and_the_model_is_as_it_was(small_net, images, monkeypatch) -> None:
    seen = []

    def rude(problem, method, options):
        seen.append((problem.seed, torch.initial_seed()))
        problem.images.zero_()
        problem.model.train()
        problem.model.head.weight.grad = torch.ones_like(problem.model.head.weight)
        raise RuntimeError("and gone")

    monkeypatch.setitem(FAKES, "rude", backend("rude", rude))
    before, weights = images.clone(), {name: value.clone() for name, value in small_net.state_dict().items()}
    study = compare(small_net, images, "gradcam@rude,gradcam@ramp", seed=7)
    assert seen == [(7, 7)]
    assert study.cells[1].status is Status.OK
    assert torch.equal(images, before)
    assert not small_net.training
    assert small_net.head.weight.grad is None
    assert all(torch.equal(value, weights[name]) for name, value in small_net.state_dict().items())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_are_made_from_images_of_any_channels(images, channels) -> None:
    from conftest import SmallNet, seeded

    batch = torch.cat([images, images], 1)[:, :channels]
    study = compare(seeded(lambda: SmallNet(colours=channels)), batch)
    for picture in study.pictures:
        assert picture.shape == (24, 32, 3)
        assert picture.dtype == np.uint8
        assert picture.min() == 0
        assert picture.max() == 255


def test_pictures_of_images_that_are_not_finite_or_constant(small_net, images) -> None:
    batch = images[:2].clone()
    batch[0, :, 0, 0] = float("nan")
    batch[1] = 3
    study = compare(small_net, batch, target=0)
    assert study.pictures[0].max() == 255
    assert not study.pictures[1].any()
    assert study.cells[0].warning.startswith("not finite")


def test_pictures_that_were_given(small_net, images) -> None:
    grey, colour = np.arange(100, dtype=np.uint8).reshape(10, 10), np.zeros((5, 6, 3), dtype=np.uint8)
    study = compare(small_net, images[:2], pictures=[grey, colour])
    np.testing.assert_array_equal(study.pictures[0], np.stack([grey] * 3, -1))
    np.testing.assert_array_equal(study.pictures[1], colour)
    study.figure()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pictures": [np.zeros((4, 4, 3), dtype=np.uint8)]}, "1 pictures for 3 images"),
        ({"pictures": [np.zeros((4, 4, 3))] * 3}, r"bytes \(H, W, 3\)"),
        ({"pictures": [np.zeros((4, 4, 4), dtype=np.uint8)] * 3}, r"bytes \(H, W, 3\)"),
        ({"target": 5}, "class 5 is out of range"),
        ({"target": [[0, 1]]}, "one list for each of the 3 images"),
        ({"target": [[0], [1, 2], [3]]}, "all as long"),
        ({"target": "top9"}, "out of range"),
        ({"target": "cat"}, "a target is"),
        ({"layer": "lost"}, "did you mean 'last'|last"),
        ({"layer": "head"}, "no grid"),
        ({"wanted": "gradcm"}, "did you mean gradcam"),
        ({"wanted": "gradcam@rump"}, "did you mean ramp"),
        ({"wanted": ""}, "no method is named"),
        ({"wanted": []}, "no method is named"),
    ],
)
def test_a_question_without_sense_is_refused_before_any_work(small_net, images, monkeypatch, options, said) -> None:
    monkeypatch.setitem(FAKES, "ramp", backend("ramp", lambda *_: pytest.fail("a backend was asked")))
    with pytest.raises(RequestError, match=said) as error:
        compare(small_net, images, **({"wanted": "gradcam@ramp"} | options))
    assert "\n" not in str(error.value)


def test_volumes_are_refused_before_any_work(small_net) -> None:
    with pytest.raises(RequestError, match="volumes"):
        compare(small_net, torch.zeros(1, 3, 4, 4, 4))


def test_bfloat16_model(small_net, images) -> None:
    study = compare(small_net.bfloat16(), images.bfloat16(), "gradcam,gradcam@ramp")
    assert all(cell.status is Status.OK for cell in study.cells)
    assert study.cells[0].heatmap.values.dtype == torch.bfloat16
    study.figure()
    assert study.agreement().values["pearson"].shape == (2, 2)


def test_a_computation_is_named_with_its_options() -> None:
    assert str(Computation("gradcam", "ramp", {"a": 1, "b": "x"})) == "gradcam(a=1, b='x')@ramp"
