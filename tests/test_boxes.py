"""Boxes against cases drawn by hand, a flood fill and SciPy's labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import require

from camzoo.boxes import Box, iou, largest_box, largest_boxes, segments
from camzoo.errors import RequestError
from camzoo.oracles import metrics_localisation as oracle

RNG = np.random.default_rng(0)


def drawn(*rows: str) -> np.ndarray:
    """A map from digits, a point for nothing: `"..9"`."""
    return np.array([[0.0 if cell == "." else float(cell) for cell in row] for row in rows])


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (Box(0, 0, 2, 2), Box(0, 0, 2, 2), 1),
        (Box(0, 0, 2, 2), Box(1, 0, 3, 2), 2 / 6),
        (Box(0, 0, 2, 2), Box(2, 0, 4, 2), 0),  # they touch
        (Box(0, 0, 4, 4), Box(1, 1, 2, 3), 2 / 16),
        (Box(0, 0, 0, 0), Box(0, 0, 0, 0), 0),
        (Box(3, 3, 1, 1), Box(0, 0, 4, 4), 0),  # turned inside out: empty
        (Box(0, 0, 1.5, 1), Box(0.5, 0, 2, 1), 1 / 2),
    ],
)
def test_iou_on_drawn_boxes(one, other, wanted):
    assert iou(one, other) == iou(other, one) == pytest.approx(wanted, abs=1e-15)


def test_a_pixel_is_a_box_of_area_one():
    assert largest_box(drawn("...", "..9")) == Box(2, 1, 3, 2)
    assert Box(2, 1, 3, 2).area == 1


def test_the_largest_segment_counts_pixels_not_the_box_around_them():
    # The diagonal spans a box of 9 with 3 pixels, the bar one of 4 with 4.
    assert largest_box(drawn("9....", ".9...", "..9..", ".....", "9999.")) == Box(0, 4, 4, 5)


def test_corners_join_for_eight_and_not_for_four():
    values = drawn("99...", "..9..", "...9.")
    assert largest_box(values, connectivity=8) == Box(0, 0, 4, 3)
    assert largest_box(values, connectivity=4) == Box(0, 0, 2, 1)


def test_the_threshold_is_a_share_of_the_maximum_and_is_not_met_by_equality():
    values = drawn("82...8")
    assert largest_box(values, share=0.24) == Box(0, 0, 2, 1)
    assert largest_box(values, share=0.25) == Box(0, 0, 1, 1)


def test_of_two_as_large_the_first_in_reading_order_wins():
    assert largest_box(drawn("...99", "99...")) == Box(3, 0, 5, 1)
    assert largest_box(drawn("..99", "....", "99..")) == Box(2, 0, 4, 1)


def test_rows_and_masks_do_not_run_into_each_other():
    masks = np.zeros((2, 2, 3), dtype=bool)
    masks[0, 0, 2] = masks[0, 1, 0] = True  # end of one row, start of the next
    masks[0, 1, 1] = masks[1, 0, 1] = True  # last row of one mask, first of the next
    found = segments(masks)
    assert found.mask.tolist() == [0, 1]
    assert found.size.tolist() == [3, 1]
    assert segments(masks, 4).size.tolist() == [1, 2, 1]


@pytest.mark.parametrize("values", [drawn("...", "..."), -drawn("123"), drawn("1.") + np.nan, drawn("1.") + np.inf])
def test_a_map_that_shows_nothing_has_no_box(values):
    assert largest_box(values) is None


def test_negative_values_are_below_every_threshold():
    assert largest_box(np.array([[-5.0, 1.0, -5.0]]), share=0) == Box(1, 0, 2, 1)


def test_tensors_with_gradients_are_taken():
    values = torch.tensor(drawn(".9"), dtype=torch.float16, requires_grad=True)
    assert largest_box(values) == Box(1, 0, 2, 1)


@pytest.mark.parametrize("share", [-0.1, 1.0, 15])
def test_a_share_that_is_none(share):
    with pytest.raises(RequestError, match="at least 0 and below 1"):
        largest_box(drawn("9"), share)


def test_other_requests_that_make_no_sense():
    with pytest.raises(RequestError, match="4 neighbours or 8"):
        largest_box(drawn("9"), connectivity=6)
    with pytest.raises(RequestError, match="one map at a time"):
        largest_box(np.ones((1, 2, 2)))


@pytest.mark.parametrize("connectivity", [4, 8])
def test_segments_against_a_flood_fill(connectivity):
    for _ in range(200):
        masks = RNG.random(RNG.integers(1, 9, 3)) < RNG.random()
        wanted = [
            (number, len(segment), oracle.around(segment))
            for number, mask in enumerate(masks)
            for segment in oracle.segments(set(map(tuple, np.argwhere(mask).tolist())), connectivity)
        ]
        found = segments(masks, connectivity)
        assert (
            list(zip(found.mask.tolist(), found.size.tolist(), map(tuple, found.edges.tolist()), strict=True)) == wanted
        )


@pytest.mark.parametrize("connectivity", [4, 8])
def test_segments_against_scipy(connectivity):
    label = require("scipy.ndimage").label
    spiral = np.zeros((41, 41), dtype=bool)
    spiral[::2] = spiral[1::4, -1] = spiral[3::4, 0] = True  # one long line to and fro
    for mask in (spiral, RNG.random((60, 50)) < 0.5, RNG.random((60, 50)) < 0.62):
        labels, number = label(mask, np.ones((3, 3)) if connectivity == 8 else None)
        found = segments(mask[None], connectivity)
        assert len(found.size) == number
        assert sorted(found.size) == sorted(np.bincount(labels.ravel())[1:])
    assert len(segments(spiral[None], connectivity).size) == 1


def test_iou_against_counted_pixels():
    for _ in range(200):
        one, other = (
            (left, top, left + width, top + height) for left, top, width, height in RNG.integers(0, 6, (2, 4)).tolist()
        )
        assert iou(Box(*one), Box(*other)) == pytest.approx(oracle.iou(one, other), abs=1e-15)


def test_many_maps_at_once_have_the_boxes_of_each_alone():
    values = np.random.default_rng(7).normal(size=(8, 9, 11)).astype(np.float32)
    values[2], values[4, 3, 3], values[5, 0, 0] = -1, np.nan, np.inf
    values[6] = values[6].round()
    for share in (0, 0.15, 0.6):
        assert largest_boxes(values, share) == [largest_box(each, share) for each in values]
    assert [each is None for each in largest_boxes(values)] == [False, False, True, False, True, True, False, False]
