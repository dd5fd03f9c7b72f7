"""Faithfulness against oracles, foreign libraries, and cases solved by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import require, seeded
from torch import nn

from camzoo import metrics
from camzoo.errors import RequestError
from camzoo.metrics import curves, maps
from camzoo.oracles import grids
from camzoo.oracles import metrics as oracle

SIZE = (8, 9)
IMAGES, CLASSES = 3, 4
close = torch.testing.assert_close


def exact(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def net():
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 72, CLASSES), nn.Softmax(1)
        )
    ).double()


@pytest.fixture(scope="module")
def images():
    return 2 * torch.randn(IMAGES, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def layer_maps():
    """On a grid of their own, of both signs: rectified they are full of ties."""
    return torch.randn(IMAGES, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def score(net, images):
    frozen = net(images).argmax(1)

    def probability(altered, rows):
        return net(altered).gather(1, frozen[rows, None])[:, 0]

    return probability


@pytest.fixture(scope="module")
def cases(score, images, layer_maps):
    """For the oracles: of each image the score as a function, the image, its map, and the order of its pixels."""
    found = []
    ordered = maps.order(metrics.shown(layer_maps, SIZE))
    for n in range(IMAGES):

        def one(x, n=n):
            with torch.no_grad():
                return float(score(torch.from_numpy(x)[None], torch.tensor([n]))[0])

        shown = grids.normalise(grids.resize(grids.rectify(layer_maps[n].numpy()), SIZE))
        found.append((one, images[n].numpy(), shown, [divmod(pixel, SIZE[1]) for pixel in ordered[n].tolist()]))
    return found


# ---- maps


def test_maps_are_rectified_enlarged_and_scaled_once(layer_maps, cases):
    shown = metrics.shown(layer_maps, SIZE)
    exact(shown, np.stack([M for _, _, M, _ in cases]))
    assert torch.equal(metrics.shown(shown, SIZE), shown)
    assert metrics.shown(layer_maps.half(), SIZE).dtype == torch.float32


def test_maps_that_say_nothing_are_nan_with_a_reason():
    ramp = torch.arange(4.0).reshape(2, 2)
    nearly = torch.full((2, 2), 0.3).add(torch.tensor([[0, 3e-8], [0, 0]]))
    given = torch.stack([ramp, -ramp, ramp / 0, torch.full((2, 2), 7.0), nearly])
    assert metrics.reasons(given) == ("", "all zero", "not finite", "constant", "constant")
    shown = metrics.shown(given, (4, 4))
    assert shown[0].isfinite().all()
    assert shown[1:].isnan().all()
    assert metrics.shown(shown, (4, 4))[1:].isnan().all()


def test_a_map_of_0_to_1_with_a_gap_is_not_finite():
    """At the size of the image, beside one that is shown already: it is not taken for one that is."""
    given = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    given[:, 0, 0], given[:, 3, 3] = 0, 1
    given[1, 0, 0], given[2] = torch.nan, torch.nan
    shown = metrics.shown(given, (4, 4))
    assert torch.equal(shown[0], given[0])
    assert shown[1:].isnan().all()


def test_the_order_follows_the_values_and_a_seed_breaks_ties():
    values = torch.zeros(2, 10, 10)
    values[:, 5, 5], values[:, 2, 7] = 2, 1
    ordered = maps.order(values)
    assert ordered[0, :2].tolist() == [55, 27]
    assert torch.equal(ordered[0], ordered[1])  # batch mates and their number do not matter
    assert torch.equal(ordered[:1], maps.order(values[:1]))
    rest = ordered[0, 2:]
    assert sorted(rest.tolist()) == [pixel for pixel in range(100) if pixel not in (55, 27)]
    assert abs(float(rest[:49].double().mean()) - 49.5) < 15  # ... and not the reading order
    assert not torch.equal(rest, maps.order(values, seed=1)[0, 2:])
    assert torch.equal(maps.places(ordered).gather(1, ordered)[0], torch.arange(100))


def test_maps_of_another_rank_are_refused():
    with pytest.raises(RequestError, match=r"not \(N, h, w\)"):
        metrics.shown(torch.ones(2, 1, 3, 3), SIZE)


# ---- one masked image


def test_confidence_against_the_oracle(score, images, layer_maps, cases):
    found = metrics.confidence(score, images, layer_maps)
    exact(found.drop, [oracle.average_drop(one, x, M) for one, x, M, _ in cases])
    exact(found.increase, [oracle.increase(one, x, M) for one, x, M, _ in cases])
    exact(found.gain, [oracle.average_gain(one, x, M) for one, x, M, _ in cases])
    assert 0 < found.drop.max() <= 1


def test_confidence_worked_by_hand():
    """The score is the mean of the image: 0.8 before, and with half of it masked 0.4, or more for a darker half."""
    images = torch.tensor([[[[0.8, 0.8]]], [[[0.4, -0.2]]], [[[1.0, 1.0]]], [[[0.0, 0.0]]]])
    found = metrics.confidence(lambda x, _: x.mean((1, 2, 3)), images, torch.tensor([[[1.0, 0.0]]]).repeat(4, 1, 1))
    close(found.drop, torch.tensor([0.5, 0.0, 0.5, torch.nan]), equal_nan=True)
    close(found.increase, torch.tensor([0.0, 1.0, 0.0, 0.0]))
    close(found.gain, torch.tensor([0.0, 0.1 / 0.9, torch.nan, 0.0]), equal_nan=True)


def test_undefined_maps_are_nan_and_never_run(score, images, layer_maps):
    given = layer_maps.clone()
    given[1] = -1
    run = []

    def counted(altered, rows):
        run.extend(rows.tolist())
        return score(altered, rows)

    original = metrics.unaltered(score, images)
    found = metrics.confidence(counted, images, given, original=original)
    assert run == [0, 2]
    assert found.drop.isnan().tolist() == found.increase.isnan().tolist() == [False, True, False]
    close(found.drop[[0, 2]], metrics.confidence(score, images, layer_maps).drop[[0, 2]])
    for value in (
        metrics.deletion(counted, images, given).area,
        metrics.insertion(counted, images, given, preset="mean").area,
        metrics.road(counted, images, given, lambda image, removed: image * ~removed).value,
        metrics.coherency(lambda x, rows: layer_maps[rows], images, given),
        metrics.complexity(given, SIZE),
        metrics.entropy(given, SIZE),
    ):
        assert value.isnan().tolist() == [False, True, False]
    assert 1 not in run
    assert metrics.deletion(counted, images, 0 * given).area.isnan().all()
    assert metrics.road(counted, images, 0 * given, lambda image, _: image).value.isnan().all()
    assert metrics.coherency(counted, images, 0 * given).isnan().all()
    assert metrics.confidence(counted, images, 0 * given, original=original).drop.isnan().all()


def test_drop_and_increase_are_what_torchcam_gives(net, images, layer_maps, score):
    """torchcam adds 1e-7 below the fraction, which moves the drop by that share of itself."""
    torchcam = require("torchcam.metrics")
    metric = torchcam.ClassificationMetric(Given(net, metrics.shown(layer_maps, SIZE)))
    metric.update(images)
    found, summary = metrics.confidence(score, images, layer_maps), metric.summary()
    assert summary["conf_increase"] == found.increase.mean()
    before = metrics.unaltered(score, images)
    exact(summary["avg_drop"], (found.drop * before / (before + 1e-7)).mean())


def test_torchcam_scales_before_it_enlarges_which_loses_the_peak(net, images, layer_maps, score):
    torchcam = require("torchcam.metrics")
    small = metrics.shown(layer_maps, (3, 4))
    metric = torchcam.ClassificationMetric(Given(net, small))
    metric.update(images)
    before, enlarged = metrics.unaltered(score, images), grids_resized(small)
    assert enlarged.amax((1, 2)).min() < 0.999  # but for a peak at the border, which is repeated there
    after = score(images * enlarged[:, None], torch.arange(IMAGES))
    exact(metric.summary()["avg_drop"], ((before - after).clamp(min=0) / (before + 1e-7)).mean().detach())
    assert abs(metric.summary()["avg_drop"] - metrics.confidence(score, images, layer_maps).drop.mean()) > 1e-4


def grids_resized(values):
    return torch.nn.functional.interpolate(values[:, None], SIZE, mode="bilinear")[:, 0]


class Given:
    """What torchcam's metrics ask of an extractor, with maps that are there already."""

    def __init__(self, model, values):
        self.model, self.values = model, values

    def __call__(self, class_idx=None, scores=None, normalized=True, **_):
        return [self.values]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return torch.no_grad()


