"""Metrics of maps that are there already: the same numbers as from the metrics themselves, and as `camzoo evaluate`."""

from __future__ import annotations

import contextlib

import pytest
import torch

from camzoo import backends, metrics, native, specs
from camzoo.errors import RequestError
from camzoo.evaluation import batch, judging, table
from camzoo.evaluation.batch import Question
from camzoo.evaluation.readings import Reading, missing
from camzoo.evaluation.samples import Sample
from camzoo.study import compare
from camzoo.types import Backend, Heatmap, Offer, Resolution, Stage, Status

METHODS = "gradcam,layercam,sobel,ablationcam,uniform"
WANTED = "fast,insertion-mean,deletion,coherency,adcc,class-sensitivity"
EXACT = {"rel": 1e-10, "abs": 1e-12}  # rounding of double precision, between batches of other sizes


@pytest.fixture
def net(small_net):
    return small_net.double()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


@pytest.fixture
def masks(photos) -> torch.Tensor:
    """A box in the middle of every image but the last."""
    found = torch.zeros(len(photos), *photos.shape[2:], dtype=torch.bool)
    found[:-1, 6:18, 8:24] = True
    return found


@contextlib.contextmanager
def counted(net):
    """The batch sizes in which a model is run meanwhile."""
    sizes: list[int] = []
    handle = net.register_forward_pre_hook(lambda _module, given: sizes.append(len(given[0])))
    yield sizes
    handle.remove()


def values(study, row: int, at: int = 0) -> dict[str, float | None]:
    return {name: reading.value for name, reading in study.of(row)[at].readings.items()}


# ---- the numbers


def test_values_are_those_of_the_metrics_called_plainly(net, photos, masks) -> None:
    study = compare(net, photos, "gradcam,layercam", layer="last", target=[1, 4, 2], metrics="fast", masks=masks)
    for row, frozen in enumerate((1, 4, 2)):
        photo, size = photos[row : row + 1], tuple(photos.shape[2:])
        for at, cell in enumerate(study.of(row)):
            drop = metrics.confidence(lambda x, _rows, y=frozen: net(x).softmax(1)[:, y], photo, cell.heatmap.values)
            plain = {
                "average-drop": drop.drop,
                "increase": drop.increase,
                "average-gain": drop.gain,
                "complexity": metrics.complexity(cell.heatmap.values, size),
                "entropy": metrics.entropy(cell.heatmap.values, size),
                "energy": metrics.energy(cell.heatmap.values, masks[row : row + 1]),
                "mask-iou": metrics.mask_iou(cell.heatmap.values, masks[row : row + 1]),
            }
            found = values(study, row, at)
            for name, value in plain.items():
                expected = None if value.isnan() else pytest.approx(float(value), **EXACT)
                assert found[name] == expected, (row, at, name)


def test_average_drop_by_hand(net, photos) -> None:
    study = compare(net, photos[:1], "center", target=3, metrics="average-drop,average-gain,complexity")
    shown = metrics.shown(study.cells[0].heatmap.values, tuple(photos.shape[2:]))
    before, after = net(torch.cat([photos[:1], photos[:1] * shown[:, None]])).softmax(1)[:, 3].tolist()
    assert values(study, 0) == {
        "average-drop": pytest.approx(max(0, before - after) / before, **EXACT),
        "average-gain": pytest.approx(max(0, after - before) / (1 - before), **EXACT),
        "complexity": pytest.approx(float(shown.mean()), **EXACT),
    }


def test_readings_are_those_of_an_evaluation_of_the_same_images(net, photos, masks) -> None:
    wanted = judging.fitting(WANTED, masked=True)
    given = zip(photos, masks, strict=True)
    samples = [Sample(at, f"{at}.png", None, None, photo, (), mask) for at, (photo, mask) in enumerate(given)]
    evaluated = batch.evaluate(Question(net, "last", tuple(specs.expand(METHODS)), wanted), samples)
    # Laid out as the evaluation lays them out: other orders of summing break ties between pixels in other ways.
    photos = photos.contiguous(memory_format=torch.channels_last)
    study = compare(
        net, photos, METHODS, layer="last", metrics=WANTED, masks=masks, names=[each.name for each in samples]
    )
    expected = {(each.image, each.method, each.metric): each for each in evaluated}
    found = study.readings()
    assert len(found) == 3 * 5 * len(wanted)
    assert {each["status"] for each in found} == {"ok", "undefined"}
    for each in found:
        other = expected[each["image"], each["method"], each["metric"]]
        assert (each["status"], each["reason"]) == (other.status, other.reason), each
        assert each["value"] == (None if other.value is None else pytest.approx(other.value, **EXACT)), each
        assert each["target"] == other.target
    chances = {each.image: each.value for each in evaluated if (each.method, each.metric) == ("chance", "energy")}
    assert [cell.readings["energy"].chance for cell in study.cells[::5]] == pytest.approx(
        [*list(chances.values())[:2], None]
    )


def test_targets_of_one_image_are_followed_each_by_its_own_class(net, photos) -> None:
    both = compare(net, photos[:1], "gradcam", target=[[0, 3]], metrics="average-drop,insertion-mean,coherency")
    for row, frozen in enumerate((0, 3)):
        alone = compare(net, photos[:1], "gradcam", target=frozen, metrics="average-drop,insertion-mean,coherency")
        assert values(both, row) == pytest.approx(values(alone, 0), **EXACT)


# ---- what it costs


def test_the_masked_images_of_all_cells_of_an_image_are_one_batch(net, photos) -> None:
    with counted(net) as plain:
        compare(net, photos, "gradcam,layercam,sobel", layer="last", target="top2")
    with counted(net) as judged:
        compare(net, photos, "gradcam,layercam,sobel", layer="last", target="top2", metrics="fast")
    assert judged == [*plain, 6, 6, 6]


