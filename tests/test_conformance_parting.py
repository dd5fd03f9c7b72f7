"""Wrong implementations are caught, and the step at which they go wrong is named."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import replace

import mutants
import numpy as np
import pytest
import torch
from mutants import Mutant

from camzoo.conformance import hypotheses, parting, reference, stands
from camzoo.conformance.evidence import Literal
from camzoo.conformance.hypotheses import Batch, Step, early, endings, formulas
from camzoo.conformance.hypotheses.fits import away
from camzoo.conformance.parting import part
from camzoo.conformance.stands import POOLED, SMOOTH, STANDS, STRAIGHT, Stand
from camzoo.conformance.subjects import Subject
from camzoo.types import Resolution, Stage

SEVEN = ("gradcam", "gradcam++", "layercam", "xgradcam", "scorecam", "eigencam", "ablationcam")
GRIDS = [stand for stand in STANDS if stand is not stands.TRANSFORMER]  # mutants read (N, K, h, w)
TOLERANCE = 1e-10

RIGHT = [mutant for mutant in mutants.ALL if mutant.step is None]
WRONG = [mutant for mutant in mutants.ALL if mutant.step is not None]


def name(mutant: Mutant) -> str:
    return mutant.name


@functools.cache
def raw(method: str, stand: Stand) -> list[np.ndarray]:
    problem = stand.problem()
    return [reference.raw(method, Literal(problem, index)) for index in range(len(problem.images))]


def error(mutant: Mutant, stand: Stand) -> float:
    """How far a mutant is from the reference at a stand."""
    problem = stand.problem()
    wanted = [
        reference.staged(m, mutant.stage, mutant.resolution, problem.image_size) for m in raw(mutant.method, stand)
    ]
    return away(mutant.numbers(problem), wanted)


# ---- the mutants


@pytest.mark.parametrize("mutant", RIGHT, ids=name)
def test_right_implementations_agree_everywhere(mutant):
    assert max(error(mutant, stand) for stand in GRIDS) <= TOLERANCE


@pytest.mark.parametrize("mutant", WRONG, ids=name)
def test_wrong_implementations_are_caught_and_their_step_is_named(mutant):
    shown = [mutant.numbers(stand.problem()) for stand in GRIDS]
    assert max(error(mutant, stand) for stand in GRIDS) > TOLERANCE
    found = part(mutant.subject(), GRIDS, shown)
    assert found.stage == mutant.step, found.reason
    assert "no mistake" not in found.reason
    assert "does not explain" not in found.reason
    assert "with the weights" not in found.reason  # a name, not numbers that fit
    assert found.size > 0


def test_there_are_enough_of_them():
    assert {mutant.method for mutant in RIGHT} == set(SEVEN)
    assert min(Counter(mutant.method for mutant in WRONG)[method] for method in SEVEN) >= 8
    assert {mutant.step for mutant in WRONG} == set(Step)


ONLY_IN_A_BATCH = (
    *("means_over_the_batch", "of_the_mean_score", "of_everyones_classes", "scaled_with_the_batch"),
    *("plus_plus_of_the_mean_score", "layercam_scaled_with_the_batch", "divided_by_the_batch"),
    *("scorecam_scaled_with_the_batch", "vector_of_the_batch", "divided_by_the_mean_score"),
)


@pytest.mark.parametrize("mutant", [m for m in WRONG if m.explain.__name__ in ONLY_IN_A_BATCH], ids=name)
def test_some_of_them_are_right_for_one_image(mutant):
    alone = replace(SMOOTH, classes=SMOOTH.classes[:1])
    assert error(mutant, alone) <= TOLERANCE


# ---- what the hypotheses are made from


@pytest.mark.parametrize("method", formulas.RIGHT)
def test_right_weights_give_the_reference(method):
    for stand in STANDS:
        batch = Batch.of(method, stand.problem())
        assert away(formulas.raw(batch), batch.raw) <= TOLERANCE


@pytest.mark.parametrize("resolution", Resolution)
@pytest.mark.parametrize("stage", Stage)
def test_right_endings_give_the_reference(stage, resolution):
    maps = np.random.default_rng(0).normal(size=(3, 4, 5))
    wanted = [reference.staged(one, stage, resolution, (9, 12)) for one in maps]
    assert away(endings.right(stage, resolution)(maps, (9, 12)), wanted) <= 1e-14


@pytest.mark.parametrize("resolution", Resolution)
@pytest.mark.parametrize("stage", Stage)
def test_every_wrong_ending_changes_something(stage, resolution):
    maps = np.random.default_rng(0).normal(size=(3, 4, 5))
    maps[2] += 5  # nowhere negative, so that its minimum counts
    good = endings.right(stage, resolution)
    for late in endings.wrong(stage, resolution):
        assert away(late.changed(good)(maps, (9, 12)), good(maps, (9, 12))) > 1e-13, late.reason


def test_every_guess_is_another_map_for_some_method():
    apart: dict[str, float] = {}
    for batch in [Batch.of(method, STRAIGHT.problem()) for method in SEVEN]:
        with np.errstate(all="ignore"):
            for guess in early(batch):
                if "the output of" not in guess.reason:  # a layer with another grid gives no map
                    apart[guess.reason] = max(apart.get(guess.reason, 0), away(guess.raw(batch), batch.raw))
    same = [reason for reason, distance in apart.items() if distance <= 1e-13]
    assert len(apart) > 150
    assert same == [reason for reason in apart if "constant channels" in reason]  # no stand has any


def test_guesses_run_from_late_to_early():
    order = list(Step)
    steps = [order.index(guess.step) for guess in early(Batch.of("gradcam", POOLED.problem()))]
    assert steps == sorted(steps, reverse=True)
    late = [order.index(one.step) for one in endings.wrong(Stage.NORMALISED, Resolution.IMAGE)]
    assert late == sorted(late, reverse=True)


# ---- what has no name


def asked(method: str, stage: Stage, change, stand: Stand = SMOOTH, resolution: Resolution = Resolution.LAYER):
    """What is said of the reference's RAW maps after a change."""
    shown = change(Batch.of(method, stand.problem()))
    subject = Subject(method, "someone", stage, resolution, lambda _problem: shown)
    return part(subject, [stand], [shown])