# ---- insertion and deletion


@pytest.mark.parametrize("steps", [None, 5, 72, 100, 1])
@pytest.mark.parametrize("preset", ["rise", "mean"])
def test_curves_against_the_literal_game(preset, steps, score, images, layer_maps, cases):
    deleted = metrics.deletion(score, images, layer_maps, preset=preset, steps=steps)
    inserted = metrics.insertion(score, images, layer_maps, preset=preset, steps=steps)
    step = math.ceil(72 / (steps or {"rise": SIZE[0], "mean": 32}[preset]))
    for n, (one, x, _, order) in enumerate(cases):
        nothing = np.zeros_like(x) if preset == "rise" else oracle.mean_colour(x)
        unclear = oracle.blurred(x, oracle.rise_kernel()) if preset == "rise" else oracle.mean_colour(x)
        gone, back = oracle.curve(one, x, nothing, order, step), oracle.curve(one, unclear, x, order, step)
        exact(deleted.scores[n], gone)
        exact(inserted.scores[n], back)
        exact(deleted.area[n], oracle.area(gone, 72, step))
        exact(inserted.area[n], oracle.area(back, 72, step))
        if 72 % step == 0:  # else the authors count a shorter last step as a whole one
            exact(deleted.area[n], oracle.authors_area(gone))
    assert deleted.shares[0] == 0
    assert deleted.shares[-1] == 1


