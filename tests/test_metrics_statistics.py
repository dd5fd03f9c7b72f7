"""Intervals, paired differences and rankings; and the bridge to Quantus."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from camzoo import metrics
from camzoo.metrics import statistics


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_mean_counts_what_is_undefined():
    found = metrics.mean([1.0, 2.0, math.nan, 3.0])
    assert (found.value, found.images, found.undefined) == (2, 3, 1)
    assert 1 <= found.low < 2 < found.high <= 3
    assert metrics.mean(torch.tensor([1.0, 2.0, 3.0, torch.nan])) == found


def test_means_of_too_few():
    one, none = metrics.mean([5.0]), metrics.mean([math.nan])
    assert (one.value, one.images) == (5, 1)
    assert math.isnan(one.low)
    assert math.isnan(none.value)
    assert (none.images, none.undefined) == (0, 1)
    assert metrics.mean([2.0, 2.0]).low == metrics.mean([2.0, 2.0]).high == 2


def test_the_interval_is_that_of_resampled_images():
    """Two images, 0 and 1: half of all resamples have the mean 1/2, a quarter each 0 and 1."""
    means = statistics.resampled(np.array([[0.0, 1.0]]), draws=8000)[0]
    values, counts = np.unique(means, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert np.abs(counts / 8000 - [0.25, 0.5, 0.25]).max() < 0.02
    found = metrics.mean([0.0, 1.0])
    assert (found.low, found.high) == (0, 1)


def test_the_interval_is_about_as_wide_as_theory_has_it(random):
    values = random.normal(3, 2, 400)
    found = metrics.mean(values)
    half = 1.96 * values.std() / 20
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)


def test_the_interval_covers_the_truth_about_as_often_as_it_says(random):
    covered = [(found := metrics.mean(random.exponential(1, 60), draws=400)).low <= 1 <= found.high for _ in range(200)]
    assert 0.88 < np.mean(covered) < 0.99


def test_every_row_is_resampled_alike_and_chunks_do_not_matter(monkeypatch, random):
    values = random.normal(size=(1, 30))
    both = statistics.resampled(np.concatenate([values, values + 1]))
    np.testing.assert_allclose(both[1], both[0] + 1)
    monkeypatch.setattr(statistics, "_AT_ONCE", 100)
    np.testing.assert_allclose(statistics.resampled(values), both[:1], rtol=1e-12, atol=1e-12)


def test_paired_differences_are_narrower(random):
    hard = random.normal(0, 5, 100)
    one, other = hard + random.normal(0.5, 0.1, 100), hard + random.normal(0, 0.1, 100)
    difference, alone = metrics.paired(one, other), metrics.mean(one)
    assert 0.4 < difference.low < difference.high < 0.6
    assert difference.high - difference.low < (alone.high - alone.low) / 10
    other[:3] = math.nan
    assert (metrics.paired(one, other).images, metrics.paired(one, other).undefined) == (97, 3)


def test_a_firm_ranking_and_a_loose_one(random):
    base = random.normal(size=200)
    firm = metrics.stability(np.stack([base, base + 1, base - 1]))
    assert firm.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    loose = metrics.stability(random.normal(size=(2, 200)))
    np.testing.assert_allclose(loose.sum(1), 1)
    np.testing.assert_allclose(loose.sum(0), 1)
    tied = metrics.stability(np.stack([base, base, base - 1]))
    np.testing.assert_allclose(tied, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_stability_leaves_out_images_without_all_values(random):
    base = random.normal(size=50)
    other = base + 1
    other[0], base[1] = math.nan, 1e9
    other[1] = math.nan
    assert metrics.stability(np.stack([base, other])).tolist() == [[0, 1], [1, 0]]
    assert np.isnan(metrics.stability([[math.nan], [1.0]])).all()


def test_the_bridge_gives_quantus_arrays_without_undefined_maps():
    images, maps = torch.rand(3, 3, 4, 6), torch.rand(3, 2, 3)
    maps[1] = 0
    given = metrics.for_quantus(images, maps, [5, 6, 7], torch.ones(3, 4, 6, dtype=torch.bool))
    assert {name: value.shape for name, value in given.items()} == {
        "x_batch": (2, 3, 4, 6),
        "y_batch": (2,),
        "a_batch": (2, 1, 4, 6),
        "s_batch": (2, 1, 4, 6),
    }
    assert given["y_batch"].tolist() == [5, 7]
    np.testing.assert_array_equal(given["a_batch"][:, 0], metrics.shown(maps, (4, 6))[[0, 2]].numpy())
    assert "s_batch" not in metrics.for_quantus(images, maps, [5, 6, 7])


def test_shares_are_resampled_means_to_the_last_bit(monkeypatch, random):
    passed = (random.random((5, 40)) < 0.4).astype(float)
    whole = statistics.resampled(passed, seed=4, draws=300)
    assert np.array_equal(statistics.shares(passed, seed=4, draws=300), whole)
    monkeypatch.setattr(statistics, "_AT_ONCE", 400)
    assert np.array_equal(statistics.shares(passed, seed=4, draws=300), whole)


def test_a_summary_of_several_tests_counts_undefined_images_once():
    tests = np.array([[1.0, 0.0, math.nan, 1.0], [0.0, 1.0, math.nan, 1.0]])
    found = metrics.mean(tests, summary=lambda shares: shares.max(0))
    assert (found.value, found.images, found.undefined) == (pytest.approx(2 / 3), 3, 1)
    nothing = metrics.mean(np.full((2, 3), math.nan), summary=lambda shares: shares.max(0))
    assert math.isnan(nothing.value)
    assert nothing.undefined == 3


@pytest.mark.slow
def test_metrics_of_quantus_run_on_what_the_bridge_gives():
    """A map that says nothing is left out; and where a metric of Quantus is one of ours, so are its values."""
    quantus = pytest.importorskip("quantus", reason="quantus is not installed")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(400, 3)
    ).eval()
    draw = torch.Generator().manual_seed(0)
    images, maps = torch.rand(4, 3, 12, 12, generator=draw), torch.rand(4, 3, 3, generator=draw)
    masks = torch.zeros(4, 12, 12, dtype=torch.bool)
    masks[:, 2:9, 3:7], maps[2] = True, 0
    given = metrics.for_quantus(images, maps, [0, 1, 2, 0], masks)
    quiet = {"disable_warnings": True, "display_progressbar": False}
    energy = quantus.RelevanceMassAccuracy(**quiet)(model=net, **given)
    kept = [0, 1, 3]
    assert energy == pytest.approx(metrics.energy(maps, masks)[kept].tolist(), rel=1e-5)
    entropy = quantus.Complexity(**quiet)(model=net, **given)
    assert entropy == pytest.approx(metrics.entropy(maps, (12, 12))[kept].tolist(), rel=1e-5)
    flipped = quantus.PixelFlipping(features_in_step=48, perturb_baseline="black", **quiet)(model=net, **given)
    assert np.array(flipped).shape == (3, 3 * 12 * 12 // 48)