def test_a_factor_is_found():
    found = asked("gradcam", Stage.RAW, lambda b: 3.5 * b.raw)
    assert found.stage is Step.WEIGHTS
    assert "3.5 times" in found.reason
    assert found.size == pytest.approx(2.5)


def test_a_factor_of_each_image_is_found():
    found = asked("layercam", Stage.RECTIFIED, lambda b: np.array([[[2.0]], [[0.25]]]) * np.maximum(b.raw, 0))
    assert found.stage is Step.WEIGHTS
    assert "2, 0.25" in found.reason


def test_an_offset_is_found():
    found = asked("gradcam", Stage.RAW, lambda b: 2 * b.raw + 7)
    assert found.stage is Step.NORMALISE
    assert "2, 2 times the right one plus 7, 7" in found.reason


def test_another_score_is_found():
    factors = np.array([1.0, 0.0, -2.0, 0.0, 0.5])

    def mixed(b: Batch) -> np.ndarray:
        each = [image.at(b.problem.layer, lambda y: (y[0] * torch.tensor(factors)).sum())[1] for image in b.images]
        return np.stack([(G.mean((1, 2), keepdims=True) * A).sum(0) for G, A in zip(each, b.A, strict=True)])

    found = asked("gradcam", Stage.RAW, mixed)
    assert found.stage is Step.GRADIENT
    assert "1, " in found.reason
    assert ", -2, " in found.reason


@pytest.mark.parametrize("stage", Stage)
def test_other_weights_are_found(stage):
    weights = np.linspace(-0.5, 1, 7)
    ending = endings.right(stage, Resolution.LAYER)
    found = asked("gradcam", stage, lambda b: ending(np.einsum("k,nkhw->nhw", weights, b.A), b.problem.image_size))
    assert found.stage is Step.WEIGHTS
    assert "sum of the channels with the weights" in found.reason
    if stage is not Stage.NORMALISED:
        assert "-0.5, -0.25, " in found.reason


def test_two_mistakes_after_the_map_are_found():
    found = asked("gradcam", Stage.NORMALISED, lambda b: endings.minmax(b.raw, epsilon=1e-7))
    assert found.stage is Step.RECTIFY
    assert "no ReLU" in found.reason
    assert "1e-07" in found.reason