def test_a_curve_worked_by_hand():
    """The score is the mean of four pixels 4 3 2 1, the map points at the largest first."""
    image = torch.tensor([[[[4.0, 3.0], [2.0, 1.0]]]]) / 4
    found = metrics.deletion(lambda x, _: x.mean((1, 2, 3)), image, image[:, 0], steps=4)
    close(found.scores, torch.tensor([[10.0, 6, 3, 1, 0]]) / 16)
    close(found.area, torch.tensor([(10 / 2 + 6 + 3 + 1) / 16 / 4]))
    worst = metrics.deletion(lambda x, _: x.mean((1, 2, 3)), image, 1.1 - image[:, 0], steps=4)
    assert worst.area > found.area
    assert metrics.insertion(
        lambda x, _: x.mean((1, 2, 3)), image, image[:, 0], preset="mean", steps=1
    ).scores.tolist() == [[0.625, 0.625]]


def test_the_kernel_is_the_authors_own():
    """SciPy's Gaussian filter of a point in a picture of 11 x 11."""
    gaussian_filter = require("scipy.ndimage").gaussian_filter
    point = np.zeros((11, 11))
    point[5, 5] = 1
    wanted = gaussian_filter(point, 5)
    exact(oracle.rise_kernel(), wanted)
    middle = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    middle[..., 10, 10] = 1
    exact(curves.blurred(middle)[0, 0, 5:16, 5:16], wanted)
    assert wanted.max() < 1.5 * wanted.min()  # nearly a mean of all, where a Gaussian would fall to a third


