"""The oracles against cases worked by hand, so that an oracle that is wrong can be seen to be wrong."""

from __future__ import annotations

import ast
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from camzoo.oracles import activation, contrast, gradient, grids, input, linear, means, scores, transformer
from camzoo.oracles.input import Conv, Linear, Pool, Relu

ALLOWED = {"__future__", "collections", "itertools", "math", "numpy", "typing"}
close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)

A = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 1.0]]])
G = np.array([[[1.0, -1.0], [2.0, 2.0]], [[0.0, 4.0], [-4.0, -8.0]]])
RNG = np.random.default_rng(0)


def row(*values: float) -> np.ndarray:
    """A map or an image of one row."""
    return np.array([values], dtype=np.float64)


def test_no_oracle_imports_what_it_is_a_twin_of():
    for file in Path(activation.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names if not name.startswith("camzoo.oracles")} <= ALLOWED, file


# ---- grids


def test_bilinear_has_half_pixel_centres_and_repeats_the_edge():
    close(grids.bilinear(row(0, 4), (1, 4)), row(0, 1, 3, 4))
    close(grids.bilinear(row(0, 2, 4, 6), (1, 2)), row(1, 5))
    close(grids.bilinear(np.array([[0.0, 4.0], [8.0, 12.0]]), (4, 4))[1], [2, 3, 5, 6])


def test_trilinear_adds_one_axis():
    values = np.array([[[0.0, 4.0]], [[8.0, 12.0]]])
    close(grids.trilinear(values, (4, 1, 4))[:, 0, 0], [0, 2, 6, 8])
    close(grids.trilinear(values, (4, 1, 4))[1, 0], [2, 3, 5, 6])


@pytest.mark.parametrize("size", [(5, 7), (9, 3), (2, 2), (3, 4)])
def test_resize_is_what_torch_does(size):
    values = RNG.normal(size=(3, 4))
    wanted = torch.nn.functional.interpolate(torch.tensor(values)[None, None], size, mode="bilinear")[0, 0]
    close(grids.resize(values, size), wanted.numpy())


def test_normalise_and_rectify():
    close(grids.normalise(np.array([[1.0, 3.0], [5.0, 9.0]])), [[0, 0.25], [0.5, 1]])
    close(grids.normalise(np.full((2, 2), 7.0)), np.zeros((2, 2)))
    np.testing.assert_array_equal(grids.rectify(row(-1, 2, np.nan)), row(0, 2, np.nan))


# ---- gradient


def test_gradient_methods():
    close(gradient.gradcam(A, G), [[1, 0], [3, 2]])  # weights 1 and -2
    close(gradient.counterfactual_gradcam(A, G), [[-1, 0], [-3, -2]])
    close(gradient.hirescam(A, G), [[1, 2], [6, 0]])
    close(gradient.gradcam_elementwise(A, G), [[1, 4], [6, 8]])
    close(gradient.xgradcam(A, G), [[1.3, 0.6], [3.9, 3.2]])  # weights 13/10 and -4/2
    close(gradient.layercam(A, G), [[1, 4], [6, 8]])


def test_negative_activations_tell_layercam_from_the_elementwise_product():
    activations, gradients = row(-1, -1)[None], row(2, -2)[None]
    close(gradient.layercam(activations, gradients), row(-2, 0))
    close(gradient.gradcam_elementwise(activations, gradients), row(0, 2))


def test_gradcam_plus_plus_by_hand():
    # Channel 0 sums to 10: alpha = 1/12 at G = 1, 1/22 at G = 2, twice. Channel 1 sums to 2: alpha = 1/10 at G = 4.
    close(gradient.gradcam_plus_plus(A, G), 35 / 132 * A[0] + 0.4 * A[1])
    # The same alphas divided by their sums 23/132 and 1/10.
    close(gradient.gradcam_plus_plus(A, G, alpha="authors"), 35 / 23 * A[0] + 4 * A[1])


def test_gradcam_plus_plus_at_a_zero_denominator():
    activations, gradients = row(-1, -1)[None], row(1, 0)[None]  # 2 G^2 + (-2) G^3 = 0 at G = 1
    close(gradient.gradcam_plus_plus(activations, gradients, alpha="authors"), row(-1, -1))
    assert np.isinf(gradient.gradcam_plus_plus(activations, gradients)).all()
    assert not gradient.gradcam_plus_plus(A, np.zeros_like(G)).any()
    assert not gradient.gradcam_plus_plus(A, np.zeros_like(G), alpha="authors").any()


