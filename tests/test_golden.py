"""Golden maps: kept, asked for again, and a change is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import camzoo
from camzoo import figures, golden
from camzoo.errors import RequestError
from camzoo.types import Stage, Status


@pytest.fixture
def study(small_net, images):
    return camzoo.compare(small_net, images[:2], ["gradcam", "layercam"], layer="last_act", target=[[1, 2], [1, 3]])


def altered(study, change, at=1):
    cells = list(study.cells)
    cells[at] = change(cells[at])
    return replace(study, cells=tuple(cells))


def scaled(factor):
    return lambda cell: replace(cell, heatmap=replace(cell.heatmap, values=cell.heatmap.values * factor))


def test_what_is_kept_comes_back(study, tmp_path):
    files = golden.save(study, "my:net", None, tmp_path / "golden")
    assert files[0].name == golden.FILE
    assert all(path.exists() for path in files)
    kept, question = golden.load(tmp_path / "golden")
    assert question == golden.Question("my:net", None, 0, "last_act", ("gradcam", "layercam"), ((1, 2), (1, 3)))
    assert golden.changes(kept, study) == []
    assert [name for name, _ in golden.views(kept)] == ["image 0", "image 1"]
    assert all(
        np.array_equal(np.asarray(view), picture)
        for (_, view), picture in zip(golden.views(kept), study.pictures, strict=True)
    )


def test_a_map_that_moved_is_a_change(study):
    (change,) = golden.changes(study, altered(study, scaled(1.01)))
    assert change.error == pytest.approx(0.01, rel=1e-4)
    assert (change.name, change.row) == (str(study.cells[1].computation), study.cells[1].row)
    assert golden.changes(study, altered(study, scaled(1.01)), tolerance=0.02) == []
    assert golden.changes(study, altered(study, scaled(1 + 1e-5))) == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda cell: replace(cell, heatmap=None, status=Status.FAILED, reason="broke"), "failed: broke"),
        (
            lambda cell: replace(cell, heatmap=replace(cell.heatmap, stage=Stage.NORMALISED)),
            "given normalised, was raw",
        ),
        (
            lambda cell: replace(cell, heatmap=replace(cell.heatmap, values=cell.heatmap.values[..., :2])),
            "a grid of 6 x 2, was 6 x 8",
        ),
        (scaled(float("nan")), "away by nan of its largest value"),
    ],
)
def test_whatever_else_changed_is_said(study, spoil, reason):
    (change,) = golden.changes(study, altered(study, spoil))
    assert change.reason == reason
    figures.changes(study, [change])


def test_a_map_that_was_zero_and_is_not(study):
    zero = altered(study, scaled(0))
    (change,) = golden.changes(zero, study)
    assert change.error == float("inf")


def test_another_question_is_not_compared(study, small_net, images):
    other = camzoo.compare(small_net, images[:2], ["gradcam"], layer="last_act", target=1)
    with pytest.raises(RequestError, match="other images, classes or methods"):
        golden.changes(study, other)


def test_only_maps_are_golden(small_net, images, tmp_path):
    study = camzoo.compare(small_net, images, ["gradcam", "legrad"], layer="last_act", target=1)
    with pytest.raises(RequestError, match="not golden: legrad gave no map"):
        golden.save(study, None, None, tmp_path)
    study = camzoo.compare(small_net, images, "gradcam", layer="last_act", target=lambda y: y.sum(1))
    with pytest.raises(RequestError, match="golden maps explain classes"):
        golden.save(study, None, None, tmp_path)
    both = camzoo.joined(camzoo.compare(small_net, images, layer=layer, target=1) for layer in ("act", "last_act"))
    with pytest.raises(RequestError, match="golden maps are of one model and layer, not of SmallNet, 2 layers"):
        golden.save(both, None, None, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [None, "{", '{"model": null}'])
def test_a_folder_without_golden_maps(tmp_path, text):
    if text:
        (tmp_path / golden.FILE).write_text(text)
    with pytest.raises(RequestError, match="holds no golden maps"):
        golden.load(tmp_path)


def test_the_figure_has_a_row_for_each_change(study):
    changed = golden.changes(study, altered(altered(study, scaled(2)), scaled(0.5), at=0))
    assert len(changed) == 2
    figure = figures.changes(study, changed)
    assert len(figure.axes) == 8
    assert torch.tensor(bytearray(figures.png(figure)[:4])).tolist() == [0x89, 0x50, 0x4E, 0x47]
