"""The methods that need one capture and nothing else, against their literal float64 twins."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
import torch
from conftest import require

import camzoo
from camzoo import methods, oracles
from camzoo.errors import RequestError
from camzoo.methods import _arrays
from camzoo.methods.dff import concept_scores, contributions, factorise
from camzoo.oracles import activation, controls, linear
from camzoo.types import Capture, Evidence, Resolution

FORMULAS = {
    "gradcam": ({},),
    "counterfactual-gradcam": ({},),
    "gradcam++": ({}, {"alpha": "authors"}),
    "hirescam": ({},),
    "gradcam-elementwise": ({},),
    "xgradcam": ({},),
    "layercam": ({},),
    "eigencam": ({}, {"centred": True}),
    "eigengradcam": ({}, {"centred": True}),
    "segeigencam": ({}, {"centred": False}),
    "kpcacam": (
        {},
        {"kernel": "rbf"},
        {"kernel": "poly"},
        {"kernel": "linear"},
        {"gamma": 0.3, "coef0": 0.1},
        {"kernel": "poly", "degree": 2, "coef0": 0.0},
    ),
    "fem": ({}, {"k_sigma": 1.0}),
}
CASES = [(name, options) for name, variants in FORMULAS.items() for options in variants]
EIGEN = [(name, options) for name, options in CASES if name in ("eigencam", "eigengradcam", "segeigencam", "kpcacam")]
GRADIENT = [case for case in CASES if Evidence.GRADIENTS in methods.find(case[0]).needs]
CONTROLS = ("random", "uniform", "center", "sobel")
SHAPES = [(3, 8, 5, 4), (3, 24, 3, 5), (2, 6, 2, 3, 4)]  # fewer channels than cells, more, and a volume

OTHER_NAMES = {
    "dff": "dff_flaws",
    "finercam": "finercam_gradient",
    "fusion": "fuse",
    "attention-rollout": "rollout",
}
"""Twins that are not called as the method is."""


def label(case) -> str:
    name, options = case
    return name + ",".join(f" {key}={value}" for key, value in options.items())


every_formula = pytest.mark.parametrize(("name", "options"), CASES, ids=map(label, CASES))
of_gradients = pytest.mark.parametrize(("name", "options"), GRADIENT, ids=map(label, GRADIENT))


def evidence(shape, signed=False, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Activations with a dead and a constant channel, and gradients with a channel of zeros."""
    generator = np.random.default_rng(seed)
    A, G = generator.normal(size=(2, *shape))
    A = A if signed else np.maximum(A, 0)
    A[:, 0], A[:, 1], G[:, 2] = 0, 0.7, 0
    return A, G


def explained(name, options, A, G):
    return methods.find(name).function(Capture(A, G), **options)


def twin_of(name: str):
    """The oracle of a method, found by name in the modules of camzoo/oracles."""
    wanted = OTHER_NAMES.get(name, name.replace("++", "_plus_plus").replace("-", "_"))
    for module in pkgutil.iter_modules(oracles.__path__):
        found = getattr(importlib.import_module(f"camzoo.oracles.{module.name}"), wanted, None)
        if found is not None:
            return found
    raise LookupError(f"{name} has no oracle: camzoo/oracles has no {wanted}")


def twins(name, options, A, G) -> np.ndarray:
    of_gradients = Evidence.GRADIENTS in methods.find(name).needs
    A, G = np.asarray(A, dtype=np.float64), np.asarray(G, dtype=np.float64)
    twin = twin_of(name)
    return np.stack([twin(a, g, **options) if of_gradients else twin(a, **options) for a, g in zip(A, G, strict=True)])


def error(found, wanted) -> float:
    """The largest absolute difference over the largest absolute value."""
    found = found.to(torch.float64).numpy() if isinstance(found, torch.Tensor) else np.asarray(found, np.float64)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", [method.name for method in methods.TABLE])
def test_every_row_of_the_table_has_an_oracle(name):
    assert callable(twin_of(name))


def test_a_row_without_an_oracle_fails_by_name():
    with pytest.raises(LookupError, match="newcam has no oracle"):
        twin_of("newcam")