@pytest.mark.parametrize("steps", [5, 8, 72])
def test_areas_are_what_torchcam_gives_for_a_zero_baseline(steps, net, images, score):
    torchcam = require("torchcam.metrics")
    given = torch.rand(IMAGES, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    given = metrics.shown(given, SIZE)  # no ties: torchcam breaks them by reading order
    metric = torchcam.DeletionInsertionMetric(Given(net, given), steps=steps)
    metric.update(images)
    deleted = metrics.deletion(score, images, given, steps=steps)
    close(torch.tensor(metric.summary()["deletion_auc"]), deleted.area.mean().float(), rtol=1e-6, atol=1e-6)
    # Inserting in one order is deleting in the other.
    back = metrics.deletion(score, images, 1 - given, steps=72).scores.flip(1)
    fine = torchcam.DeletionInsertionMetric(Given(net, given), steps=72)
    fine.update(images)
    close(
        torch.tensor(fine.summary()["insertion_auc"]),
        torch.trapezoid(back, dx=1 / 72).mean().float(),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_and_batch_mates_do_not_matter(chunk, score, images, layer_maps):
    whole = metrics.deletion(score, images, layer_maps).scores
    exact(metrics.deletion(score, images, layer_maps, chunk=chunk).scores, whole)
    one = metrics.deletion(lambda x, rows: score(x, rows + 1), images[1:2], layer_maps[1:2])
    exact(one.scores, whole[1:2])


@pytest.mark.parametrize(
    ("given", "words"), [({"preset": "rice"}, "did you mean rise"), ({"steps": 0}, "one at least")]
)
def test_curves_that_make_no_sense(given, words, score, images, layer_maps):
    for game in (metrics.deletion, metrics.insertion):
        with pytest.raises(RequestError, match=words):
            game(score, images, layer_maps, **given)


def test_curves_leave_the_images_alone(score, images, layer_maps):
    before = images.clone()
    metrics.deletion(score, images, layer_maps)
    metrics.insertion(score, images, layer_maps)
    metrics.confidence(score, images, layer_maps)
    assert torch.equal(images, before)


# ---- ROAD


def test_the_imputer_on_cases_solved_by_hand():
    """One pixel gone: the mean of its eight neighbours, sides twice the weight of corners."""
    x = np.arange(9.0).reshape(1, 3, 3) ** 2
    wanted = (0 + 4 + 36 + 64) / 12 + (1 + 9 + 25 + 49) / 6
    assert oracle.imputed(x, {(1, 1)})[0, 1, 1] == pytest.approx(wanted)
    # In a corner only three neighbours are left, of weights 1/6, 1/6 and 1/12.
    assert oracle.imputed(x, {(0, 0)})[0, 0, 0] == pytest.approx((2 * 1 + 2 * 9 + 16) / 5)
    # A row `1 p q 4` of single pixels: each is the mean of its two neighbours, so p = 2 and q = 3.
    exact(oracle.imputed(np.array([[[1.0, 9, 9, 4]]]), {(0, 1), (0, 2)}), [[[1, 2, 3, 4]]])


def test_the_borrowed_imputer_solves_the_same_system():
    require("pytorch_grad_cam")
    from camzoo_adapters.metrics.pytorch_grad_cam import impute

    row = impute(torch.tensor([[[1.0, 9, 9, 4]]]), torch.tensor([[False, True, True, False]]))
    close(row, torch.tensor([[[1.0, 2, 3, 4]]]))
    random = np.random.default_rng(3)
    for share in (0.1, 0.5, 0.9):
        x, removed = random.normal(size=(3, 6, 7)), random.random((6, 7)) < share
        state = torch.get_rng_state()
        found = impute(torch.from_numpy(x), torch.from_numpy(removed))
        wanted = oracle.imputed(x, set(map(tuple, np.argwhere(removed).tolist())))
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)  # it rounds to single precision
        assert torch.equal(torch.get_rng_state(), state)


def by_oracle(image, removed):
    return torch.from_numpy(oracle.imputed(image.numpy(), set(map(tuple, np.argwhere(removed.numpy()).tolist()))))


def test_road_against_the_oracle(score, images, layer_maps, cases):
    shares = (0.1, 0.45, 0.9)
    found = metrics.road(score, images, layer_maps, by_oracle, shares=shares, noise=0)
    exact(found.value, [oracle.road(one, x, order, shares) for one, x, _, order in cases])
    exact(found.value, (found.least - found.most).mean(1) / 2)


def test_road_is_what_pytorch_grad_cam_gives_where_there_are_no_ties(score, net, images):
    """Its percentiles remove what ranks remove, where no two pixels are equal."""
    library = require("pytorch_grad_cam.metrics.perturbation_confidence")
    given = torch.rand(IMAGES, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    given = metrics.shown(given, SIZE)
    frozen = net(images).argmax(1).tolist()
    wanted = 0
    for percentile in (25, 50, 75):
        for removes, sign in ((library.RemoveLeastRelevantFirst, 0.5), (library.RemoveMostRelevantFirst, -0.5)):
            metric = library.PerturbationConfidenceMetric(removes(percentile, lambda x, mask: by_oracle(x, mask == 0)))
            targets = [lambda output, c=c: output[c] for c in frozen]
            wanted = wanted + sign * metric(images, given.numpy(), targets, net) / 3
    found = metrics.road(score, images, given, by_oracle, shares=(0.25, 0.5, 0.75), noise=0)
    np.testing.assert_allclose(found.value, wanted, rtol=1e-4, atol=1e-6)  # it rounds scores to single precision


def test_road_removes_as_many_pixels_as_it_says(score, images):
    """Of a map that is zero nearly everywhere a percentile as threshold would remove all pixels."""
    sparse = torch.zeros(1, *SIZE)
    sparse[0, 0, 0] = 1
    removed = []

    def watched(image, gone):
        removed.append(int(gone.sum()))
        return image

    metrics.road(score, images[:1], sparse, watched, noise=0)
    assert removed == [count for share in range(1, 10) for count in [int(share * 7.2)] * 2]
    percentile = require("pytorch_grad_cam.metrics.perturbation_confidence").RemoveMostRelevantFirst
    kept = []
    percentile(50, lambda image, mask: kept.append(float(mask.sum())))(images[0], sparse[0])
    assert kept == [0.0]


def test_the_noise_of_road_is_seeded_and_on_removed_pixels_only(images, layer_maps):
    seen = []

    def watched(altered, rows):
        seen.append(altered)
        return altered.mean((1, 2, 3))

    def zero(image, removed):
        return image * ~removed

    def run(seed, part):
        seen.clear()
        metrics.road(watched, images[part], layer_maps[part], zero, shares=(0.5,), noise=0.1, seed=seed)
        return torch.cat(seen)

    both, again, alone = run(0, slice(0, 2)), run(0, slice(0, 2)), run(0, slice(1, 2))
    assert torch.equal(both, again)
    assert torch.equal(both[2:], alone)
    untouched = (both[0] == images[0]).all(0)
    assert untouched.sum() == 36
    assert 0.05 < both[0][:, ~untouched].std() < 0.2
    assert not torch.equal(both, run(1, slice(0, 2)))


@pytest.mark.parametrize("shares", [(), (0,), (1,), (0.5, 20)])
def test_shares_that_are_none(shares, score, images, layer_maps):
    with pytest.raises(RequestError, match="above 0 and below 1"):
        metrics.road(score, images, layer_maps, by_oracle, shares=shares)


def test_a_share_of_less_than_a_pixel_removes_none(images):
    tiny = images[:1, :, :2, :2]
    found = metrics.road(
        lambda x, _: x.mean((1, 2, 3)), tiny, torch.rand(1, 2, 2), lambda *_: pytest.fail("asked"), shares=(0.2,)
    )
    assert found.value == 0


# ---- composed


def test_complexity_entropy_and_coherency_against_the_oracle(images, layer_maps, cases):
    def explain(x):
        return np.abs(x).sum(0)

    exact(metrics.complexity(layer_maps, SIZE), [oracle.complexity(M) for _, _, M, _ in cases])
    exact(metrics.entropy(layer_maps, SIZE), [oracle.entropy(M) for _, _, M, _ in cases])
    found = metrics.coherency(lambda x, _: x.abs().sum(1), images, layer_maps, chunk=2)
    exact(found, [oracle.coherency(explain, x, M) for _, x, M, _ in cases])


def test_a_map_that_ignores_the_image_is_perfectly_coherent(images, layer_maps):
    exact(metrics.coherency(lambda _, rows: layer_maps[rows], images, layer_maps), np.ones(IMAGES))
    assert metrics.coherency(lambda _, rows: 0 * layer_maps[rows], images, layer_maps).isnan().all()


def test_adcc_and_arcc_worked_by_hand():
    half = torch.tensor([0.5], dtype=torch.float64)
    exact(metrics.adcc(half, half, half), [0.5])
    exact(metrics.adcc(1 + 0 * half, half, 1 - half / 2), [3 / (1 + 2 + 4)])
    exact(metrics.arcc(half, half, half / 2), [0.5])
    assert (
        metrics.arcc(half, half, -half) == metrics.arcc(half, half, 0 * half) == metrics.adcc(half, half, 2 * half) == 0
    )
    assert metrics.adcc(half, half, half * torch.nan).isnan()
    random = torch.rand(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    exact(metrics.adcc(*random), [oracle.adcc(*each) for each in random.T.tolist()])
    exact(metrics.arcc(*random), [oracle.arcc(*each) for each in random.T.tolist()])


def test_arcc_is_composed_as_in_pytorch_grad_cam(layer_maps):
    library = require("pytorch_grad_cam.metrics.arcc")
    shown = metrics.shown(layer_maps, SIZE)
    exact(metrics.complexity(layer_maps, SIZE), library.Complexity()(shown.numpy()))
    correlations = library.batch_pearson_coherency(shown.numpy(), shown.flip(0).numpy())
    from camzoo.metrics.composed import pearson

    np.testing.assert_allclose(
        pearson(shown, shown.flip(0)), correlations, atol=1e-6
    )  # it adds 1e-8 below the fraction
