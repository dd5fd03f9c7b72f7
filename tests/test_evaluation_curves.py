"""Metrics with several values for each image: their rows, what is read from them, their tables and their figure."""

from __future__ import annotations

import math

import drawings
import numpy as np
import pytest
import torch
from conftest import require
from PIL import Image

from camzoo import metrics, specs
from camzoo.boxes import Box
from camzoo.evaluation import batch, files, page, reading, table
from camzoo.evaluation.batch import CONTROLS, Question
from camzoo.evaluation.curves import curves
from camzoo.explaining import explain
from camzoo.leaderboard import curves as chart
from camzoo.specs import Computation

N = 12
WANTED = ("max-box-acc", "max-box-acc-v2", "randomisation")
BLOCKS = ["head", "last", "middle", "stem"]


def perfect(images, of):
    """The mask itself, whatever the model."""
    return torch.stack([sample.mask.float() for sample in of])


def broken(images, of):
    raise ValueError("it is broken")


@pytest.fixture(scope="module")
def net():
    return drawings.trained()


@pytest.fixture(scope="module")
def loaded():
    return [drawings.sample_of(number) for number in range(N)]


@pytest.fixture(scope="module")
def question(net):
    own = {"perfect": perfect, "broken": broken}
    named = (*(Computation(name, "own") for name in own), *specs.expand(["gradcam,eigencam", *CONTROLS]))
    return Question(net, "last", named, table.expand(WANTED), own=own)


@pytest.fixture(scope="module")
def records(question, loaded):
    return batch.evaluate(question, loaded)


@pytest.fixture(scope="module")
def folder(question, records, tmp_path_factory):
    require("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("curves") / "run"
    asked = {
        "model": "net", "weights": "w", "layer": "last", "methods": list(map(str, question.methods)), "seed": 0,
        "target": "predicted", "metrics": list(WANTED), "data": "drawn", "images": N,
    }  # fmt: skip
    manifest = {"schema_version": 1, "question": asked, "title": "shapes", "labels": list(drawings.LABELS)}
    files.begin(folder, manifest, resume=False)
    half = len(records) // 2
    files.keep(folder, 0, records[:half])
    files.keep(folder, 1, records[half:])
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return reading.read(folder)


def at(results, method):
    return results.methods.index(method)


# ---- the rows


def test_there_is_a_row_for_each_part(records):
    rows = [each.metric for each in records if (each.image, each.method) == ("0.png", "gradcam")]
    shares = [f"{share:.2f}" for share in table.BOX_THRESHOLDS]
    boxes = [table.row_of(name, share) for name in WANTED[:2] for share in shares]
    assert rows == [*boxes, *(f"randomisation@{block}" for block in BLOCKS)]
    assert (len(shares), shares[0], shares[-1]) == (20, "0.00", "0.95")


def test_what_broke_has_one_row_by_the_metrics_own_name(records):
    rows = {(each.metric, each.status, each.reason) for each in records if each.method == "broken"}
    assert rows == {(name, "failed", "ValueError: it is broken") for name in WANTED}


def test_rows_of_boxes_are_those_of_the_curves(records, net, loaded):
    images = torch.stack([each.image for each in loaded])
    maps = explain(net, images, "gradcam", layer="last", stage="raw").values
    found = metrics.box_curves(maps, [each.boxes for each in loaded], (32, 32), thresholds=table.BOX_THRESHOLDS)
    for name, wanted in (("max-box-acc", found.largest), ("max-box-acc-v2", found.any)):
        for number, share in enumerate(table.BOX_THRESHOLDS):
            row = table.row_of(name, f"{share:.2f}")
            got = [each.value for each in records if (each.method, each.metric) == ("gradcam", row)]
            assert got == pytest.approx(wanted[:, number].tolist(), rel=1e-6)


@pytest.mark.filterwarnings("ignore::camzoo.errors.DegenerateMapWarning")
def test_rows_of_randomisation_are_those_of_a_cascade_by_hand(records, net, loaded):
    images = torch.stack([each.image for each in loaded])
    classes = net(images).argmax(1).tolist()
    before, wanted = explain(net, images, "gradcam", layer="last", target=classes, stage="raw").values, {}
    for layer, copied in metrics.randomised(net):
        maps = explain(copied, images, "gradcam", layer="last", target=classes, stage="raw").values
        wanted[layer.split(".")[0]] = metrics.similarity(before, maps, (8, 8))
    assert list(wanted) == BLOCKS
    for block, values in wanted.items():
        row = table.row_of("randomisation", block)
        got = [each.value for each in records if (each.method, each.metric) == ("gradcam", row)]
        assert [math.nan if each is None else each for each in got] == pytest.approx(
            values.tolist(), abs=1e-5, nan_ok=True
        )


# ---- what is read from them


def test_a_perfect_map_has_a_box_accuracy_of_1_and_noise_that_of_chance(results):
    """The shapes are small: the box of the whole image fits none, and that of noise few."""
    for name in WANTED[:2]:
        ranking = reading.ranking(results, name)
        means = {each.method: each.mean for each in ranking.standings}
        assert ranking.standings[0].method == "perfect@own"
        assert (means["perfect@own"].value, means["perfect@own"].low) == (1, 1)
        assert ranking.chance == results.chance[name].mean() == 0
        assert means["random"].value < 0.2 < means["gradcam"].value
        assert means["uniform"].undefined == means["broken@own"].undefined == N
        assert ranking.together == N


def test_an_image_adds_what_its_box_does_at_the_best_threshold(results):
    for name in WANTED[:2]:
        ranking = reading.ranking(results, name)
        for each in ranking.standings:
            own = results.values[name][at(results, each.method)]
            assert each.mean.value == pytest.approx(np.nanmean(own)) if each.mean.images else np.isnan(own).all()


def test_the_interval_is_not_that_of_a_threshold_chosen_once(results):
    row = at(results, "gradcam")
    overlaps = np.stack([each[row] for each in results.parts["max-box-acc"].values()])
    drawn = np.random.default_rng([results.seed]).integers(N, size=(2000, N))
    anew = [(overlaps[:, images] >= 0.5).mean(1).max() for images in drawn]
    found = {each.method: each.mean for each in reading.ranking(results, "max-box-acc").standings}["gradcam"]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(anew, (0.025, 0.975))))