def test_names_are_unique():
    names = [method.name for method in methods.TABLE]
    assert len(names) == len(set(names))


def test_the_twins_know_every_option():
    for name, variants in FORMULAS.items():
        assert set(methods.find(name).options) == {key for options in variants for key in options}


@every_formula
@pytest.mark.parametrize("signed", [False, True], ids=["post-activation", "pre-activation"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_its_twin_in_float64(name, options, signed, shape):
    A, G = evidence(shape, signed)
    wanted = twins(name, options, A, G)
    assert error(explained(name, options, A, G), wanted) < 1e-12
    assert error(explained(name, options, torch.tensor(A), torch.tensor(G)), wanted) < 1e-12


@every_formula
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_its_twin_in_float32(name, options, shape):
    # A sum of some hundred terms rounds to a few eps = 1.2e-7; an eigenvector to eps times lam_1 over the gap, here
    # less than 30. So 1e-5 holds for both. The inputs are those that the twin gets, so their rounding does not count.
    A, G = (array.astype(np.float32) for array in evidence(shape))
    found = explained(name, options, torch.tensor(A), torch.tensor(G))
    assert found.dtype == torch.float32
    assert error(found, twins(name, options, A, G)) < 1e-5


@every_formula
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_kept_and_finite(name, options, dtype):
    A, G = (torch.tensor(array).to(dtype) for array in evidence(SHAPES[0]))
    found = explained(name, options, A, G)
    assert found.dtype == dtype
    # Weights, products and sums round once each, relative to terms that partly cancel.
    assert error(found, twins(name, options, A.double(), G.double())) < 16 * torch.finfo(dtype).eps


@every_formula
def test_jax_and_numpy_and_torch_agree(name, options):
    jax = require("jax")
    A, G = evidence(SHAPES[0])
    with jax.enable_x64(True):
        found = explained(name, options, jax.numpy.asarray(A), jax.numpy.asarray(G))
        assert found.dtype == np.float64
        assert error(found, explained(name, options, A, G)) < 1e-12
    assert error(explained(name, options, torch.tensor(A), torch.tensor(G)), explained(name, options, A, G)) < 1e-12


@pytest.mark.parametrize("name", [*FORMULAS, "dff", *CONTROLS])
def test_no_value_is_looked_at(name):
    # Tensors of the device "meta" have no values: a branch on one, or a wait for the device, raises.
    A, x = torch.empty(2, 8, 5, 4, device="meta"), torch.empty(2, 3, 20, 16, device="meta")
    found = methods.find(name).function(Capture(A, A, images=x))
    assert found.shape == ((2, 20, 16) if name == "sobel" else (2, 5, 4))
    assert found.device.type == "meta"


@every_formula
def test_batch_mates_do_not_matter(name, options):
    A, G = map(torch.tensor, evidence(SHAPES[0]))
    together = explained(name, options, A, G)
    for i in range(len(A)):
        alone = explained(name, options, A[i : i + 1], G[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-13 * float(together[i].abs().max()))


@every_formula
def test_a_mirrored_image_gives_the_mirrored_map(name, options):
    A, G = evidence(SHAPES[0])
    mirrored = explained(name, options, A[..., ::-1], G[..., ::-1])
    assert error(mirrored[..., ::-1], explained(name, options, A, G)) < 1e-12


@every_formula
def test_any_strides_will_do(name, options):
    A, G = map(torch.tensor, evidence(SHAPES[0]))
    last = [array.to(memory_format=torch.channels_last) for array in (A, G)]
    assert error(explained(name, options, *last), explained(name, options, A, G).numpy()) < 1e-12


@every_formula
@pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_nothing_gives_zeros(name, options, library):
    zeros = library(np.zeros((2, 4, 3, 5)))
    assert not explained(name, options, zeros, zeros).any()


@of_gradients
def test_zero_gradients_give_zeros(name, options):
    A, G = evidence(SHAPES[0])
    assert not explained(name, options, A, np.zeros_like(G)).any()


def check_nan(name, options, A, G, broken):
    clean = explained(name, options, A, G)
    broken[1, 3, 2, 1] = torch.nan
    found = explained(name, options, A, G)
    assert found[1, 2, 1].isnan()
    assert found[1].isnan().all() or (name, options) not in EIGEN
    torch.testing.assert_close(found[[0, 2]], clean[[0, 2]])


@every_formula
def test_nan_in_activations_stays_nan_in_its_own_image(name, options):
    A, G = map(torch.tensor, evidence(SHAPES[0]))
    check_nan(name, options, A, G, broken=A)


@of_gradients
def test_nan_in_gradients_stays_nan_in_its_own_image(name, options):
    A, G = map(torch.tensor, evidence(SHAPES[0]))
    check_nan(name, options, A, G, broken=G)


def test_nothing_given_is_changed():
    A, G = map(torch.tensor, evidence(SHAPES[0]))
    kept = A.clone(), G.clone()
    for name in [*FORMULAS, "dff"]:
        explained(name, {}, A, G)
    assert torch.equal(A, kept[0])
    assert torch.equal(G, kept[1])


# Closed forms


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_with_pooling_and_a_linear_head_four_methods_are_cam(shape):
    A, _ = evidence(shape)
    W = np.random.default_rng(1).normal(size=(5, shape[1]))
    G = np.stack([linear.gradient(a, W, 2) for a in A])
    wanted = np.stack([linear.cam(a, W, 2) for a in A])
    for name in ("gradcam", "hirescam", "xgradcam"):
        assert error(explained(name, {}, A, G) * wanted[0].size, wanted) < 1e-12
    assert error(explained("counterfactual-gradcam", {}, A, G) * wanted[0].size, -wanted) < 1e-12


def test_hirescam_sums_to_the_score_of_a_linear_tail():
    A, G = evidence(SHAPES[0])  # the score is <G, A>
    np.testing.assert_allclose(explained("hirescam", {}, A, G).sum((1, 2)), (A * G).sum((1, 2, 3)), rtol=1e-12)


def test_gradcam_plus_plus_of_gradients_too_small_to_be_squared():
    A, G = map(torch.tensor, evidence(SHAPES[0]))
    tiny = 1e-25  # its square is zero in float32; alpha is 1/2 then
    found = explained("gradcam++", {}, A.float(), (G * tiny).float()) / tiny
    weights = G.clamp(min=0).sum((2, 3), keepdim=True) / 2
    assert error(found, (weights * A).sum(1).numpy()) < 1e-5


def test_gradcam_plus_plus_where_the_denominator_is_zero():
    A, G = torch.tensor([[[[-2.0, 1.0]]]]), torch.tensor([[[[2.0, -1.0]]]])  # 2 + (-1) 2 = 0
    assert not explained("gradcam++", {}, A, G).isfinite().any()
    np.testing.assert_allclose(explained("gradcam++", {"alpha": "authors"}, A, G), [[[-4.0, 2.0]]])


def test_xgradcam_of_activations_that_cancel_is_infinite():
    A, G = torch.tensor([[[[-1.0, 1.0]]]]), torch.tensor([[[[1.0, 2.0]]]])
    assert not explained("xgradcam", {}, A, G).isfinite().any()


def test_unknown_variants_are_refused():
    A, G = evidence(SHAPES[0])
    with pytest.raises(RequestError, match="unknown alpha 'papers': did you mean paper"):
        explained("gradcam++", {"alpha": "papers"}, A, G)
    with pytest.raises(RequestError, match="unknown kernel 'cosine'"):
        explained("kpcacam", {"kernel": "cosine"}, A, G)


# The leading direction


def with_singular_values(values, shape=(8, 5, 4), seed=0) -> np.ndarray:
    """Activations of one image whose matrix of cells by channels has the singular values named, up to rounding."""
    generator = np.random.default_rng(seed)
    channels, cells = shape[0], int(np.prod(shape[1:]))
    U, V = (np.linalg.qr(generator.normal(size=(length, len(values))))[0] for length in (cells, channels))
    return (V * np.array(values) @ U.T).reshape(1, *shape)


@pytest.mark.parametrize("shape", [(8, 5, 4), (24, 5, 4)], ids=str)
def test_tied_singular_values_have_one_answer(shape):
    A = with_singular_values([2.0, 2.0, 1.0], shape)
    found = explained("eigencam", {}, A, None)
    assert error(found, activation.eigencam(A[0])[None]) < 1e-12
    mirrored = explained("eigencam", {}, A[..., ::-1], None)
    assert error(mirrored[..., ::-1], found) < 1e-12
    np.testing.assert_allclose(np.linalg.norm(found), 2.0, rtol=1e-12)


def test_tied_singular_values_of_symmetric_cells():
    # Each cell its own channel: all directions tie, and the energy says which is meant.
    A = np.eye(6).reshape(1, 6, 2, 3) * 1.0
    np.testing.assert_allclose(explained("eigencam", {}, A, None), np.full((1, 2, 3), 6**-0.5), rtol=1e-12)
    A[0, 0] *= 3
    np.testing.assert_allclose(explained("eigencam", {}, A, None), [[[3, 0, 0], [0, 0, 0]]], atol=1e-12)


def test_equal_energies_leave_the_sign_to_the_sum():
    A = np.array([-1.0, -1.0, -1.0, 1.0]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(explained("eigencam", {}, A, None), -A[0], rtol=1e-12)


def test_where_the_sum_is_zero_too_the_first_large_entry_is_positive():
    # Sum and correlation with the energy are zero; the first entry is not the largest, and more than half of it.
    A = np.array([-0.75, 1.0, 0.75, -1.0]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(explained("eigencam", {}, A, None), -A[0], rtol=1e-12)
    A = np.array([-0.25, 1.0, 0.25, -1.0]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(explained("eigencam", {}, A, None), A[0], rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_smaller_matrix_is_decomposed(shape, monkeypatch):
    sizes = []
    whole = _arrays.leading_space
    monkeypatch.setattr(_arrays, "leading_space", lambda gram: (sizes.append(gram.shape), whole(gram))[1])
    explained("eigencam", {}, *evidence(shape))
    small = min(shape[1], int(np.prod(shape[2:])))
    assert sizes == [(shape[0], small, small)]


SIGNED_BY_ENERGY = [case for case in EIGEN if case[0] != "segeigencam"]


@pytest.mark.parametrize(("name", "options"), SIGNED_BY_ENERGY, ids=map(label, SIGNED_BY_ENERGY))
def test_the_sign_correlates_with_the_energy(name, options):
    for seed in range(10):
        A, G = evidence(SHAPES[0], signed=True, seed=seed)
        found = explained(name, options, A, G)
        energies = ((G * A if name == "eigengradcam" else A) ** 2).sum(1)
        for m, e in zip(found, energies, strict=True):
            assert np.corrcoef(m.ravel(), e.ravel())[0, 1] >= 0


def test_the_largest_end_of_segeigencam_is_positive():
    for seed in range(10):
        found = explained("segeigencam", {}, *evidence(SHAPES[0], signed=True, seed=seed))
        assert (found.max((1, 2)) >= -found.min((1, 2))).all()


def test_a_linear_kernel_is_centred_eigencam():
    A, _ = evidence(SHAPES[0])
    centred = explained("eigencam", {"centred": True}, A, None)
    assert error(explained("kpcacam", {"kernel": "linear"}, A, None), centred) < 1e-12


def test_a_kernel_of_cells_that_are_all_alike_gives_zeros():
    A = np.broadcast_to(np.random.default_rng(0).random((2, 8, 1, 1)), (2, 8, 5, 4))
    for _, options in [case for case in EIGEN if case[0] == "kpcacam"]:
        assert not explained("kpcacam", options, A, None).any()


@pytest.mark.parametrize("scale", [1e-16, 1e16])
def test_eigenvectors_do_not_under_or_overflow(scale):
    # The squares of energies would be 1e-64 and 1e64, which float32 does not have, and the sign would be lost.
    for seed in range(5):
        A, _ = evidence(SHAPES[0], signed=True, seed=seed)
        A[:, 1] = 0
        found = explained("eigencam", {}, torch.tensor(A * scale).float(), None)
        assert error(found / scale, twins("eigencam", {}, A, A)) < 1e-4  # singular values lie nearer than elsewhere


def test_one_cell_is_its_own_direction():
    A = -np.ones((1, 4, 1, 1))
    np.testing.assert_allclose(explained("eigencam", {}, A, None), [[[2.0]]])


# FEM


def test_fem_marks_a_constant_channel_everywhere_whatever_rounding_says():
    A = np.full((1, 1, 7, 7), 0.1)  # its mean is not 0.1 in binary
    np.testing.assert_allclose(explained("fem", {}, A, None), A[0], rtol=1e-12)


# Deep feature factorisation


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", [0, 4, 7])  # least squares alone end above multiplicative updates from 4 and 7
def test_factors_have_no_flaws(shape, seed):
    A, _ = evidence(shape, signed=True, seed=seed)
    (start_maps, start_concepts), (maps, concepts) = factorise(A, 3, seed, steps=0), factorise(A, 3, seed)
    assert maps.shape == (shape[0], 3, *shape[2:])
    for i, a in enumerate(A):
        X = np.maximum(activation.cells_by_channels(a), 0)
        P, start = maps[i].reshape(3, -1).T, start_maps[i].reshape(3, -1).T
        assert activation.dff_flaws(X, P, concepts[i], (start, start_concepts[i]), iterations=50) == []


def test_factors_find_again_parts_that_share_nothing():
    P, Q = np.zeros((2, 20)), np.zeros((2, 8))
    P[0, :9], P[1, 9:] = 3, np.linspace(1, 2, 11)
    Q[0, :3], Q[1, 3:] = 3**-0.5, 5**-0.5
    maps, concepts = factorise((Q.T @ P).reshape(1, 8, 5, 4), 2)
    np.testing.assert_allclose(maps[0].reshape(2, 20), P, atol=1e-12)
    np.testing.assert_allclose(concepts[0], Q, atol=1e-12)


def test_concepts_have_length_one_and_the_largest_map_is_first():
    maps, concepts = factorise(evidence(SHAPES[0])[0], 3)
    np.testing.assert_allclose(np.linalg.norm(concepts, axis=2), 1, rtol=1e-12)
    masses = maps.sum((2, 3))
    assert (masses[:, :-1] >= masses[:, 1:]).all()


def test_factors_do_not_depend_on_batch_mates_and_agree_between_libraries():
    jax = require("jax")
    A, G = evidence(SHAPES[0])
    few = {"components": 2, "steps": 3}
    wanted = explained("dff", few, A, G)
    assert error(explained("dff", few, A[1:2], G[1:2])[0], wanted[1]) < 1e-12
    assert error(explained("dff", few, torch.tensor(A), torch.tensor(G)), wanted) < 1e-12
    with jax.enable_x64(True):
        assert error(explained("dff", few, jax.numpy.asarray(A), jax.numpy.asarray(G)), wanted) < 1e-12


def test_dff_gives_the_component_that_adds_most_to_the_score():
    A, G = evidence(SHAPES[0])
    maps, concepts = factorise(A)
    parts = contributions(maps, concepts, G)
    wanted = np.einsum("nkij,nrk,nrij->nr", G, concepts, maps)
    np.testing.assert_allclose(parts, wanted, rtol=1e-12)
    found = explained("dff", {}, A, G)
    for i in range(len(A)):
        np.testing.assert_array_equal(found[i], maps[i, wanted[i].argmax()])
    np.testing.assert_array_equal(explained("dff", {"component": 2}, A, G), maps[:, 2])


def test_contributions_add_up_to_the_score_of_pooling_and_a_linear_head():
    A, _ = evidence(SHAPES[0])
    maps, concepts = factorise(A, 3)
    W = np.random.default_rng(1).normal(size=(5, A.shape[1]))
    approximated = np.einsum("nrk,nrij->nkij", concepts, maps)
    G = np.stack([linear.gradient(a, W, 2) for a in approximated])
    scores = [linear.logits(a, W, np.zeros(5))[2] for a in approximated]
    np.testing.assert_allclose(contributions(maps, concepts, G).sum(1), scores, rtol=1e-12)


def test_concepts_speak_for_classes():
    _, concepts = factorise(evidence(SHAPES[0])[0], 3)
    W, b = np.random.default_rng(1).normal(size=(5, 8)), np.arange(5.0)
    wanted = np.stack([linear.concept_scores(Q, W, b) for Q in concepts])
    np.testing.assert_allclose(concept_scores(concepts, W, b), wanted, rtol=1e-12)
    np.testing.assert_allclose(concept_scores(concepts, W), wanted - b, atol=1e-12)


def test_factors_of_nothing_are_zeros_and_of_nan_are_nan():
    A, G = map(torch.tensor, evidence(SHAPES[0]))
    A[0], A[1, 0, 0, 0] = 0, torch.nan
    found = explained("dff", {}, A, G)
    assert not found[0].any()
    assert found[1].isnan().all()
    assert found[2].isfinite().all()


def test_components_that_cannot_be_are_refused():
    A, G = evidence(SHAPES[0])
    with pytest.raises(RequestError, match="no component 4 of 4; the first is 0"):
        explained("dff", {"component": 4}, A, G)
    with pytest.raises(RequestError, match="at least 1 component, not 0"):
        explained("dff", {"components": 0}, A, G)


def test_dff_in_half_precision():
    A, G = (torch.tensor(array).bfloat16() for array in evidence(SHAPES[0]))
    found = explained("dff", {}, A, G)
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()


# Controls


@pytest.mark.parametrize("grid", [(5, 4), (2, 3, 4)], ids=str)
def test_controls_equal_their_twins(grid):
    A = torch.zeros(2, 6, *grid, dtype=torch.float64)
    for name, options in [("random", {"seed": 3}), ("uniform", {}), ("center", {}), ("center", {"sigma": 0.5})]:
        seed = options.get("seed", 0)
        asked = {key: value for key, value in options.items() if key != "seed"}
        found = methods.find(name).function(Capture(A, seed=seed), **asked)
        wanted = twin_of(name)(grid, **options)
        np.testing.assert_allclose(found, np.stack([wanted, wanted]), rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (2, 1, 9, 7), (2, 4, 9, 7), (1, 3, 4, 5, 6)], ids=str)
def test_sobel_equals_its_twin(shape):
    x = np.random.default_rng(0).normal(size=shape)
    found = methods.find("sobel").function(Capture(None, images=x))
    np.testing.assert_allclose(found, np.stack([controls.sobel(one) for one in x]), rtol=1e-12)


def test_sobel_of_one_brightness_is_zero_at_the_border_too():
    assert not methods.find("sobel").function(Capture(None, images=np.full((1, 3, 6, 5), 0.5))).any()


def test_noise_follows_the_seed_alone():
    A = torch.zeros(3, 6, 5, 4)
    noise = methods.find("random").function
    assert torch.equal(noise(Capture(A, seed=1))[2], noise(Capture(A[:1], seed=1))[0])
    assert not torch.equal(noise(Capture(A, seed=1)), noise(Capture(A, seed=2)))


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_on_jax_and_in_half_precision(name):
    jax = require("jax")
    A, x = np.zeros((2, 6, 5, 4), np.float32), np.random.default_rng(0).random((2, 3, 8, 6), np.float32)
    control = methods.find(name).function
    wanted = control(Capture(A, images=x))
    of_jax = control(Capture(jax.numpy.asarray(A), images=jax.numpy.asarray(x)))
    np.testing.assert_allclose(of_jax, wanted, rtol=1e-6)
    half = control(Capture(torch.tensor(A).bfloat16(), images=torch.tensor(x).bfloat16()))
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()


# From a model


@pytest.mark.parametrize("name", [*FORMULAS, "dff", "random", "center", "sobel"])
def test_a_model_is_explained(small_net, images, name):
    heatmap = camzoo.explain(small_net, images, name, layer="last_act", target=1, stage="raw")
    of_image = methods.find(name).resolution is Resolution.IMAGE
    assert heatmap.values.shape == ((3, 24, 32) if of_image else (3, 6, 8))
    assert heatmap.values.isfinite().all()
