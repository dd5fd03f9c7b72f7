"""Localisation on drawn cases with known answers, against the oracle and scikit-learn."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from conftest import require

from camzoo import metrics
from camzoo.boxes import Box
from camzoo.errors import RequestError
from camzoo.metrics import box_accuracy, maps
from camzoo.noise import generator
from camzoo.oracles import metrics_localisation as oracle

SIZE = (10, 12)
N = 6
NAN = torch.nan


def exact(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)  # maps are shown in single precision


@pytest.fixture(scope="module")
def values():
    """Smooth maps of a coarse grid, min-max at the size of the image."""
    return metrics.shown(torch.rand(N, 4, 5, generator=torch.Generator().manual_seed(3)), SIZE)


@pytest.fixture(scope="module")
def truth():
    random = np.random.default_rng(4)
    corners = random.integers(0, 7, (N, 2, 2))
    sides = random.integers(1, 5, (N, 2, 2))
    return [
        [Box(left, top, left + w, min(top + h, 10)) for (left, top), (w, h) in zip(c, s, strict=True)]
        for c, s in zip(corners.tolist(), sides.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def masks(truth):
    return metrics.box_masks(truth, SIZE)


def as_set(mask):
    return set(map(tuple, np.argwhere(mask.numpy()).tolist()))


def edges(boxes):
    return [(box.left, box.top, box.right, box.bottom) for box in boxes]


def spot(row, column, size=(40, 50)):
    one = torch.zeros(1, *size)
    one[0, row, column] = 1
    return one


# ---- boxes as masks


def test_box_masks_hold_the_pixels_whose_centres_lie_inside():
    masks = metrics.box_masks([[Box(1, 0, 3, 2), Box(4, 1, 5, 2)], [Box(0.4, 0, 1.6, 1)], []], (2, 5))
    assert masks.int().tolist() == [[[0, 1, 1, 0, 0], [0, 1, 1, 0, 1]], [[1, 1, 0, 0, 0], [0] * 5], [[0] * 5] * 2]


# ---- the pointing game


def test_the_tolerance_of_the_pointing_game_is_a_disc_of_15_pixels():
    mask = spot(20, 20).bool()
    hits = {(20, 20): 1, (20, 35): 1, (20, 36): 0, (5, 20): 1, (4, 20): 0, (29, 32): 1, (31, 31): 0, (30, 31): 1}
    for (row, column), wanted in hits.items():  # 9^2 + 12^2 = 15^2, 10^2 + 11^2 < 15^2 < 11^2 + 11^2
        assert metrics.pointing(spot(row, column), mask) == wanted, (row, column)


def test_without_tolerance_only_the_object_is_a_hit():
    mask = spot(3, 4).bool() | spot(9, 9).bool()
    assert metrics.pointing(spot(3, 4), mask, tolerance=0) == 1
    assert metrics.pointing(spot(3, 5), mask, tolerance=0) == 0


def test_an_empty_mask_is_never_a_hit_nor_a_miss(values):
    empty = torch.zeros(N, *SIZE, dtype=torch.bool)
    for value in (
        metrics.pointing(values, empty),
        metrics.pointing_chance(empty),
        metrics.energy(values, empty),
        metrics.area(empty),
        metrics.average_precision(values, empty),
        metrics.average_precision_chance(empty),
        metrics.mask_iou(values, empty),
        metrics.mask_iou(values, ~empty),
        metrics.mask_iou_chance(empty),
        metrics.mask_iou_chance(~empty),
        metrics.box_iou(values, [[]] * N, SIZE),
        metrics.box_iou_chance([[]] * N, SIZE),
        metrics.box_curves(values, [[]] * N, SIZE).largest,
    ):
        assert value.isnan().all()


def test_a_map_that_says_nothing_is_undefined(masks, truth):
    flat = torch.ones(N, 3, 3)
    for value in (
        metrics.pointing(flat, masks),
        metrics.energy(flat, masks),
        metrics.average_precision(-flat, masks),
        metrics.mask_iou(flat, masks),
        metrics.box_iou(flat, truth, SIZE),
        metrics.box_curves(flat, truth, SIZE).any,
    ):
        assert value.isnan().all()


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 15])
def test_pointing_against_the_oracle(tolerance, values, masks):
    found, chance = (
        metrics.pointing(values, masks, tolerance=tolerance),
        metrics.pointing_chance(masks, tolerance=tolerance),
    )
    for n in range(N):
        M = values[n].double().numpy()
        peak = divmod(int(M.argmax()), SIZE[1])
        assert found[n] == oracle.points_at(M, as_set(masks[n]), peak, tolerance)
        exact(chance[n], oracle.pointing_chance(as_set(masks[n]), SIZE, tolerance))


def test_of_several_highest_pixels_a_seed_picks_one():
    two = spot(3, 4) + spot(30, 40)
    picks = [float(metrics.pointing(two, spot(3, 4).bool(), tolerance=0, seed=seed)) for seed in range(40)]
    assert 8 < sum(picks) < 32


def test_the_pixel_that_is_picked_is_the_first_of_the_order(values):
    """That of `order`, which sorts: of maps with one highest pixel, with many, and with nothing but ties."""
    flat, coarse = torch.zeros(1, *SIZE), (values * 3).round()
    for given in (values, coarse, flat):
        for seed in range(5):
            assert torch.equal(maps.peak(given, seed), maps.order(given, seed)[:, 0])


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 15])
def test_a_hit_near_the_border(tolerance):
    """Pixels beyond the border are none, and do not come in on the other side."""
    for row, column in ((0, 0), (9, 11), (0, 11), (5, 0)):
        for on in ((0, 0), (9, 11), (4, 11), (9, 0)):
            found = metrics.pointing(spot(row, column, SIZE), spot(*on, SIZE).bool(), tolerance=tolerance)
            assert found == (math.dist((row, column), on) <= tolerance)


def test_chance_is_what_random_maps_reach():
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[:, 2:5, 3:9] = True
    noise = torch.rand(4000, *SIZE, generator=torch.Generator().manual_seed(5))
    many = mask.expand(4000, -1, -1)
    for value, chance, slack in (
        (metrics.pointing(noise, many, tolerance=1), metrics.pointing_chance(mask, tolerance=1), 0.03),
        (metrics.energy(noise, many), metrics.area(mask), 0.005),
        (metrics.average_precision(noise, many), metrics.average_precision_chance(mask), 0.003),
    ):
        assert abs(float(value.mean() - chance)) < slack


# ---- energy, precision, IoU


def test_energy_by_hand_and_against_the_oracle(values, masks):
    drawn = torch.tensor([[[0.0, 3, 1], [4, 0, 2]]])
    left = torch.tensor([[[True, True, False], [True, True, False]]])
    exact(metrics.energy(drawn, left), [7 / 10])
    exact(metrics.energy(values, masks), [oracle.energy(values[n].numpy(), as_set(masks[n])) for n in range(N)])


def test_average_precision_against_the_oracle_and_scikit_learn(values, masks):
    score = require("sklearn.metrics").average_precision_score
    coarse = metrics.shown((values * 4).round(), SIZE)  # full of ties
    for given in (values, coarse):
        found = metrics.average_precision(given, masks)
        exact(found, [oracle.average_precision(given[n].numpy(), as_set(masks[n])) for n in range(N)])
        exact(found, [score(masks[n].numpy().ravel(), given[n].numpy().ravel()) for n in range(N)])


def test_average_precision_in_double_precision(masks):
    """Values that only doubles tell apart are not taken for ties; a negative zero is a zero."""
    fine = 0.5 + torch.rand(N, *SIZE, generator=torch.Generator().manual_seed(6), dtype=torch.float64) * 1e-9
    fine[:, 0, 0], fine[:, 9, 11], fine[:, 9, 10] = 1, 0, -0.0
    wanted = [oracle.average_precision(fine[n].numpy(), as_set(masks[n])) for n in range(N)]
    np.testing.assert_allclose(metrics.average_precision(fine, masks), wanted, rtol=1e-12)
    single = fine.float()
    wanted = [oracle.average_precision(single[n].numpy(), as_set(masks[n])) for n in range(N)]
    exact(metrics.average_precision(single, masks), wanted)


def test_a_perfect_map_is_perfect(masks, truth):
    perfect = masks.float()
    for value in (
        metrics.pointing(perfect, masks, tolerance=0),
        metrics.energy(perfect, masks),
        metrics.average_precision(perfect, masks),
        metrics.mask_iou(perfect, masks),
    ):
        assert torch.equal(value, torch.ones(N))
    single = [boxes[:1] for boxes in truth]
    drawn = metrics.box_masks(single, SIZE).float()
    assert torch.equal(metrics.box_iou(drawn, single, SIZE), torch.ones(N))
    curves = metrics.box_curves(drawn, single, SIZE)
    assert metrics.max_box_accuracy(curves) == metrics.max_box_accuracy_v2(curves) == 1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_mask_iou_against_the_oracle(share, values, masks):
    wanted = [oracle.mask_iou(values[n].numpy(), as_set(masks[n]), share) for n in range(N)]
    exact(metrics.mask_iou(values, masks, share=share), wanted)


def test_chance_of_masks(masks):
    exact(metrics.area(masks), [len(as_set(mask)) / 120 for mask in masks])
    exact(metrics.average_precision_chance(torch.ones(1, 2, 3, dtype=torch.bool)), [1])
    one_of_two = torch.tensor([[[True, False]]])  # first, or second with a precision of a half
    exact(metrics.average_precision_chance(one_of_two), [0.75])
    exact(metrics.mask_iou_chance(masks), [len(as_set(mask)) / 240 for mask in masks])


@pytest.mark.parametrize("masks", [torch.ones(1, 2, 2), torch.ones(2, 2, dtype=torch.bool)])
def test_masks_that_are_none(masks):
    with pytest.raises(RequestError, match="should be bool"):
        metrics.area(masks)


def test_a_share_that_is_none(values, masks):
    with pytest.raises(RequestError, match="below 1"):
        metrics.mask_iou(values, masks, share=1)


# ---- boxes


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("share", [0.15, 0.2, 0.6])
def test_box_iou_against_the_oracle(share, connectivity, values, truth):
    found = metrics.box_iou(values, truth, SIZE, share=share, connectivity=connectivity)
    drawn = [(values[n].double().numpy(), edges(truth[n])) for n in range(N)]
    exact(found, [oracle.overlap(M, boxes, share, connectivity) for M, boxes in drawn])


def test_box_iou_chance_is_the_whole_image():
    exact(metrics.box_iou_chance([[Box(0, 0, 6, 10)], [Box(0, 0, 1, 1), Box(2, 2, 4, 7)]], SIZE), [0.5, 10 / 120])


def test_localisation_error_needs_the_class_and_the_box():
    overlap = torch.tensor([0.5, 0.49, 0.9, 0.9, NAN])
    place = torch.tensor([0, 0, 1, 5, 0])
    exact(metrics.localisation_error(overlap, place), [0, 1, 1, 1, NAN])
    exact(metrics.localisation_error(overlap, place, top=5), [0, 1, 0, 1, NAN])


@pytest.mark.parametrize("connectivity", [4, 8])
def test_box_curves_against_the_oracle(connectivity, values, truth):
    thresholds = (0.0, 0.3, 0.55, 0.8, 0.99)
    curves = metrics.box_curves(values, truth, SIZE, thresholds=thresholds, connectivity=connectivity)
    drawn = [(values[n].double().numpy(), edges(truth[n])) for n in range(N)]
    largest = [[oracle.overlap(M, boxes, t, connectivity) for t in thresholds] for M, boxes in drawn]
    best = [[oracle.best_overlap(M, boxes, t, connectivity) for t in thresholds] for M, boxes in drawn]
    exact(curves.largest, largest)
    exact(curves.any, best)
    assert (curves.any > curves.largest).any()  # several segments were met
    for at in (0.1, 0.3):
        exact(metrics.max_box_accuracy(curves, at), oracle.max_box_accuracy(largest, at))
    wanted = np.mean([oracle.max_box_accuracy(best, at) for at in (0.3, 0.5, 0.7)])
    exact(metrics.max_box_accuracy_v2(curves), wanted)


def test_max_box_accuracy_by_hand():
    """Two images that fit at different thresholds: no threshold is right for both."""
    overlaps = torch.tensor([[0.6, 0.2, 0.4], [0.1, 0.8, 0.4], [NAN, NAN, NAN]])
    curves = metrics.BoxCurves(overlaps, overlaps)
    assert metrics.max_box_accuracy(curves) == 0.5
    assert metrics.accuracy_curve(overlaps).tolist() == [0.5, 0.5, 0.0]
    exact(metrics.max_box_accuracy_v2(curves), (1 + 0.5 + 0.5) / 3)


# ---- the best threshold over all images


def literal(overlaps, ious):
    """Both accuracies and what each image adds, one image and one threshold at a time."""
    known = [n for n in range(len(overlaps[0])) if not np.isnan(overlaps[0][n])]
    adds, total = np.full((len(ious), len(overlaps[0])), np.nan), 0.0
    for at, iou in enumerate(ious):
        shares = [sum(row[n] >= iou for n in known) / len(known) for row in overlaps]
        total += max(shares)
        best = shares.index(max(shares))
        for n in known:
            adds[at, n] = overlaps[best][n] >= iou
    return total / len(ious), adds.mean(0)


@pytest.mark.parametrize("ious", [(0.5,), (0.3, 0.5, 0.7)])
def test_the_best_threshold_against_a_literal_twin(ious):
    overlaps = np.random.default_rng(1).random((7, 30))  # of thresholds x images
    overlaps[:, 4] = np.nan
    value, adds = literal(overlaps, ious)
    tests = box_accuracy.fits(overlaps, ious)
    assert np.isnan(tests[:, 4]).all()
    assert set(np.delete(tests, 4, 1).ravel()) == {0, 1}
    known = np.delete(tests, 4, 1)
    exact(box_accuracy.best(known.mean(1), len(ious)), value)
    exact(box_accuracy.at_best(overlaps, ious), adds)
    exact(np.nanmean(adds), value)
    curves = metrics.BoxCurves(*[torch.from_numpy(overlaps.T)] * 2)
    both = metrics.max_box_accuracy(curves) if len(ious) == 1 else metrics.max_box_accuracy_v2(curves)
    exact(both, value)


@pytest.mark.parametrize("ious", [(0.5,), (0.3, 0.5, 0.7)])
def test_the_maximum_is_taken_anew_in_every_resample(ious):
    """The interval, the paired difference and the places are those of resamples drawn and judged one by one."""
    random = np.random.default_rng(2)
    one, other = random.random((5, 20)), random.random((5, 20)) * 0.9
    tests = [box_accuracy.fits(each, ious) for each in (one, other)]
    given = {"seed": 3, "draws": 200, "summary": partial(box_accuracy.best, count=len(ious))}
    drawn = generator(3).integers(20, size=(200, 20))
    values = np.array([[literal(each[:, images], ious)[0] for images in drawn] for each in (one, other)])
    found = metrics.mean(tests[0], **given)
    exact((found.value, found.low, found.high), (literal(one, ious)[0], *np.quantile(values[0], (0.025, 0.975))))
    apart = metrics.paired(*tests, **given)
    exact((apart.low, apart.high), np.quantile(values[0] - values[1], (0.025, 0.975)))
    exact(apart.value, literal(one, ious)[0] - literal(other, ious)[0])
    first = ((values[0] > values[1]) + 0.5 * (values[0] == values[1])).mean()
    exact(metrics.stability(np.stack(tests), **given)[0], [first, 1 - first])
    fixed = metrics.mean(box_accuracy.at_best(one, ious), seed=3, draws=200)
    assert fixed.low < found.low  # a threshold chosen once would be told as less certain downwards, and too low


def test_noise_is_near_the_chance_level_of_the_whole_image():
    """At the threshold 0 the box of a map of noise is the image; a higher one helps by luck alone."""
    random = torch.Generator().manual_seed(6)
    size, count = (28, 28), 150
    sides = (torch.rand(count, 2, generator=random) * 14 + 13).int().tolist()
    boxes = [[Box(28 - w, 0, 28, h)] for w, h in sides]
    chance = (metrics.box_iou_chance(boxes, size) >= 0.5).double().mean()
    curves = metrics.box_curves(torch.rand(count, 7, 7, generator=random), boxes, size, thresholds=(0, 0.1, 0.3, 0.5))
    assert 0.3 < chance < 0.7
    assert chance - 0.02 <= metrics.max_box_accuracy(curves) < chance + 0.1