def test_a_class_keeps_the_threshold_of_all_images(results):
    whole = {each.method: each.mean.value for each in reading.ranking(results, "max-box-acc").standings}
    parts = [part for _, part in reading.classes(results)]
    sums = [np.nansum(part.values["max-box-acc"][at(results, "gradcam")]) for part in parts]
    assert sum(sums) / N == pytest.approx(whole["gradcam"])
    one = {each.method: each.mean for each in reading.ranking(parts[0], "max-box-acc").standings}["gradcam"]
    assert one.value == pytest.approx(np.mean(parts[0].values["max-box-acc"][at(results, "gradcam")]))


def test_reasons_are_counted_by_image_and_not_by_part(results):
    constant = "undefined: the map is constant"
    assert {results.reasons[name, "uniform", constant] for name in WANTED} == {N}
    assert results.reasons["max-box-acc", "broken@own", "failed: ValueError: it is broken"] == N


def test_randomisation_ranks_nothing_and_tells_the_blind(results):
    ranking = reading.ranking(results, "randomisation")
    assert (ranking.metric.better, ranking.controls) == (0, ())
    found = {each.method: each for each in next(each for each in curves(results) if each.at is None).methods}
    assert [point.value for point in found["perfect@own"].points] == pytest.approx([1] * 4)  # it is blind to the model
    assert found["eigencam"].points[0].value == pytest.approx(1)  # and this one to the head
    assert max(abs(point.value) for point in found["random"].points) < 0.2
    assert all(each.best is None for each in found.values())


