"""Measures of likeness, against hand-worked cases and SciPy where it is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import require

from camzoo import agreement
from camzoo.agreement import compare, pearson, ranks, spearman, top_overlap


def random(seed=0, shape=(7, 7)):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(7, 7), (1, 2), (3, 50)])
@pytest.mark.parametrize("rounded", [False, True], ids=["continuous", "tied"])
def test_correlations_are_those_of_scipy(shape, rounded) -> None:
    stats = require("scipy.stats")
    one, other = random(1, shape), random(2, shape) + 0.5 * random(1, shape)
    if rounded:
        one, other = np.round(one, 1), np.round(other, 1)
    x, y = one.ravel(), other.ravel()
    assert ranks(one).tolist() == stats.rankdata(x).tolist()
    assert pearson(one, other) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-14)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-14)


def test_pearson_by_hand() -> None:
    # x - mean = (-1, 0, 1), y - mean = (-2, 1, 1) : 3 / sqrt(2 * 6)
    assert pearson(np.array([1.0, 2, 3]), np.array([0.0, 3, 3])) == pytest.approx(3 / math.sqrt(12), abs=1e-15)


def test_ranks_of_ties_are_averages() -> None:
    assert ranks(np.array([[5.0, 1.0], [5.0, -0.0]])).tolist() == [3.5, 2, 3.5, 1]
    assert ranks(np.array([0.0, -0.0, 1.0])).tolist() == [1.5, 1.5, 3]


def test_spearman_sees_order_only() -> None:
    values = random()
    assert spearman(values, np.exp(values)) == pytest.approx(1, abs=1e-14)
    assert pearson(values, np.exp(values)) < 0.95
    assert spearman(values, -(values**3)) == pytest.approx(-1, abs=1e-14)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e307])
def test_size_of_the_values_does_not_matter(scale) -> None:
    one, other = random(1), random(2)
    assert pearson(one * scale, other) == pytest.approx(pearson(one, other), abs=1e-14)
    assert pearson(one * scale, other * scale) == pytest.approx(pearson(one, other), abs=1e-14)
    assert spearman(one * scale, other) == spearman(one, other)


def test_a_spread_of_one_last_digit_on_a_large_constant_is_still_seen() -> None:
    step = np.nextafter(1, 2)
    assert pearson(np.array([1, step, 1]), np.array([0.0, 1, 0])) == pytest.approx(1, abs=1e-15)


def test_full_range_of_floats_does_not_overflow() -> None:
    largest = np.finfo(float).max
    assert pearson(np.array([-largest, 0, largest]), np.array([1.0, 2, 3])) == pytest.approx(1, abs=1e-15)


def test_a_map_agrees_with_itself_in_everything() -> None:
    for values in (random(), np.round(random()), np.eye(7), 1 - np.eye(7)):
        assert pearson(values, values) == pytest.approx(1, abs=1e-15)
        assert spearman(values, values) == pytest.approx(1, abs=1e-15)
        assert top_overlap(values, values) == 1


@pytest.mark.parametrize("measure", [pearson, spearman, top_overlap])
@pytest.mark.parametrize(
    "flat", [np.zeros((7, 7)), np.full((7, 7), 0.1), np.full((7, 7), np.nan), np.diag([np.inf] * 7)]
)
def test_nothing_is_made_up_from_a_map_that_says_nothing(measure, flat) -> None:
    assert math.isnan(measure(flat, random(0, (9,))))
    assert math.isnan(measure(random(0, (9,)), flat))
    assert math.isnan(measure(flat, flat))


def test_top_overlap_looks_at_the_largest_cells_only() -> None:
    rising = np.arange(100.0)
    other = np.concatenate([random(0, (90,)), rising[90:]])
    assert top_overlap(rising, other) == 1
    assert top_overlap(-rising, -other) < 1


def test_top_overlap_by_hand() -> None:
    rising = np.arange(20.0)
    other = rising.copy()
    other[[0, 19]] = other[[19, 0]]
    # ceil(0.1 * 20) = 2 top cells: 18 and 19 of one, 0 and 18 of the other.
    assert top_overlap(rising, other) == 0.5
    assert top_overlap(rising, -rising) == 0
    assert top_overlap(rising, -rising, share=1) == 1


@pytest.mark.parametrize(("cells", "share", "count"), [(10, 0.1, 1), (49, 0.1, 5), (30, 0.1, 3), (100, 0.07, 7)])
def test_number_of_top_cells(cells, share, count) -> None:
    # Moved on by one cell, all of the top but one are the same. (0.07 * 100 is a little more than 7 in floats.)
    rising = np.arange(float(cells))
    assert top_overlap(rising, np.roll(rising, 1), share) == (count - 1) / count


def test_ties_are_broken_by_the_seed_and_for_both_maps_alike() -> None:
    one = np.zeros(100)
    one[0] = 1
    assert top_overlap(one, 2 * one, seed=3) == 1
    other = np.zeros(100)
    other[1] = 1
    assert top_overlap(one, other, seed=5) == top_overlap(one, other, seed=5) >= 0.8


def test_layer_grid_where_both_maps_have_it_else_the_pixels() -> None:
    small, other_small = random(1), random(2)
    large, other_large, only_large = (random(seed, (20, 20)) for seed in (3, 4, 5))
    found = compare({"a": (small, large), "b": (other_small, other_large), "c": (None, only_large)}, {})
    assert found.grids == [["layer", "layer", "image"], ["layer", "layer", "image"], ["image", "image", "image"]]
    assert found.values["pearson"][0, 1] == pearson(small, other_small)
    assert found.values["pearson"][1, 0] == pearson(small, other_small)
    assert found.values["spearman"][0, 1] == spearman(small, other_small)
    assert found.values["top-10% overlap"][0, 1] == top_overlap(small, other_small)
    assert found.values["pearson"][0, 2] == pearson(large, only_large)
    assert found.values["spearman"][2, 1] == spearman(other_large, only_large)
    assert found.values["top-10% overlap"][2, 1] == top_overlap(other_large, only_large)
    for matrix in found.values.values():
        np.testing.assert_array_equal(matrix, matrix.T)
        np.testing.assert_allclose(np.diag(matrix), 1, rtol=0, atol=1e-15)
    assert tuple(found.values) == agreement.MEASURES
    assert found.undefined == {}


def test_maps_on_different_layer_grids_meet_on_the_pixels() -> None:
    large, other = random(3, (20, 20)), random(4, (20, 20))
    found = compare({"a": (random(1), large), "b": (random(2, (14, 14)), other)}, {})
    assert found.grids[0][1] == "image"
    assert found.values["pearson"][0, 1] == pearson(large, other)


def test_undefined_maps_have_a_reason_and_no_number() -> None:
    flat = np.zeros((7, 7))
    maps = {
        "a": (random(), random(1, (9, 9))),
        "flat": (flat, np.zeros((9, 9))),
        "told": (random(2), random(3, (9, 9))),
    }
    found = compare(maps, {"told": "the reason"})
    assert found.undefined == {"flat": "constant or not finite", "told": "the reason"}
    for matrix in found.values.values():
        assert np.isfinite(matrix).tolist() == [[True, False, False], [False] * 3, [False] * 3]


def test_no_maps_at_all() -> None:
    found = compare({}, {})
    assert found.names == ()
    assert all(matrix.shape == (0, 0) for matrix in found.values.values())
