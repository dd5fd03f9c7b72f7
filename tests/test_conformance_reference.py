"""The reference against camzoo's own methods, and shown to notice plausible mistakes."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import seeded

from camzoo import layers, methods, native, problems
from camzoo.conformance import closed_forms, evidence, inner, reference, stands, subjects
from camzoo.conformance.evidence import Literal
from camzoo.conformance.reference import NoReference, raw, staged
from camzoo.errors import NotOffered
from camzoo.oracles import activation, gradient, input, scores, transformer
from camzoo.oracles.grids import normalise, rectify, resize
from camzoo.types import Heatmap, Resolution, Stage

NAMES = [method.name for method in methods.TABLE]
BY_STAND = {stand.name: stand for stand in stands.STANDS}
TOLERANCE = 1e-10

# Everything else suits every stand.
ONLY_AT = {
    "cam": {"pooled"},
    "attention-rollout": {"transformer"},
    "legrad": {"transformer"},
    "guided-backprop": BY_STAND.keys() - {"straight", "transformer"},
    "guided-gradcam": BY_STAND.keys() - {"straight", "transformer"},
}


@cache
def problem(stand: str):
    return BY_STAND[stand].problem()


def literals(stand: str) -> list[Literal]:
    return [Literal(problem(stand), index) for index in range(len(problem(stand).images))]


def own(method: str, stand: str, options=None) -> np.ndarray:
    """What camzoo's own method gives for all images at once."""
    return subjects.of_backend(native.backend, method, options).maps(problem(stand)).numpy()