def test_curves(results):
    found = curves(results)
    assert [each.title for each in found] == [
        "max-box-acc, IoU from 0.5",
        *(f"max-box-acc-v2, IoU from {iou}" for iou in (0.3, 0.5, 0.7)),
        "randomisation",
    ]
    first, low, middle, high, last = found
    assert last.parts == tuple(BLOCKS)
    row = at(results, "gradcam")
    overlaps = np.stack([each[row] for each in results.parts["max-box-acc"].values()])
    curve = next(each for each in first.methods if each.method == "gradcam")
    shares = (overlaps >= 0.5).mean(1)
    assert [point.value for point in curve.points] == pytest.approx(shares.tolist())
    assert curve.best == shares.argmax()
    v2 = np.mean([max(p.value for p in c.methods[row].points) for c in (low, middle, high)])
    assert v2 == pytest.approx(np.nanmean(results.values["max-box-acc-v2"][row]))
    assert {each.best for each in first.methods if each.method in ("uniform", "broken@own")} == {None}


def test_chance_by_iou_is_told_from_its_mean(results):
    """Of four images one has a whole-image IoU below 0.3, one below 0.5, one below 0.7 and one above."""
    levels = {"max-box-acc": np.array([0.0, 0, 1, 1]), "max-box-acc-v2": np.array([0, 1, 2, 3]) / 3}
    known = {name: np.pad(each, (0, N - 4), constant_values=np.nan) for name, each in levels.items()}
    found = curves(reading.replace(results, chance=results.chance | known))
    assert [each.chance for each in found] == [0.5, 0.75, 0.5, 0.25, None]


def test_the_chance_level_is_that_of_the_whole_image():
    boxes = (*((Box(0, 0, 10, side),) for side in (2, 4, 6, 8)), ())
    images = torch.zeros(5, 3, 10, 10)
    of = table.Batch(images, torch.ones(5), lambda *_: images, boxes, torch.zeros(5, 10, 10).bool(), torch.zeros(5))
    assert table.find("max-box-acc").chance(of)[:4].tolist() == [0, 0, 1, 1]
    assert table.find("max-box-acc-v2").chance(of)[:4].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert table.find("max-box-acc-v2").chance(of)[4].isnan()


# ---- what is shown


def test_the_page_has_the_curves_in_numbers(results):
    text = page.page(results)
    assert "## max-box-acc, IoU from 0.5: the curve" in text
    assert "By chance, with the box of the whole image: 0.000." in text
    section = text.split("## max-box-acc, IoU")[1].split("\n## ")[0]
    (line,) = [line for line in section.splitlines() if line.startswith("| perfect@own")]
    assert line.split(" | ")[1:3] == ["0.00", "1.000"]
    assert "| method | `head` | `last` | `middle` | `stem` |" in text
    assert "neither way is better: no ranking" in text.lower()
    assert "| uniform (control) | undefined, N 0 |" in text


def test_the_figure(results, folder):
    found = list(curves(results))
    figure = chart.figure(results, found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [each.title for each in found]
    first, last = figure.axes[0], figure.axes[-1]
    drawn = {line.get_label(): line for line in first.lines if not line.get_label().startswith("_")}
    assert list(drawn) == list(results.methods)
    gradcam = found[0].methods[at(results, "gradcam")]
    assert drawn["gradcam"].get_ydata().tolist() == [point.value for point in gradcam.points]
    marks = [line.get_xdata()[0] for line in first.lines if len(line.get_xdata()) == 1]
    assert marks == [each.best for each in found[0].methods if each.best is not None]
    assert [label.get_text() for label in last.get_xticklabels()] == BLOCKS
    (path,) = chart.write(results, folder)
    before = path.read_bytes()
    assert chart.write(results, folder) == [path]
    assert path.read_bytes() == before
    with Image.open(path) as picture:
        assert min(picture.size) > 400


def test_without_curves_nothing_is_written(results, tmp_path):
    assert chart.write(reading.replace(results, parts={}), tmp_path) == []
    nothing = {"max-box-acc": {"0.00": np.full((len(results.methods), N), np.nan)}}
    assert chart.write(reading.replace(results, parts=nothing), tmp_path) == []
    assert not list(tmp_path.iterdir())
