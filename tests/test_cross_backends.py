"""The same method from several libraries: equal numbers at the same stage, on real and random networks."""

from __future__ import annotations

import pytest
import torch
import torchvision
from conftest import require, seeded

import camzoo
from camzoo import capture, grids, problems

# Added to the largest value by the min-max of pytorch-grad-cam.
PYTORCH_GRAD_CAM_EPSILON = 1e-7
LAYERS = {"efficientnet-lite0": "bn2", "resnet18": "layer4", "vgg16": "features.29"}
PRECISION = {torch.float32: 1e-6, torch.float64: 1e-12}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow) for name in LAYERS])
def case(request, lite0, chelsea):
    """A model, its last grid, and an image: the cat for the trained network, noise for the random ones."""
    if request.param == "efficientnet-lite0":
        return lite0.module, LAYERS[request.param], chelsea
    model = seeded(lambda: torchvision.models.get_model(request.param, weights=None))
    return model, LAYERS[request.param], torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=PRECISION, ids=str)
def posed(request, case):
    model, layer, images = case
    dtype = request.param
    before = next(model.parameters()).dtype
    yield model.to(dtype), layer, images.to(dtype), PRECISION[dtype]
    model.to(before)


def difference(found, wanted) -> float:
    """The largest absolute difference over the largest absolute value."""
    return float((found.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def test_gradcam_is_captums_before_any_step_after_the_formula(posed):
    require("captum")
    model, layer, images, precision = posed
    ours = camzoo.explain(model, images, "gradcam", layer=layer, stage="raw")
    theirs = camzoo.explain(model, images, "gradcam@captum", layer=layer, stage="raw")
    assert difference(theirs.values, ours.values) < precision


def test_gradcam_is_torchcams_once_rectified(posed):
    require("torchcam")
    model, layer, images, precision = posed
    ours = camzoo.explain(model, images, "gradcam", layer=layer, stage="rectified")
    theirs = camzoo.explain(model, images, "gradcam@torchcam", layer=layer, stage="rectified")
    assert difference(theirs.values, ours.values) < precision


def test_gradcam_is_pytorch_grad_cams_once_normalised_and_enlarged(posed):
    """The library divides by its range plus 1e-7 twice, and computes in float32 once the gradients are there."""
    require("pytorch_grad_cam")
    model, layer, images, _ = posed
    rectified = camzoo.explain(model, images, "gradcam", layer=layer, stage="rectified")
    theirs = camzoo.explain(model, images, "gradcam@pytorch-grad-cam", layer=layer)
    ours = grids.normalise(rectified.at("normalised").resize())
    spread = float(rectified.values.max() - rectified.values.min())
    # Twice the epsilon over the range, and some roundings of float32 in the resizing and scaling.
    allowed = 2 * PYTORCH_GRAD_CAM_EPSILON / spread + 2e-6
    assert float((grids.normalise(theirs.values).double() - ours.double()).abs().max()) < allowed


def test_hirescam_is_captums(posed):
    require("captum")
    model, layer, images, precision = posed
    ours = camzoo.explain(model, images, "hirescam", layer=layer, stage="raw")
    theirs = camzoo.explain(model, images, "hirescam@captum", layer=layer, stage="raw")
    assert difference(theirs.values, ours.values) < precision


def test_layercam_is_torchcams(posed):
    require("torchcam")
    model, layer, images, precision = posed
    ours = camzoo.explain(model, images, "layercam", layer=layer, stage="rectified")
    theirs = camzoo.explain(model, images, "layercam@torchcam", layer=layer, stage="rectified")
    assert difference(theirs.values, ours.values) < precision


def test_xgradcam_is_torchcams_but_for_its_epsilon(posed):
    """The library adds 1e-8 to the sum of a channel's activations; with that the numbers are the same."""
    require("torchcam")
    model, layer, images, precision = posed
    problem = problems.pose(model, images, layer)
    (taken,), _ = capture.take(model, layer, images, [problem.target])
    A, G = taken.activations, taken.gradients
    weights = (G * A).sum((2, 3)) / (A.sum((2, 3)) + 1e-8)
    wanted = (weights[..., None, None] * A).sum(1).clamp(min=0)
    theirs = camzoo.explain(model, images, "xgradcam@torchcam", layer=layer, stage="rectified")
    assert difference(theirs.values, wanted) < 10 * precision
