"""The attributions' references: their twins against closed forms, by hand and on a network that is linear."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from camzoo.conformance import attributions, stands
from camzoo.conformance.evidence import Literal
from camzoo.conformance.inner import NoReference
from camzoo.oracles import attribution, propagation
from camzoo.oracles.attribution import summed

RNG = np.random.default_rng(0)
FEW = {"n_steps": 3, "n_samples": 60, "cells": 2, "alpha": 1e-9}
TAKES = {
    **dict.fromkeys(("integrated-gradients", "layer-integrated-gradients"), ("n_steps",)),
    **dict.fromkeys(("conductance", "internal-influence"), ("n_steps",)),
    **dict.fromkeys(("feature-ablation", "layer-feature-ablation", "shapley-values"), ("cells",)),
    **dict.fromkeys(("shapley-sampling", "kernelshap"), ("cells", "n_samples")),
    "lime": ("cells", "n_samples", "alpha"),
}


def close(found, wanted, tolerance: float = 1e-12) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.fixture
def straight() -> Literal:
    return Literal(stands.STRAIGHT.problem(), 0)


@pytest.fixture
def pooled() -> Literal:
    return Literal(stands.MAX_POOLED.problem(), 1)


def ask(evidence: Literal, method: str):
    return attributions.METHODS[method](evidence, **{name: FEW[name] for name in TAKES.get(method, ())})


def weights(evidence: Literal):
    """`w` of a score `w . x`: what each pixel adds when it is one and all others are zero."""
    w = np.zeros(evidence.x.shape)
    for place in np.ndindex(w.shape):
        one = np.zeros_like(w)
        one[place] = 1
        w[place] = evidence.score(one)
    return w


# ---- a score that is linear in the image: everything follows on paper


@pytest.mark.parametrize("method", ["input-x-gradient", "integrated-gradients"])
def test_on_a_linear_network_pixels_have_their_share(straight, method):
    close(ask(straight, method), summed(weights(straight) * straight.x))


def test_on_a_linear_network_saliency_is_the_size_of_the_weights(straight):
    close(ask(straight, "saliency"), np.abs(weights(straight)).max(0))


@pytest.mark.parametrize("method", ["feature-ablation", "shapley-values", "shapley-sampling", "kernelshap", "lime"])
def test_on_a_linear_network_a_patch_has_the_sum_of_its_pixels(straight, method):
    share, patches = summed(weights(straight) * straight.x), attributions.patches_of(straight, 2)
    totals = np.array([share[patches == number].sum() for number in range(4)])
    close(ask(straight, method), totals[patches], 1e-7 if method == "lime" else 1e-12)  # the lasso shrinks by alpha


def test_on_a_linear_network_expected_gradients_are_away_from_the_mean_baseline(straight):
    drawn = [b for b, _ in attributions.between(straight, 10)]
    close(ask(straight, "gradient-shap"), summed(weights(straight) * (straight.x - np.mean(drawn, axis=0))))


@pytest.mark.parametrize("method", ["conductance", "layer-integrated-gradients"])
def test_on_a_linear_network_a_cell_of_the_layer_has_its_share(straight, method):
    close(ask(straight, method), summed(straight.G * straight.A))


def test_on_a_linear_network_influence_is_the_gradient(straight):
    close(ask(straight, "internal-influence"), summed(straight.G))


def test_on_a_linear_network_the_gradient_does_not_vary(straight):
    slopes = attributions.noisy_slopes(straight, 5)
    close(attribution.smoothgrad_squared(slopes), weights(straight) ** 2)
    assert attribution.vargrad(slopes).max() <= 1e-20 * attribution.smoothgrad_squared(slopes).max()
    with pytest.raises(NoReference, match="but for rounding"):
        ask(straight, "vargrad")


@pytest.mark.parametrize("method", ["deeplift", "lrp", "deeplift-shap"])
def test_on_a_linear_network_rules_give_shares(straight, method):
    baseline = attributions.noise_images(straight).mean(0) if method == "deeplift-shap" else 0
    close(
        ask(straight, method), summed(weights(straight) * (straight.x - baseline)), 1e-8 if method == "lrp" else 1e-12
    )


@pytest.mark.parametrize("method", ["layer-deeplift", "layer-lrp"])
def test_on_a_linear_network_rules_give_shares_at_the_layer(straight, method):
    close(ask(straight, method), summed(straight.G * straight.A), 1e-8)


# ---- what has to add up


@pytest.mark.parametrize("method", ["deeplift", "layer-deeplift"])
def test_deeplift_adds_up_to_the_change_of_the_score(pooled, method):
    change = pooled.score(pooled.x) - pooled.score(np.zeros_like(pooled.x))
    assert math.isclose(ask(pooled, method).sum(), change, rel_tol=1e-12)


@pytest.mark.parametrize("method", ["deeplift-shap", "layer-deeplift-shap"])
def test_deeplift_adds_up_to_the_mean_change(pooled, method):
    change = np.mean([pooled.score(pooled.x) - pooled.score(b) for b in attributions.noise_images(pooled)])
    assert math.isclose(ask(pooled, method).sum(), change, rel_tol=1e-12)


@pytest.mark.parametrize("method", ["conductance", "layer-integrated-gradients"])
def test_integrals_of_a_smooth_network_add_up(method):
    evidence = Literal(stands.SMOOTH.problem(), 0)
    problem, size = evidence.problem, evidence.x.shape
    model = nn.Sequential(*[nn.Softplus() if isinstance(m, nn.ReLU) else m for m in problem.model]).eval()
    smooth = Literal(stands.pose(model, problem.images, "4", [4, 1]), 0)
    change = smooth.score(smooth.x) - smooth.score(np.zeros(size))
    assert math.isclose(attributions.METHODS[method](smooth, n_steps=24).sum(), change, rel_tol=1e-6)


def test_a_network_of_relus_has_lrp_equal_to_input_times_gradient(pooled):
    close(ask(pooled, "lrp"), ask(pooled, "input-x-gradient"), 1e-6)


# ---- the twins by hand


def test_gauss_legendre_is_exact_for_polynomials_of_its_degree():
    for n in (1, 2, 5, 12, 50):
        nodes, found = attribution.gauss_legendre(n)
        assert (np.diff(nodes) > 0).all()
        for degree in (0, 1, 2 * n - 1):
            assert math.isclose((found * nodes**degree).sum(), 1 / (degree + 1), rel_tol=1e-13)
    assert not math.isclose((attribution.gauss_legendre(2)[1] * attribution.gauss_legendre(2)[0] ** 4).sum(), 0.2)


def test_a_chain_is_differentiated_as_torch_does(pooled):
    chain = attributions.chain_of(pooled)
    signals = propagation.backward(chain, propagation.forward(chain, pooled.x), pooled.c)
    close(signals[0], pooled.input_gradient)
    close(signals[attributions.place_of(pooled)], pooled.G)


def test_a_chain_with_other_layers_is_differentiated_as_torch_does():
    for stand in (stands.POOLED, stands.SMOOTH):
        evidence = Literal(stand.problem(), 0)
        chain = attributions.chain_of(evidence)
        signals = propagation.backward(chain, propagation.forward(chain, evidence.x), evidence.c)
        close(signals[0], evidence.input_gradient)


def test_what_is_no_chain_is_refused():
    with pytest.raises(NoReference, match=r"nn\.Sequential only"):
        attributions.chain_of(Literal(stands.TRANSFORMER.problem(), 0))

    class Doubled(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(images)

    problem = stands.POOLED.problem()
    with pytest.raises(NoReference, match="more than run its layers"):
        attributions.chain_of(Literal(stands.pose(Doubled(*problem.model), problem.images, "1", [1, 3]), 0))
    with pytest.raises(NoReference, match="does not know GELU"):
        attributions.chain_of(
            Literal(stands.pose(nn.Sequential(*problem.model, nn.GELU()), problem.images, "1", [1, 3]), 0)
        )


def test_max_pooling_credits_both_winners():
    layer = propagation.MaxPool((1, 2), (1, 2), (0, 0))
    z, reference = np.array([[[2.0, 1.0]]]), np.array([[[0.0, 3.0]]])
    credit = propagation.pooled_credit(layer, z, reference, np.array([[[1.0]]]))
    assert credit.tolist() == [[[0.0, -1.0]]]


def test_overlapping_windows_add_up():
    layer = propagation.MaxPool((1, 3), (1, 1), (0, 0))
    z = np.array([[[0.0, 1.0, 5.0, 1.0, 0.0]]])
    credit = propagation.pooled_credit(layer, z, np.zeros_like(z), np.ones((1, 1, 3)))
    assert credit.tolist() == [[[0.0, 0.0, 15.0, 0.0, 0.0]]]


def test_deconvolution_passes_positive_signals_at_negative_inputs():
    chain = [propagation.Relu(), propagation.Linear(np.array([[1.0, -1.0]]), np.zeros(1))]
    values = propagation.forward(chain, np.array([-1.0, 2.0]))
    assert propagation.backward(chain, values, 0, propagation.rectified)[0].tolist() == [1.0, 0.0]
    assert propagation.backward(chain, values, 0)[0].tolist() == [0.0, -1.0]


GAME = {kept: float(RNG.normal()) for kept in itertools.product((0, 1), repeat=4)}


def test_shapley_values_are_those_of_all_orders_and_of_the_kernel():
    exact = attribution.shapley(GAME.__getitem__, 4)
    close(attribution.shapley_sampling(GAME.__getitem__, list(itertools.permutations(range(4)))), exact)
    inner = [kept for kept in GAME if 0 < sum(kept) < 4]
    kernel = [attribution.shapley_kernel(kept) for kept in inner]
    close(attribution.kernelshap(GAME.__getitem__, inner, kernel), exact)
    assert math.isclose(exact.sum(), GAME[1, 1, 1, 1] - GAME[0, 0, 0, 0])


def test_drawn_coalitions_have_the_sizes_of_the_kernel():
    drawn = attributions.kernel_coalitions(Literal(stands.POOLED.problem(), 0), 5, 4000)
    counts = np.bincount([sum(kept) for kept in drawn], minlength=6) / 4000
    odds = np.array([0, *(1 / (k * (5 - k)) for k in range(1, 5)), 0])
    np.testing.assert_allclose(counts, odds / odds.sum(), atol=0.03)


def test_lime_meets_the_conditions_of_the_lasso():
    Z = np.array(list(GAME), dtype=np.float64)
    w, v, alpha = RNG.uniform(0.5, 1, 16), np.array(list(GAME.values())), 0.05
    phi = attribution.lime(list(v), list(GAME), list(w), alpha)
    w = w / w.sum()
    rest = v - Z @ phi
    pull = Z.T @ (w * (rest - w @ rest))
    assert (phi == 0).any()
    assert (phi != 0).any()
    np.testing.assert_allclose(pull[phi != 0], alpha * np.sign(phi[phi != 0]), atol=1e-12)
    assert (np.abs(pull[phi == 0]) <= alpha + 1e-12).all()


def test_noise_methods_by_hand():
    slopes = [np.array([1.0, -2.0]), np.array([3.0, 2.0])]
    assert attribution.smoothgrad(slopes).tolist() == [2.0, 0.0]
    assert attribution.smoothgrad_squared(slopes).tolist() == [5.0, 4.0]
    assert attribution.vargrad(slopes).tolist() == [1.0, 4.0]


def test_patches_are_numbered_row_by_row():
    assert attribution.regular_patches((2, 5), 2).tolist() == [[0, 0, 0, 1, 1], [2, 2, 2, 3, 3]]
    assert attribution.regular_patches((2, 2), 14).tolist() == [[0, 1], [2, 3]]


def test_two_images_swap_their_patches():
    problem = stands.MAX_POOLED.problem()
    one, other = Literal(problem, 0), Literal(problem, 1)
    found = attributions.feature_permutation(one, cells=2)
    mixed = one.x.copy()
    mixed[:, :8, :12] = other.x[:, :8, :12]
    assert math.isclose(found[0, 0], one.score(one.x) - one.score(mixed))
    with pytest.raises(NoReference, match="there is one image"):
        attributions.feature_permutation(Literal(stands.pose(problem.model, problem.images[:1], "last", [2]), 0))


def test_channels_that_cancel_are_refused():
    problem = stands.TRANSFORMER.problem()
    nn.init.ones_(problem.layer_module.weight)  # a LayerNorm as it starts: its output adds up to zero
    with pytest.raises(NoReference, match="but for rounding"):
        attributions.layer_activation(Literal(problem, 0))
