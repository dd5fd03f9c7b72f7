"""A batch at a glance, read back from the artists and from the pixels."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from PIL import Image

import camzoo
from camzoo import figures, glance, render
from camzoo.errors import RequestError
from camzoo.study import Study

LABELS = ["cat", "dog", "owl", "emu", "supercalifragilisticexpialidocious"]


@pytest.fixture
def study(small_net, images) -> Study:
    return camzoo.compare(small_net, images, "hirescam", layer="last", labels=LABELS)


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def predicted(study) -> list[int]:
    return [row.top[0][0] for row in study.rows]


def test_each_image_has_its_map_by_the_one_renderer(study):
    shown = panels(glance.figure(study, predicted(study), LABELS))
    assert len(shown) == 3
    for axes, cell, picture in zip(shown, study.cells, study.pictures, strict=True):
        values = render.at_size(cell.heatmap, 0, picture.shape[:2])
        np.testing.assert_allclose(axes.images[0].get_array(), render.overlay(picture, values))


def test_above_a_panel_stand_truth_prediction_and_probability(study):
    first, second, third = predicted(study)
    other = (second + 1) % 5
    shown = panels(glance.figure(study, [first, other, third], LABELS))
    for axes, row, true in zip(shown, study.rows, [first, other, third], strict=True):
        _, label, probability = row.top[0]
        above, below = texts(axes)
        assert above == LABELS[true] or (above.endswith("...") and LABELS[true].startswith(above[:-3]))
        assert below.endswith(f" {probability:.0%}")
        assert below.removeprefix(f"{glance.CROSS} ")[:3] == label[:3]


def test_wrong_ones_and_only_they_are_framed_crossed_and_red(study):
    truth = predicted(study)
    truth[1] = (truth[1] + 1) % 5
    figure = glance.figure(study, truth, LABELS)
    for number, axes in enumerate(panels(figure)):
        wrong = number == 1
        frame = axes.spines["left"]
        assert frame.get_visible() == wrong
        assert texts(axes)[1].startswith(glance.CROSS) == wrong
        assert (axes.texts[1].get_color() == glance.WRONG) == wrong
        if wrong:
            assert to_rgba(frame.get_edgecolor()) == to_rgba(glance.WRONG)
    assert figure.texts[0].get_text().startswith("2 of 3 right. hirescam, SmallNet, layer last")


def test_the_verdict_is_on_the_prediction_whatever_is_explained(small_net, images):
    truth = [0, 1, 2]
    explained = camzoo.compare(small_net, images, "hirescam", layer="last", target=truth, labels=LABELS)
    top = camzoo.compare(small_net, images, "hirescam", layer="last", labels=LABELS)
    of_truth, of_top = (panels(glance.figure(study, truth, LABELS)) for study in (explained, top))
    assert [texts(axes) for axes in of_truth] == [texts(axes) for axes in of_top]
    images_of_truth, images_of_top = ([axes.images[0].get_array() for axes in each] for each in (of_truth, of_top))
    assert not all(map(np.array_equal, images_of_truth, images_of_top))


def test_panels_do_not_overlap_and_lie_inside(study):
    big = replace(
        study,
        rows=tuple(study.rows[n % 3] for n in range(11)),
        cells=tuple(replace(study.cells[n % 3], row=n) for n in range(11)),
    )
    figure = glance.figure(big, [0] * 11, LABELS, columns=4)
    boxes = [axes.get_position() for axes in panels(figure)]
    assert len(boxes) == 11
    assert len({round(box.y0, 6) for box in boxes}) == 3
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 1 and box.y1 <= 1 for box in boxes)
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


def test_text_is_no_wider_than_its_panel(study):
    figure = glance.figure(study, [4, 4, 4], LABELS)
    figure.draw_without_rendering()
    for axes in panels(figure):
        room = axes.get_window_extent()
        for text in axes.texts:
            extent = text.get_window_extent()
            assert extent.x0 >= room.x0 - 2
            assert extent.x1 <= room.x1 + 2


def test_a_map_that_shows_nothing_says_why(study):
    flat = replace(study.cells[0], warning="constant: no cell differs from another")
    failed = replace(study.cells[1], heatmap=None, reason="broke <b>$x^{2$</b>")
    shown = panels(glance.figure(replace(study, cells=(flat, failed, study.cells[2])), [0, 0, 0], LABELS))
    assert "constant" in texts(shown[0])[0]
    assert "broke" in texts(shown[1])[0]
    assert len(texts(shown[2])) == 2
    np.testing.assert_array_equal(shown[1].images[0].get_array(), study.pictures[1])


def test_a_class_without_a_label_has_its_number(study):
    assert texts(panels(glance.figure(study, [7, 7, 7]))[0])[0] == "class 7"


def test_it_is_drawn(study):
    picture = Image.open(io.BytesIO(figures.png(glance.figure(study, [9, 9, 9], LABELS, columns=3))))
    colours = {pixel for _, pixel in picture.convert("RGB").getcolors(1 << 24)}
    assert (193, 18, 31) in colours


@pytest.mark.parametrize(
    ("wanted", "truth", "why"),
    [
        (["hirescam", "gradcam"], [0, 0, 0], "one method, this study has 2"),
        (["hirescam"], [0, 0], "2 true classes for 3 rows"),
    ],
)
def test_what_does_not_fit_is_refused(small_net, images, wanted, truth, why):
    study = camzoo.compare(small_net, images, wanted, layer="last", labels=LABELS)
    with pytest.raises(RequestError, match=why):
        glance.figure(study, truth, LABELS)


def test_outputs_that_are_no_classes_are_refused(study):
    bare = replace(study, rows=tuple(replace(row, top=()) for row in study.rows))
    with pytest.raises(RequestError, match="no classes"):
        glance.figure(bare, [0, 0, 0])


def test_maps_in_half_precision_are_drawn(small_net, images):
    study = camzoo.compare(small_net.to(torch.bfloat16), images.to(torch.bfloat16), "hirescam", layer="last")
    assert len(panels(glance.figure(study, [0, 0, 0]))) == 3