def test_xgradcam_of_a_dead_channel_is_zero():
    close(gradient.xgradcam(np.zeros((1, 2, 2)), G[:1]), np.zeros((2, 2)))


@pytest.mark.parametrize(
    "method",
    [
        gradient.gradcam,
        gradient.gradcam_plus_plus,
        gradient.hirescam,
        gradient.gradcam_elementwise,
        gradient.xgradcam,
        gradient.layercam,
        gradient.eigengradcam,
        activation.segeigencam,
    ],
)
def test_a_flat_volume_gives_the_flat_map_and_nan_stays(method):
    close(method(A[:, None], G[:, None])[0], method(A, G))
    broken = G.copy()
    broken[0, 0, 0] = np.nan
    assert np.isnan(method(A, broken)).any()


# ---- activation

B = np.array([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("sign", [1, -1])
def test_eigencam_of_a_rank_one_layer(sign):
    layer = sign * np.array([3 * B, 4 * B])  # v_1 = (0.6, 0.8)
    close(activation.eigencam(layer), 5 * B)
    close(activation.eigencam(layer, centred=True), 5 * (B - 2.5))
    close(gradient.eigengradcam(layer, 2 * np.ones_like(layer)), 10 * B)


def test_eigencam_takes_the_stronger_direction():
    layer = np.array([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    close(activation.eigencam(layer), [[3, 0], [0, 0]])


def test_tied_directions_are_joined_along_the_energy_and_mirror_with_the_image():
    layer = np.array([[[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]])
    found = activation.eigencam(layer)
    close(found, [[math.sqrt(2), 0, 0], [0, math.sqrt(2), 0]])
    close(activation.eigencam(layer[..., ::-1]), found[..., ::-1])


def test_sign_where_the_energy_is_constant():
    close(activation.eigencam(-np.ones((1, 2, 2))), np.ones((2, 2)))
    close(activation.eigencam(row(1, -1)[None]), row(1, -1))
    close(activation.eigencam(row(-1, 1)[None]), row(1, -1))
    close(activation.eigencam(np.zeros((3, 2, 2))), np.zeros((2, 2)))
    assert np.isnan(activation.eigencam(np.full((1, 2, 2), np.nan))).all()


def test_the_sign_follows_the_correlation_even_to_a_map_without_a_positive_cell():
    # Ten cells along one direction hold most of the energy, one stronger cell lies along another.
    layer = np.array([row(*[1] * 10, 0), row(*[0] * 10, 1.5)])
    close(activation.eigencam(layer), row(*[-1] * 10, 0))


def test_segeigencam_turns_the_larger_end_up():
    ones = np.ones((1, 1, 4))
    close(activation.segeigencam(row(1, 2, 3, 6)[None], -ones), row(-2, -1, 0, 3))
    close(activation.segeigencam(row(1, 5, 5, 5)[None], ones), row(3, -1, -1, -1))
    close(activation.segeigencam(row(1, 2, 2, 4)[None], 2 * ones, centred=False), row(2, 4, 4, 8))


@pytest.mark.parametrize(
    ("kernel", "eigenvalue"),
    [("rbf", 1 - math.exp(-4)), ("sigmoid", math.tanh(2)), ("poly", 8.0), ("linear", 2.0)],
)
def test_kpcacam_of_two_cells(kernel, eigenvalue):
    # Centred cells -1 and 1, gamma = 1/K = 1; the centred kernel is (q_11 - q_12)/2 [[1, -1], [-1, 1]].
    half = math.sqrt(eigenvalue / 2)
    close(activation.kpcacam(row(0, 2)[None], kernel), row(-half, half))


def test_kpcacam_with_the_linear_kernel_is_centred_eigencam():
    layer = RNG.normal(size=(3, 2, 4))
    close(activation.kpcacam(layer, "linear"), activation.eigencam(layer, centred=True), atol=1e-10)
    close(activation.kpcacam(np.ones((2, 2, 2))), np.zeros((2, 2)))


def test_fem_marks_two_sigma_peaks_and_all_of_a_constant_channel():
    peak = np.zeros((3, 3))
    peak[1, 2] = 9.0  # mean 1, sigma sqrt(8), threshold 6.66
    close(activation.fem(peak[None]), peak / 9)
    close(activation.fem(np.array([peak, np.full((3, 3), 5.0)])), peak / 9 + 5)
    close(activation.fem(np.array([[[0.0, 0.0], [0.0, 8.0]]])), np.zeros((2, 2)))  # four cells cannot reach it
    close(activation.fem(np.full((1, 7, 7), 0.1)), np.full((7, 7), 0.1))


def test_multiplicative_updates_by_hand():
    P, Q = activation.multiplicative_updates(np.array([[2.0]]), np.array([[1.0]]), np.array([[1.0]]), 1)
    close((P, Q), ([[1]], [[2]]))


def test_dff_flaws_are_found():
    P, Q = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    start = (np.ones_like(P) + np.arange(2), np.ones_like(Q))
    assert activation.dff_flaws(P @ Q, P, Q, start, 50) == []
    assert activation.dff_flaws(P @ Q, -P, -Q, start, 50) == ["negative entries"]
    assert "error" in activation.dff_flaws(P @ Q, *start, start, 50)[0]
    assert "shapes" in activation.dff_flaws(P @ Q, P.T, Q, start, 50)[0]
    assert activation.dff_flaws(P @ Q, P * np.nan, Q, start, 50) == ["not finite"]


# ---- linear

W, BIAS = np.array([[2.0, 4.0], [1.0, 1.0]]), np.array([1.0, 0.0])


def test_pooling_and_a_linear_head():
    close(linear.logits(A, W, BIAS), [8, 3])  # means 2.5 and 0.5
    wanted = linear.cam(A, W, 0)
    close(wanted, [[2, 8], [6, 12]])
    gradients = linear.gradient(A, W, 0)
    for method in (gradient.gradcam, gradient.hirescam, gradient.xgradcam):
        close(method(A, gradients), wanted / 4)
    close(scores.shapleycam(A, gradients, linear.hessian_vector(A)), wanted / 4)


@pytest.mark.parametrize("shift", [0.0, -16.0])  # S = 8 and S = -8
def test_ablation_in_closed_form(shift):
    bias = BIAS + shift
    close(linear.ablation_drops(A, W, 0), [5, 2])
    wanted = [[0.625, 1.5], [1.875, 2.75]]
    close(linear.ablationcam(A, W, bias, 0), wanted)
    close(scores.ablationcam(A, lambda layer: linear.logits(layer, W, bias)[0]), wanted)


def test_ablation_without_a_score_or_a_drop_is_zero():
    close(scores.ablationcam(A, lambda layer: 0.0), np.zeros((2, 2)))


def test_concept_scores():
    close(linear.concept_scores(np.array([[1.0, 0.0], [0.0, 3.0]]), W, BIAS), [[3, 1], [13, 3]])


# ---- scores

CHANNELS = np.array([row(0, 2), row(3, 1), row(5, 5)])
X = row(math.log(2), math.log(6))[None]


def test_scorecam_by_hand():
    seen = []

    def score(x):
        seen.append(x)
        return float(x.sum())

    # Masks (0, 1) and (1, 0), scores ln 6 and ln 2, weights 3/4 and 1/4; the constant channel is not run.
    close(scores.scorecam(CHANNELS, X, score), row(0.75, 1.75))
    assert len(seen) == 2
    close(scores.scorecam(CHANNELS, X, score, top_channels=1), row(0, 2))
    close(scores.scorecam_authors(CHANNELS, X, score), math.log(6) * row(0, 2) + math.log(2) * row(3, 1))
    close(scores.scorecam(CHANNELS[2:], X, score), row(0, 0))


def test_masks_are_scaled_after_they_are_upsampled():
    close(scores.masks(row(0, 4, 0)[None], (1, 6))[0], row(0, 1 / 3, 1, 1, 1 / 3, 0))


def test_the_widest_channels():
    assert scores.widest_channels(np.array([row(0, 1), row(9, 9), row(0, 4), row(5, 1)]), 3) == [2, 3, 0]


def test_sscam_by_hand():
    noise = np.zeros((3, 2, 1, 2))
    close(scores.sscam(CHANNELS, X, np.sum, noise), row(0.75, 1.75))
    noise[0, :, 0, 0] = 1.0, 1.0  # raises the first score to ln 6 + ln 2
    close(scores.sscam(CHANNELS, X, np.sum, noise), 12 / 14 * row(0, 2) + 2 / 14 * row(3, 1))


@pytest.mark.parametrize(("strength", "mean"), [("linear", 2 / 3), ("cumulative", 10 / 9)])
def test_iscam_by_hand(strength, mean):
    # Strengths 1/3, 2/3, 1 and 1/3, 1, 2.
    close(scores.iscam(CHANNELS, X / mean, np.sum, 3, strength), row(0.75, 1.75))


def test_iscam_averages_scores_and_not_inputs():
    # (1/4 + 1)/2 of a square.
    close(scores.iscam(CHANNELS, np.sqrt(X / 0.625), lambda x: float(x.sum() ** 2), 2), row(0.75, 1.75))


def test_percentile_is_linear():
    close(scores.percentile(np.array([4.0, 1.0, 3.0, 2.0]), 70), 3.1)


def test_gaussian_blur_by_hand():
    spike = np.zeros((1, 3, 3))
    spike[0, 1, 1] = 16.0
    # Taps 1/4, 1/2, 1/4; at the border both neighbours are the reflected one.
    close(scores.gaussian_blur(spike, 3, math.sqrt(1 / (2 * math.log(2)))), np.full((1, 3, 3), 4.0))
    close(scores.gaussian_blur(np.full((2, 4, 5), 3.0)), np.full((2, 4, 5), 3.0))


def test_groupcam_by_hand():
    layer = np.array([row(0, 0, 0, 4), row(8, 0, 0, 0)])
    gradients = np.stack([np.ones((1, 4)), -np.ones((1, 4))])
    x = row(1, 2, 3, 4)[None]
    for groups in (1, 2):
        close(scores.groupcam(layer, gradients, x, np.sum, groups, np.zeros_like(x)), row(0, 0, 0, 4))
        close(scores.groupcam(layer, gradients, x, np.sum, groups, np.ones_like(x)), row(0, 0, 0, 3))


def test_groupcam_denoises_and_its_resize_is_the_sum_of_the_scaled_masks():
    layer, x = row(1, 2, 8, 5)[None], RNG.normal(size=(1, 1, 8))
    # The 70th percentile of 1 2 5 8 is 5.3: only the 8 stays. Upsampled: 0 0 0 2 6 6 2 0.
    mask = row(0, 0, 0, 1, 3, 3, 1, 0) / 3
    gain = (x * mask).sum()
    found = scores.groupcam(layer, np.ones_like(layer), x, np.sum, 1, np.zeros_like(x))
    close(grids.resize(found, (1, 8)), gain * mask)


def test_shapleycam_of_a_quadratic_score():
    # S = (sum A_0)^2/2 - 3 (sum A_1)^2/2 at sums 10 and 2: G = 10 and -6, H A = G, weights 5 and -3.
    def slope(layer):
        return np.stack([np.full((2, 2), layer[0].sum()), np.full((2, 2), -3 * layer[1].sum())])

    product = scores.hessian_vector(A, slope)
    close(product, slope(A), rtol=1e-9)
    close(scores.shapleycam(A, slope(A), slope(A)), [[5, 7], [15, 17]])


def test_rest_utility():
    close(scores.rest(np.array([math.log(3), 0.0]), 0), math.log(3) + math.log(3 / 4))


def test_smoothgradcam_plus_plus_averages_powers():
    layer = row(1, 1)[None]
    noisy = [row(1, 0)[None], row(3, 0)[None]]  # means of powers 2, 5, 14
    close(scores.smoothgradcam_plus_plus(layer, noisy), row(1, 1) * 5 / (10 + 2 * 14) * 2)
    close(scores.smoothgradcam_plus_plus(A, [G]), gradient.gradcam_plus_plus(A, G))


def test_occlusion_by_hand():
    x = row(1, 2, 3, 4)[None]
    close(scores.occlusion(x, np.sum, (1, 2), (1, 1)), row(3, 4, 6, 7))  # drops 3, 5, 7
    close(scores.occlusion(x, np.sum, (1, 3), (1, 2)), row(6, 6, 6.5, 7))  # the second window sticks out
    close(scores.occlusion(x, np.sum, (1, 4), (1, 1), baseline=1.0), row(6, 6, 6, 6))
    close(scores.occlusion(x[:, :, None], np.sum, (1, 1, 2), (1, 1, 1))[0], row(3, 4, 6, 7))


def test_rise_by_hand():
    masks = np.array([row(1, 0), row(0, 1), row(1, 1)])
    close(scores.rise(row(2, 3)[None], np.sum, masks), row(14 / 3, 16 / 3))


def test_a_mask_of_rise():
    cells = np.array([[1.0, 0.0], [1.0, 0.0]])
    close(scores.rise_mask(cells, (2, 4), (0, 1)), [[1, 2 / 3, 1 / 3, 0]] * 2)


# ---- contrast


def test_finercam_target_by_hand():
    y = np.array([5.0, 4.0, 1.0, 4.5])
    assert contrast.similar_classes(y, 0, 2) == [3, 1]
    assert contrast.similar_classes(np.array([0.0, 1.0, -1.0]), 0) == [1, 2]
    close(contrast.finercam_target(y, 0, [3, 1]), 5 - 0.6 * 4.25)
    close(contrast.finercam_gradient(y, 0, [3, 1]), [1, -0.3, 0, -0.3])
    odds = np.array([0.0, math.log(3), 0.0])  # weights 3/4 and 1/4
    close(contrast.finercam_target(odds, 0, [1, 2], 1.0, "softmax"), -0.75 * math.log(3))


@pytest.mark.parametrize("weights", ["mean", "softmax"])
def test_finercam_gradient_is_the_derivative(weights):
    y, step = RNG.normal(size=5), 1e-5
    around = [
        [contrast.finercam_target(y + side * step * one, 2, [0, 3, 4], 0.7, weights) for side in (1, -1)]
        for one in np.eye(5)
    ]
    wanted = [(up - down) / (2 * step) for up, down in around]
    close(contrast.finercam_gradient(y, 2, [0, 3, 4], 0.7, weights), wanted, rtol=1e-8)


def test_maps_of_several_layers():
    coarse, fine = row(0, 4), row(-1, 0, 1, 1)
    close(contrast.refinecam([coarse, fine], (1, 4)), row(0, 0, 0.75, 1))
    close(contrast.refinecam([coarse, row(2, 2)], (1, 4)), row(0, 0, 0, 0))
    close(contrast.fuse([coarse, fine], (1, 4), "mean"), row(0, 0.125, 0.875, 1))
    close(contrast.fuse([coarse, fine], (1, 4), "max"), row(0, 0.25, 1, 1))


def test_layercam_fusion_by_hand():
    found = contrast.layercam_fusion([row(-1, 2, 1, 0), row(0, 4)], (1, 4), [True, False])
    close(found, row(0, math.tanh(2), math.tanh(1), 1))
    close(contrast.layercam_fusion([row(-1, 0), row(-2, 0)], (1, 2), [True, False]), row(0, 0))


# ---- means


def test_smoothgrad_by_hand():
    noise = [row(1, 0)[None], row(-1, 2)[None]]
    # sigma is half of 3 - 1; the copies are (2, 3) and (0, 5)
    close(means.smoothgrad(lambda x: x[0] ** 2, row(1, 3)[None], noise, std=0.5), row(2, 17))
    close(means.smoothgrad(lambda x: x[0], row(1, 3)[None], noise[:1]), row(1.3, 3))
    colours = np.stack([row(0, 0), row(0, 4)])  # the range is that of all colours
    close(means.smoothgrad(lambda x: x[0], colours, [np.ones_like(colours)]), row(0.6, 0.6))


def test_augmented_by_hand():
    # The left pixel alone is seen: 1 as it is, 3 mirrored, which goes back to the right; 0.81 + 1 + 1.21 = 3.02.
    close(means.augmented(lambda x: row(1, 0) * x[0] ** 2, row(1, 3)[None]), row(3.02, 9 * 3.02) / 6)
    close(means.mirrored(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])), [[3, 2, 1], [6, 5, 4]])


# ---- transformer


def test_rollout_by_hand():
    first = np.array([[0.2, 0.6, 0.2], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    second = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    close(transformer.rollout(first[None, None], (1, 2)), row(0.3, 0.1))
    # Row 0 of T_2 is (1/2, 1/2, 0): the mean of the rows (0.6, 0.3, 0.1) and (0, 0.5, 0.5) of T_1.
    close(transformer.rollout(np.array([[first], [second]]), (1, 2)), row(0.4, 0.3))
    # Two heads are averaged; without a class token the rows are.
    close(transformer.rollout(np.array([[first, second]]), (1, 2)), row(0.4, 0.05))
    close(transformer.rollout(second[None, None], (1, 3), prefix=0), row(1 / 3, 1 / 3, 1 / 3))


def test_legrad_by_hand():
    heads = np.array(
        [
            [[9.0, 1.0, -5.0], [0.0, 2.0, 0.0], [0.0, -7.0, 3.0]],
            [[0.0, 3.0, 9.0], [-1.0, -1.0, -1.0], [-1.0, -1.0, 0.0]],
        ]
    )
    close(transformer.legrad(heads[None], (1, 2)), row(1, 2))  # column sums 6 and 12 over 2 heads, 3 queries
    both = np.array([np.zeros_like(heads), heads])
    close(transformer.legrad(both, (1, 2)), row(0.5, 1))
    close(transformer.legrad(both, (1, 2), first_layer=1), row(1, 2))


def test_tokens_are_laid_out_row_by_row():
    close(transformer.on_grid(np.arange(8.0), 2, (2, 3)), [[2, 3, 4], [5, 6, 7]])


# ---- input

HAND = [
    Linear(np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]), np.array([0.0, 0.0, -4.0])),
    Relu(),
    Linear(np.array([[-1.0, 1.0, 1.0], [2.0, 0.0, 0.0]]), np.array([0.0, 1.0])),
]
PIXELS = row(3, 1)[None]  # before the ReLU: 2, -2, 0


def test_three_rules_at_a_relu():
    close(input.forward(HAND, PIXELS)[-1], [-2, 5])
    close(input.backward(HAND, input.forward(HAND, PIXELS), 0)[0], row(-1, 1)[None])
    close(input.guided_backprop(HAND, PIXELS, 0), row(0, 0)[None])  # the one open ReLU gets -1
    close(input.guided_backprop(HAND, PIXELS, 1), row(2, -2)[None])
    close(input.deconvolution(HAND, PIXELS, 0), row(0, 2)[None])  # both closed ReLUs let 1 pass


def test_convolution_by_hand():
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 1] = 1, 2, 3
    layer = Conv(weight, np.array([10.0]))
    x = row(1, 0, 2)[None]
    close(input.apply(layer, x), row(12, 17, 14)[None])
    close(input.pull(layer, x, row(1, 0, 0)[None], input.plain_rule), row(2, 3, 0)[None])


def deep_net():
    return [
        Conv(RNG.normal(size=(3, 2, 3, 3)), RNG.normal(size=3)),
        Relu(),
        Conv(RNG.normal(size=(2, 3, 3, 3)), RNG.normal(size=2)),
        Relu(),
        Pool(),
        Linear(RNG.normal(size=(4, 2)), RNG.normal(size=4)),
    ]


def test_the_plain_gradient_is_the_derivative():
    net, x, step = deep_net(), RNG.normal(size=(2, 4, 3)), 1e-6
    found = input.backward(net, input.forward(net, x), 1)[0]
    for cell in [(0, 0, 0), (1, 2, 1), (0, 3, 2)]:
        moved = np.zeros_like(x)
        moved[cell] = step
        rise = input.forward(net, x + moved)[-1][1] - input.forward(net, x - moved)[-1][1]
        close(found[cell], rise / (2 * step), rtol=1e-6, atol=1e-9)


def test_fullgrad_is_complete_and_the_gap_sees_a_missing_bias():
    net, x = deep_net(), RNG.normal(size=(2, 4, 3))
    close(input.completeness_gap(net, x, 2), 0)
    # By hand: S = -2, gradient (-1, 1) times (3, 1) is -2, and no open path has a bias.
    close(input.completeness_gap(HAND, PIXELS, 0), 0)
    without = input.bias_gradients(net, x, 2)[:-1]
    gradients = input.backward(net, input.forward(net, x), 2)[0]
    short = input.forward(net, x)[-1][2] - (x * gradients).sum() - sum(term.sum() for term in without)
    close(short, net[-1].bias[2])


def test_fullgrad_map_by_hand():
    x, slope = row(0, 2)[None], np.ones((1, 1, 2))
    close(input.fullgrad(x, slope, [row(-4, 0)[None], np.ones(3)]), row(1, 1))
    two = np.stack([row(-4, 0), row(1, 1)])
    close(input.fullgrad(x, slope, [two]), row(1, 1))
    close(input.fullgrad(x, slope, [two], rescale="layer"), row(1.25, 1.25))


def test_guided_gradcam_by_hand():
    guided = np.stack([row(1, 1, 1, 1), row(0, -1, 0, 1)])
    close(input.guided_gradcam(guided, row(-3, 4)), row(0, 0, 3, 8))