def test_without_metrics_nothing_is_read(net, photos) -> None:
    study = compare(net, photos, "gradcam")
    assert study.metrics == []
    assert study.readings() == []
    assert not any(cell.readings for cell in study.cells)


def test_the_model_comes_back_as_it_was(net, photos) -> None:
    net.train()
    net.norm.eval()
    flags = {name: module.training for name, module in net.named_modules()}
    state = {name: value.clone() for name, value in net.state_dict().items()}
    compare(net, photos, "gradcam", metrics="fast,coherency,class-sensitivity,deletion-mean")
    assert {name: module.training for name, module in net.named_modules()} == flags
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_progress_tells_each_metric_of_each_image(net, photos) -> None:
    told: list[tuple[int, int, str]] = []
    wanted = {"metrics": "complexity,average-drop", "names": ["a", "b"]}
    compare(net, photos[:2], "gradcam", **wanted, progress=lambda *each: told.append(each))
    names = ["gradcam", "average-drop of a", "complexity of a", "average-drop of b", "complexity of b", ""]
    assert told == [(at, 5, name) for at, name in enumerate(names)]


# ---- what cannot be said


def fragile(problem, method, _options) -> Heatmap:
    """A map of photos; of masked ones, which have zeros, it breaks."""
    if bool((problem.images == 0).any()):
        raise ValueError("only photos\nplease")
    values = problem.images.mean(1)
    return Heatmap(values, Stage.RAW, Resolution.IMAGE, problem.image_size, method, "fragile")


def test_what_breaks_is_told_in_its_reading_and_stops_nothing(net, photos, monkeypatch) -> None:
    offer = Offer("gradcam", "Gradcam", Stage.RAW, Resolution.IMAGE)
    fakes = {native.NAME: native.backend, "fragile": Backend("fragile", "camzoo", (offer,), fragile)}
    monkeypatch.setattr(backends, "found", lambda: fakes)
    monkeypatch.setattr(backends, "_loaded", dict)
    study = compare(net, photos[:1], "gradcam,gradcam@fragile", metrics="average-drop,coherency,adcc")
    whole, broken = (cell.readings for cell in study.cells)
    assert {reading.status for reading in whole.values()} == {"ok"}
    assert broken["average-drop"].status == "ok"
    for name in ("coherency", "adcc"):
        assert broken[name] == Reading(None, Status.FAILED, "ValueError: only photos")


def test_a_method_without_a_map_has_no_readings(net, photos) -> None:
    study = compare(net, photos[:1], "gradcam,legrad", metrics="fast")
    assert [bool(cell.readings) for cell in study.cells] == [True, False]


def test_of_what_is_no_class_only_the_map_is_judged(net, photos) -> None:
    def contrast(outputs):
        return outputs[:, 0] - outputs[:, 1]

    study = compare(net, photos[:1], "gradcam", target=contrast, metrics="fast,coherency,class-sensitivity")
    found = study.cells[0].readings
    assert {name for name, reading in found.items() if reading.value is not None} == {"complexity", "entropy"}
    assert {(reading.status, reading.reason) for reading in found.values() if reading.value is None} == {
        ("not offered", judging.NO_CLASS)
    }


def test_an_image_without_a_mask_has_no_localisation(net, photos, masks) -> None:
    study = compare(net, photos, "gradcam", metrics="energy,complexity", masks=masks)
    readings = [study.of(row)[0].readings["energy"] for row in range(3)]
    assert [reading.status for reading in readings] == ["ok", "ok", "undefined"]
    assert readings[2].reason == str(table.Needs.MASKS)
    assert readings[0].chance == pytest.approx(0.25)
    assert all(study.of(row)[0].readings["complexity"].value is not None for row in range(3))


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"metrics": "pointing"}, "pointing needs masks"),
        ({"metrics": "box-iou-15", "masks": True}, "box-iou-15 needs boxes, which `camzoo evaluate` reads"),
        ({"metrics": "error-top-1"}, "needs boxes and labels"),
        ({"metrics": "average-dorp"}, "did you mean"),
        ({"metrics": "randomisation"}, "is said of many images together"),
        ({"metrics": "fast", "masks": torch.zeros(3, 5, 5)}, r"masks of shape \(3, 5, 5\)"),
    ],
)
def test_what_cannot_be_read_is_refused_before_any_work(net, photos, masks, asked, line) -> None:
    given = {**asked, "masks": masks} if asked.get("masks") is True else asked
    with counted(net) as sizes, pytest.raises(RequestError, match=line):
        compare(net, photos, "gradcam", **given)
    assert sizes == []


def test_fast_leaves_out_what_there_is_nothing_for() -> None:
    names = [metric.name for metric in judging.fitting("fast", masked=False)]
    assert names == ["average-drop", "increase", "average-gain", "complexity", "entropy"]
    assert {"pointing", "energy", "mask-iou"} < {metric.name for metric in judging.fitting(["fast"], masked=True)}


def test_why_values_are_missing_is_told_once_for_all_of_which_it_is_true() -> None:
    ok, constant = Reading(0.5), Reading(None, "undefined", "the map is constant")
    found = {
        "gradcam": {"a": ok, "b": ok},
        "uniform": {"a": constant, "b": constant},
        "cam": {"a": ok, "b": Reading(None, "undefined", "0 / 0")},
        "center": {"a": constant, "b": ok},
    }
    assert missing(found) == {"the map is constant": ["uniform (every metric)", "center (a)"], "0 / 0": ["cam (b)"]}