def test_what_cannot_be_explained_is_said():
    noise = np.random.default_rng(3)
    found = asked("gradcam", Stage.RAW, lambda b: noise.normal(size=b.raw.shape))
    assert found.stage is Step.ACTIVATION
    assert "no mistake that is known" in found.reason


def test_an_almost_right_explanation_is_none():
    """A ten-thousandth of noise on top of a known mistake."""
    noise = np.random.default_rng(3)
    found = asked("gradcam", Stage.RECTIFIED, lambda b: b.raw * (1 + 1e-4 * noise.normal(size=b.raw.shape)))
    assert "no mistake that is known" in found.reason


def test_a_mistake_at_one_stand_only_is_named_as_such():
    smooth, pooled = (Batch.of("gradcam", stand.problem()).raw for stand in (SMOOTH, POOLED))
    noise = 1e-6 * np.random.default_rng(3).normal(size=pooled.shape)
    shown = [np.maximum(pooled, 0) + noise, np.abs(smooth)]
    subject = Subject("gradcam", "someone", Stage.RECTIFIED, Resolution.LAYER, lambda _problem: smooth)
    found = part(subject, (POOLED, SMOOTH), shown)
    assert found.stage is Step.RECTIFY
    assert "does not explain every problem" in found.reason


def test_maps_that_are_not_finite_are_refused():
    found = asked("gradcam", Stage.RAW, lambda b: b.raw * np.nan)
    assert found.stage is Step.ACTIVATION
    assert "not finite" in found.reason


def test_maps_on_another_grid_are_refused():
    found = asked("gradcam", Stage.RAW, lambda b: np.swapaxes(b.raw, 1, 2))
    assert found.stage is Step.RESIZE
    assert "(2, 8, 6), not (2, 6, 8)" in found.reason


@pytest.mark.parametrize("method", ["kpcacam", "shapleycam", "segeigencam", "sscam"])
def test_methods_without_known_weights_are_looked_at_too(method):
    assert asked(method, Stage.RECTIFIED, lambda b: b.raw, STRAIGHT).stage is Step.RECTIFY
    assert asked(method, Stage.RAW, lambda b: b.raw[..., ::-1], STRAIGHT).stage is Step.SUM


def test_the_wrong_tensor_is_found_whatever_the_method():
    found = asked("fem", Stage.RAW, lambda b: Batch.of("fem", replace(b.problem, layer="conv")).raw, POOLED)
    assert found.stage is Step.ACTIVATION
    assert found.reason == "the formula is over the output of conv, not of act"


def test_tokens_are_looked_at_too():
    """The layers beside it have no grid, or give no tensor."""
    found = asked("gradcam", Stage.RECTIFIED, lambda b: b.raw, stands.TRANSFORMER)
    assert (found.stage, found.reason) == (Step.RECTIFY, "there is no ReLU: the map is signed")


def test_precision_is_that_of_the_dtype():
    problem = SMOOTH.problem(torch.float32)
    shown = mutants.forgotten_relu(problem.model, problem.layer_module, problem.images, list(problem.classes))
    subject = Subject("gradcam", "someone", Stage.RECTIFIED, Resolution.LAYER, lambda _problem: shown)
    maps = shown.detach().double().numpy()
    assert part(subject, [SMOOTH], [maps], 1e-5).stage is Step.RECTIFY
    assert part(subject, [SMOOTH], [maps], 1e-10).stage is Step.ACTIVATION


def test_the_evidence_is_as_it_was():
    batch = Batch.of("gradcam", STRAIGHT.problem())
    before = batch.A.copy(), batch.G.copy(), batch.raw.copy()
    with np.errstate(all="ignore"):
        for guess in early(batch):
            guess.raw(batch) if guess.step is not Step.ACTIVATION else None
    assert all(np.array_equal(a, b) for a, b in zip(before, (batch.A, batch.G, batch.raw), strict=True))


def test_methods_whose_sign_is_open_have_a_formula():
    assert set(reference.METHODS) >= parting.SIGNLESS
    assert set(hypotheses.WRONG) <= set(formulas.RIGHT)