def away(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference over the largest value wanted."""
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


# ---- camzoo's own methods


def test_there_is_a_reference_for_every_method_and_no_other():
    assert set(reference.METHODS) == set(NAMES)


@pytest.mark.parametrize("stand", BY_STAND)
@pytest.mark.parametrize("method", NAMES)
def test_every_row_of_a_batch_is_what_the_reference_gives_for_that_image(method, stand):
    options = reference.options(method)
    if stand not in ONLY_AT.get(method, BY_STAND):
        with pytest.raises(NoReference):
            raw(method, literals(stand)[0], options)
        with pytest.raises(NotOffered):
            own(method, stand, options)
        return
    found = own(method, stand, options)
    wanted = [raw(method, one, options) for one in literals(stand)]
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert away(ours, theirs) <= TOLERANCE


# Every option of every method, away from its default, at a stand where it matters.
OPTIONS = [
    ("gradcam++", "rectified", {"alpha": "authors"}),
    ("eigengradcam", "rectified", {"centred": True}),
    ("segeigencam", "rectified", {"centred": False}),
    ("dff", "rectified", {"components": 3, "steps": 5}),
    ("dff", "rectified", {"component": 1}),
    ("eigencam", "rectified", {"centred": True}),
    ("kpcacam", "rectified", {"kernel": "rbf", "gamma": 0.01}),
    ("kpcacam", "rectified", {"kernel": "poly", "coef0": 0.5, "degree": 2}),
    ("fem", "rectified", {"k_sigma": 1.0}),
    ("center", "rectified", {"sigma": 0.5}),
    ("scorecam", "rectified", {"top_channels": 3}),
    ("scorecam", "rectified", {"weights": "score"}),
    ("sscam", "rectified", {"samples": 2, "std": 0.5, "top_channels": 4}),
    ("iscam", "rectified", {"samples": 3, "strength": "cumulative", "top_channels": 4}),
    ("groupcam", "rectified", {"groups": 3}),
    ("occlusion", "pooled", {"window": 5, "stride": 3, "baseline": 0.5}),
    ("rise", "pooled", {"masks": 5, "cells": 3, "keep": 0.3}),
    ("ablationcam", "pooled", {"closed_form": False}),
    ("smoothgradcam++", "rectified", {"samples": 2, "std": 0.1}),
    ("smoothgrad", "rectified", {"base": "layercam", "samples": 2, "std": 0.3}),
    ("augmented", "rectified", {"base": "xgradcam"}),
    ("finercam", "rectified", {"alpha": 1.0, "similar": 2, "weights": "softmax", "base": "hirescam"}),
    ("finercam", "rectified", {"references": [3, 1, 0]}),
    ("refinecam", "rectified", {"base": "layercam", "layers": ["stem", "last"]}),
    ("fusion", "rectified", {"base": "layercam", "how": "layercam", "layers": ["stem", "last", "last_act"]}),
    ("fusion", "rectified", {"how": "max"}),
    ("fullgrad", "rectified", {"rescale": "layer"}),
]


@pytest.mark.parametrize(("method", "stand", "options"), OPTIONS)
def test_options_mean_what_they_mean_to_camzoo(method, stand, options):
    found = own(method, stand, options)[0]
    assert away(found, raw(method, literals(stand)[0], options)) <= TOLERANCE


@pytest.mark.parametrize(("method", "stand", "options"), [case for case in OPTIONS if case[0] != "ablationcam"])
def test_an_option_changes_the_reference(method, stand, options):
    changed = raw(method, literals(stand)[0], options)
    assert away(changed, raw(method, literals(stand)[0], reference.options(method))) > 1e-3


def test_no_option_of_camzoo_has_been_left_out():
    tried = {
        method.name: {name for who, _, chosen in OPTIONS if who == method.name for name in chosen}
        for method in methods.TABLE
    }
    assert tried == {method.name: set(method.options) for method in methods.TABLE}


def test_the_check_takes_fewer_samples_by_options_that_the_method_has():
    for method in methods.TABLE:
        defaults = inspect.signature(method.function).parameters
        for name, value in reference.options(method.name).items():
            assert value < defaults[name].default


def test_an_unknown_method_is_named():
    with pytest.raises(NoReference, match="there is no reference for gradcamm"):
        raw("gradcamm", literals("pooled")[0])


# ---- the reference notices


def _attention_of_the_last_block(e: Literal) -> np.ndarray:
    return transformer.on_grid(inner.attention(e)[-1].mean(0)[0].numpy(), 1, (4, 4))


def _signed_legrad(e: Literal) -> np.ndarray:
    gradients = np.array(inner.attention_gradients(e))
    return transformer.on_grid(gradients.mean(axis=(0, 1, 2)), 1, (4, 4))


def _mean_for_zero(e: Literal) -> np.ndarray:
    """Ablation-CAM with a channel's mean in the place of zero."""
    A = e.A
    drops = []
    for k in range(len(A)):
        without = A.copy()
        without[k] = A[k].mean()
        drops.append((e.tail(A) - e.tail(without)) / abs(e.tail(A)))
    return gradient.weighted_sum(np.array(drops), A)


def _other_class(e: Literal) -> Literal:
    return Literal(replace(e.problem, classes=tuple((c + 1) % 5 for c in e.problem.classes)), e.index)


# A plausible mistake for each method, and a stand at which it shows.
LIARS = {
    "gradcam": ("pooled", lambda e: gradient.weighted_sum(e.G.sum((1, 2)), e.A)),
    "counterfactual-gradcam": ("pooled", lambda e: gradient.gradcam(e.A, e.G)),
    "gradcam++": ("rectified", lambda e: gradient.gradcam_plus_plus(e.A, np.abs(e.G))),
    "hirescam": ("rectified", lambda e: gradient.gradcam(e.A, e.G)),
    "gradcam-elementwise": ("rectified", lambda e: gradient.hirescam(e.A, e.G)),
    "xgradcam": ("rectified", lambda e: gradient.gradcam(e.A, e.G)),
    "layercam": ("rectified", lambda e: gradient.hirescam(e.A, e.G)),
    "eigengradcam": ("rectified", lambda e: gradient.eigengradcam(e.A, np.abs(e.G))),
    "segeigencam": ("rectified", lambda e: gradient.eigengradcam(e.A, e.G, centred=True)),
    "dff": ("rectified", lambda e: raw("dff", e, {"component": 0})),
    "eigencam": ("rectified", lambda e: -activation.eigencam(e.A)),
    "kpcacam": ("rectified", lambda e: activation.eigencam(e.A, centred=True)),
    "fem": ("rectified", lambda e: gradient.weighted_sum((2 * e.A.std((1, 2), keepdims=True) < e.A).mean((1, 2)), e.A)),
    "random": ("pooled", lambda e: raw("random", Literal(replace(e.problem, seed=1), e.index))),
    "uniform": ("pooled", lambda e: np.full(e.A.shape[1:], 1 / e.A[0].size)),
    "center": ("pooled", lambda e: raw("center", e) ** 2),
    "sobel": ("pooled", lambda e: raw("sobel", e) ** 2),
    "cam": ("pooled", lambda e: raw("cam", _other_class(e))),
    "scorecam": ("rectified", lambda e: scores.scorecam(e.A, e.x, e.probability)),
    "sscam": ("rectified", lambda e: raw("scorecam", e)),
    "iscam": ("rectified", lambda e: raw("scorecam", e)),
    "groupcam": ("rectified", lambda e: scores.groupcam(e.A, e.G, e.x, e.score, blurred=np.zeros_like(e.x))),
    "occlusion": ("pooled", lambda e: -raw("occlusion", e)),
    "rise": ("pooled", lambda e: raw("rise", e, {"masks": 16}) / 2),
    "ablationcam": ("rectified", _mean_for_zero),
    "shapleycam": ("smooth", lambda e: gradient.gradcam(e.A, e.G)),
    "smoothgradcam++": ("rectified", lambda e: gradient.gradcam_plus_plus(e.A, e.G)),
    "smoothgrad": ("rectified", lambda e: gradient.gradcam(e.A, e.G)),
    "augmented": ("rectified", lambda e: gradient.gradcam(e.A, e.G)),
    "finercam": ("rectified", lambda e: gradient.gradcam(e.A, e.G)),
    "refinecam": ("rectified", lambda e: raw("fusion", e, {"base": "gradcam++"})),
    "fusion": ("rectified", lambda e: resize(normalise(rectify(gradient.gradcam(e.A, e.G))), e.size)),
    "attention-rollout": ("transformer", _attention_of_the_last_block),
    "legrad": ("transformer", _signed_legrad),
    "guided-backprop": ("rectified", lambda e: e.input_gradient.sum(0)),
    "guided-gradcam": ("rectified", lambda e: inner.guided(e).sum(0) * resize(gradient.gradcam(e.A, e.G), e.size)),
    "fullgrad": ("rectified", lambda e: input.fullgrad(e.x, e.input_gradient, [])),
}


@pytest.mark.parametrize("method", NAMES)
def test_a_plausible_mistake_is_noticed(method):
    stand, liar = LIARS[method]
    ours = own(method, stand, reference.options(method))
    assert max(away(liar(one), found) for one, found in zip(literals(stand), ours, strict=True)) > 1e-3


NO_IMAGE = {"random", "uniform", "center"}
NO_CLASS = NO_IMAGE | {"eigencam", "kpcacam", "fem", "sobel", "attention-rollout"}
STAND_OF = {"cam": "pooled", "attention-rollout": "transformer", "legrad": "transformer"}


@pytest.mark.parametrize("method", NAMES)
def test_the_reference_is_of_this_image_and_of_this_class(method):
    one, other = literals(STAND_OF.get(method, "rectified"))[:2]
    options = reference.options(method)
    mine = raw(method, one, options)
    same_class = Literal(replace(other.problem, classes=(one.c,) * len(other.problem.images)), other.index)
    assert (away(mine, raw(method, same_class, options)) > 1e-3) == (method not in NO_IMAGE)
    assert (away(mine, raw(method, _other_class(one), options)) > 1e-3) == (method not in NO_CLASS)


# ---- stages


def test_stages_are_those_of_a_heatmap():
    A = literals("rectified")[0].A[:1] - 1
    heatmap = Heatmap(A, Stage.RAW, Resolution.LAYER, (24, 32), "any", "any")
    for stage in Stage:
        found = staged(A[0], stage, Resolution.LAYER, (24, 32))
        np.testing.assert_allclose(found, heatmap.at(stage).values[0], atol=1e-15)
        enlarged = staged(A[0], stage, Resolution.IMAGE, (24, 32))
        assert enlarged.shape == (24, 32)
        if stage is not Stage.NORMALISED:
            np.testing.assert_allclose(enlarged, heatmap.at(stage).resize()[0], atol=1e-12)


def test_an_enlarged_map_is_normalised_again():
    values = np.array([[-1.0, 2.0], [1.0, 4.0]])
    once = resize(normalise(rectify(values)), (3, 3))
    assert 0.5 < staged(values, Stage.RECTIFIED, Resolution.IMAGE, (3, 3)).max() / 4 <= 1
    found = staged(values, Stage.NORMALISED, Resolution.IMAGE, (5, 5))
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_allclose(staged(values, Stage.NORMALISED, Resolution.IMAGE, (3, 3)), normalise(once))


def test_a_map_of_the_image_is_not_resized():
    values = np.array([[-1.0, 2.0], [1.0, 4.0]])
    np.testing.assert_array_equal(staged(values, Stage.RAW, Resolution.IMAGE, (2, 2)), values)
    np.testing.assert_array_equal(staged(values, Stage.RECTIFIED, Resolution.IMAGE, (2, 2)), [[0, 2], [1, 4]])


# ---- what the reference rests on


def test_nothing_of_what_is_checked_is_used_by_the_reference():
    allowed = {"camzoo.noise", "camzoo.errors", "camzoo.types", "camzoo.conformance", "camzoo.oracles"}
    for module in (reference, inner, closed_forms, evidence):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module != "camzoo" else []
            names += [f"camzoo.{name.name}" for name in node.names] if getattr(node, "module", "") == "camzoo" else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            own_names = [name for name in names if name.startswith("camzoo")]
            assert {".".join(name.split(".")[:2]) for name in own_names} <= allowed, module


@pytest.mark.parametrize("stand", BY_STAND)
def test_the_layers_that_are_fused(stand):
    posed = problem(stand)
    assert tuple(reference.stages(literals(stand)[0])) == layers.stages(posed.model, posed.images, posed.layer)


@pytest.mark.parametrize("build", [torchvision.models.resnet50, torchvision.models.efficientnet_b0])
def test_the_layers_that_are_fused_of_a_net_whose_blocks_shrink_the_grid_in_their_middle(build):
    posed = problems.pose(seeded(build), torch.zeros(1, 3, 64, 96), target=0)
    assert tuple(reference.stages(Literal(posed, 0))) == layers.stages(posed.model, posed.images, posed.layer)


def test_the_layers_that_are_fused_are_the_last_of_each_size():
    assert reference.stages(literals("rectified")[0]) == ["act", "last_act"]
    assert reference.stages(literals("pooled")[0]) == ["act"]
