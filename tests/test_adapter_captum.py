"""captum as a backend: all of it, one map for each image and its own class, nothing left behind, nothing silent."""

from __future__ import annotations

import subprocess
import sys
import warnings
from types import ModuleType

import pytest
import torch
import torchvision
from camzoo_adapters.captum import backend
from conftest import require, seeded
from torch import nn

from camzoo import backends, guard, problems
from camzoo.errors import Failed, NotOffered
from camzoo.types import Heatmap, Resolution, Stage

# Classes of captum.attr that give no map for one image's score, with the reason.
EXCLUDED = {
    **dict.fromkeys(
        (
            "Attribution",
            "GradientAttribution",
            "LayerAttribution",
            "NeuronAttribution",
            "PerturbationAttribution",
        ),
        "a base class",
    ),
    "LimeBase": "its functions are left to the user; Lime is the one that has them",
    "DataLoaderAttribution": "one attribution for a whole data set",
    **dict.fromkeys(("LLMAttribution", "LLMGradientAttribution", "RemoteLLMAttribution"), "for text"),
    **dict.fromkeys(
        (
            "NeuronConductance",
            "NeuronDeconvolution",
            "NeuronDeepLift",
            "NeuronDeepLiftShap",
            "NeuronFeatureAblation",
            "NeuronGradient",
            "NeuronGradientShap",
            "NeuronGuidedBackprop",
            "NeuronIntegratedGradients",
        ),
        "explains one neuron of a hidden layer, not a score of the model",
    ),
}

METHODS = [offer.method for offer in backend.offers]
LAYERED = [offer.method for offer in backend.offers if offer.resolution is Resolution.LAYER]
SWAPPING = ["feature-permutation", "layer-feature-permutation"]
ALONE = [method for method in METHODS if method not in SWAPPING]
FLOAT32 = ["occlusion", "lime", "kernelshap", "shapley-sampling", "shapley-values"]
RANDOM = [
    *("gradient-shap", "layer-gradient-shap", "deeplift-shap", "layer-deeplift-shap"),
    *("smoothgrad", "smoothgrad-squared", "vargrad", "lime", "kernelshap", "shapley-sampling"),
]
CHEAP = {"n_steps": 8, "n_samples": 5, "alpha": 1e-4, "cells": 2}


def ask(model, images, method, target=None, layer=None, seed=0, /, **options) -> Heatmap:
    return backends.run(backend, problems.pose(model, images, layer, target, seed), method, options)


def ask_cheaply(model, images, method, target=None, layer="last", seed=0) -> Heatmap:
    options = {name: value for name, value in CHEAP.items() if name in backend.offer(method).options}
    return ask(model, images, method, target, layer, seed, **options)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


class Guided(torch.autograd.Function):
    """ReLU whose derivative is that of guided backpropagation, or of a deconvnet."""

    @staticmethod
    def forward(ctx, inputs, deconvolution):
        ctx.save_for_backward(inputs)
        ctx.deconvolution = deconvolution
        return inputs.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        (inputs,) = ctx.saved_tensors
        passed = gradient.clamp(min=0)
        return (passed if ctx.deconvolution else passed * (inputs > 0)), None


class GuidedReLU(nn.Module):
    def __init__(self, deconvolution: bool) -> None:
        super().__init__()
        self.deconvolution = deconvolution

    def forward(self, inputs):
        return Guided.apply(inputs, self.deconvolution)


class Plain(nn.Module):
    """Modules only, each run once and known to every method of captum."""

    def __init__(self, bias: bool = True, activation=nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=bias)
        self.act = activation()
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=bias)
        self.last_act = activation()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 5, bias=bias)

    def middle(self, inputs):
        return self.act(self.stem(inputs))

    def forward(self, images):
        return self.head(self.pool(self.last_act(self.last(self.middle(images)))).flatten(1))


class Preactivated(Plain):
    def middle(self, inputs):
        before = self.stem(inputs)
        return before - self.act(before)


class Reused(Plain):
    def middle(self, inputs):
        return self.act(self.act(self.stem(inputs)) - 0.1)


class Functional(Plain):
    def middle(self, inputs):
        return torch.relu(self.stem(inputs))


@pytest.fixture(autouse=True)
def library() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return require("captum.attr")


@pytest.fixture
def net() -> nn.Module:
    return seeded(Plain).double()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


@pytest.fixture
def transformer() -> nn.Module:
    def build():
        model = torchvision.models.VisionTransformer(32, 8, 2, 4, 16, 32, num_classes=5)
        nn.init.normal_(model.heads.head.weight)  # torchvision sets it to zero, so that every gradient would be zero
        return model

    return seeded(build).double()


@pytest.fixture
def squares() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_everything_that_the_library_has_is_in_the_table(library):
    classes = {name: kind for name, kind in vars(library).items() if isinstance(kind, type)}
    public = {name for name, kind in classes.items() if issubclass(kind, library.Attribution)}
    assert {offer.calls for offer in backend.offers} | set(EXCLUDED) == public
    assert not {offer.calls for offer in backend.offers} & set(EXCLUDED)
    assert len(set(METHODS)) == len(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_finite_and_batch_mates_do_not_matter(net, photos, method):
    offer, classes = backend.offer(method), [0, 3, 1]
    found = ask_cheaply(net, photos, method, classes)
    assert (found.stage, found.resolution) == (Stage.RAW, offer.resolution)
    assert (found.method, found.backend) == (method, "captum")
    assert found.values.shape == (3, *((24, 32) if offer.resolution is Resolution.IMAGE else (12, 16)))
    assert found.values.dtype == (torch.float32 if method in FLOAT32 else torch.float64)
    assert not found.values.requires_grad
    assert found.values.isfinite().all()
    assert (found.values.abs().amax((1, 2)) > 0).all()
    for row, index in enumerate(classes if method in ALONE else []):
        assert_close(found.values[[row]], ask_cheaply(net, photos[[row]], method, [index]).values)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "layer-activation"])
def test_each_image_is_explained_for_its_own_class(net, photos, method):
    one, other = (ask_cheaply(net, photos, method, classes).values for classes in ([0, 3, 1], [2, 3, 1]))
    assert_close(one[1:], other[1:])
    assert (one[0] - other[0]).abs().max() > 1e-3 * one[0].abs().max()


@pytest.mark.parametrize("method", METHODS)
def test_a_callable_target_is_explained_like_the_class_that_it_stands_for(net, photos, method):
    def target(outputs):
        return outputs.diagonal()  # image n for class n

    asked = ask_cheaply(net, photos, method, target)
    assert_close(asked.values, ask_cheaply(net, photos, method, [0, 1, 2]).values)


def test_gradcam_and_hirescam_are_signed_and_known_in_closed_form(net, photos):
    classes = [0, 3, 1]
    with torch.no_grad():
        grid = net.last_act(net.last(net.middle(photos)))
        raw = torch.einsum("nk,nkhw->nhw", net.head.weight[classes], grid) / 192  # the average of 12 x 16 cells
    assert (raw < 0).any()
    for method in ("gradcam", "hirescam", "layer-feature-ablation"):
        assert_close(ask(net, photos, method, classes, "last_act", **_cells(method)).values, raw)
    assert_close(ask(net, photos, "layer-activation", classes, "last_act").values, grid.sum(1))
    # The step sizes are float32 in captum, whatever the image is.
    found = ask(net, photos, "internal-influence", classes, "last_act").values
    assert_close(found, (net.head.weight[classes].sum(1) / 192)[:, None, None].expand_as(found).detach(), 1e-6)


def _cells(method: str) -> dict[str, int]:
    return {"cells": 16} if method == "layer-feature-ablation" else {}


@pytest.mark.parametrize("inplace", [False, True])
def test_guided_backprop_deconvolution_and_guided_gradcam_by_another_way(net, photos, inplace):
    expected = {}
    for method, deconvolution in (("guided-backprop", False), ("deconvolution", True)):
        twin = seeded(lambda: Plain(activation=lambda: GuidedReLU(deconvolution))).double()  # noqa: B023
        inputs = photos.clone().requires_grad_()
        (expected[method],) = torch.autograd.grad(twin(inputs)[:, 1].sum(), inputs)
    net.act.inplace = net.last_act.inplace = inplace
    for method, signal in expected.items():
        found = ask(net, photos, method, 1, "last")
        assert_close(found.values, signal.sum(1))
        assert found.notes == ()
    window = ask(net, photos, "gradcam", 1, "last").at("rectified").resize()
    combined = expected["guided-backprop"].sum(1) * window
    assert_close(ask(net, photos, "guided-gradcam", 1, "last").values, combined)
    nearest = ask(net, photos, "guided-gradcam", 1, "last", interpolate_mode="nearest").values
    assert (nearest - combined).abs().max() > 0.01 * combined.abs().max()


def test_gradients_become_one_map(net, photos):
    inputs = photos.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(inputs)[:, 1].sum(), inputs)
    assert_close(ask(net, photos, "saliency", 1, "last").values, gradient.abs().amax(1))
    assert_close(ask(net, photos, "input-x-gradient", 1, "last").values, (photos * gradient).sum(1))
    still = ask(net, photos, "smoothgrad", 1, "last", stdevs=0.0).values
    assert_close(still, gradient.abs().amax(1))
    assert_close(ask(net, photos, "smoothgrad-squared", 1, "last", stdevs=0.0).values, (gradient**2).sum(1))


@pytest.mark.parametrize(
    "method",
    [
        *("integrated-gradients", "layer-integrated-gradients", "conductance"),
        *("deeplift", "deeplift-shap", "layer-deeplift", "layer-deeplift-shap", "kernelshap", "shapley-sampling"),
    ],
)
def test_what_is_complete_adds_up(net, photos, method):
    photos = photos[:1]
    found = ask(net, photos, method, 1, "last")
    with torch.no_grad():
        against = torch.zeros_like(photos[:1])
        if "shap" in method and "deeplift" in method:
            against = torch.randn((5, 3, 24, 32), generator=torch.Generator().manual_seed(0)).double()
        change = net(photos)[:, 1] - net(against)[:, 1].mean()
    total = found.values.double().sum((1, 2))
    if method in ("kernelshap", "shapley-sampling"):
        cells = torch.nn.functional.interpolate(found.values[:, None], (7, 7), mode="nearest-exact")
        total = cells.double().sum((1, 2, 3))
    # A sum of 50 steps in place of an integral; sums in float32.
    tolerance = 0.01 if "n_steps" in backend.offer(method).options else 1e-4
    assert ((total - change).abs() <= tolerance * change.abs()).all()
    assert found.notes == ()


def test_a_map_that_does_not_add_up_says_so(photos):
    pooled = seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
        )
    ).double()
    # Captum loses its rule for max pooling where the pooling directly follows an activation.
    (note,) = ask(pooled, photos[:1], "deeplift", 1, "0", baselines=photos[1:2]).notes
    assert note.startswith("not complete: adds up to ")
    few = ask(seeded(Plain).double(), photos[:1], "integrated-gradients", 1, "last", n_steps=1)
    assert "the score's change from the baseline is" in few.notes[0]


def test_perturbed_patches_by_hand(net, photos):
    image, left = photos[:1], photos[:1].clone()
    left[..., :16] = 0.5
    with torch.no_grad():
        drop = (net(image) - net(left))[0, 2]
    options = {"baselines": 0.5}
    for method, shape in (("feature-ablation", {"cells": (1, 2)}), ("occlusion", {"window": (24, 16), "stride": 16})):
        found = ask(net, image, method, 2, "last", **shape, **options).values
        expected = torch.full((24, 16), float(drop), dtype=found.dtype)
        assert_close(found[0, :, :16], expected, 1e-4 if method == "occlusion" else 1e-12)
        assert (found[0, :, 16:] == found[0, 0, 16]).all()
    exact = ask(net, image, "shapley-values", 2, "last", cells=(1, 2), **options).values
    with torch.no_grad():
        right = image.clone()
        right[..., 16:] = 0.5
        alone = (net(right) - net(torch.full_like(image, 0.5)))[0, 2]
    assert abs(float(exact[0, 0, 0]) - float(drop + alone) / 2) <= 1e-4 * abs(float(drop))


def test_permuting_swaps_with_the_batch_mate(net, photos):
    pair = photos[:2]
    swapped = pair.clone()
    swapped[..., :16] = pair[[1, 0], ..., :16]
    with torch.no_grad():
        drop = (net(pair) - net(swapped))[:, 2]
    found = ask(net, pair, "feature-permutation", 2, "last", cells=(1, 2)).values
    assert_close(found[:, 3, 3], drop)
    for method in SWAPPING:
        with pytest.raises(NotOffered, match="a batch of two or more"):
            ask(net, photos[:1], method, 2, "last")


@pytest.mark.parametrize("method", RANDOM)
def test_random_numbers_come_from_the_problem_s_seed(net, photos, method):
    first, again, other = (ask_cheaply(net, photos[:1], method, 1, seed=seed).values for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-6 * first.abs().max()
    twins = ask_cheaply(net, photos[[0, 0]], method, 1).values
    assert torch.equal(twins[0], twins[1])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("integrated-gradients", {"n_steps": 2}),
        ("integrated-gradients", {"method": "riemann_left", "n_steps": 5}),
        ("integrated-gradients", {"baselines": 1.0}),
        ("integrated-gradients", {"baselines": torch.ones(1, 3, 24, 32)}),
        ("conductance", {"n_steps": 2}),
        ("internal-influence", {"baselines": 1.0}),
        ("gradient-shap", {"n_samples": 3}),
        ("gradient-shap", {"stdevs": 0.5}),
        ("deeplift-shap", {"baselines": torch.zeros(2, 3, 24, 32)}),
        ("vargrad", {"stdevs": 1.0}),
        ("smoothgrad", {"n_samples": 3}),
        ("occlusion", {"window": 8}),
        ("occlusion", {"stride": 2}),
        ("feature-ablation", {"cells": 3}),
        ("layer-feature-ablation", {"cells": 3}),
        ("lime", {"alpha": 1e-4}),
        ("kernelshap", {"n_samples": 60}),
        ("shapley-sampling", {"n_samples": 2}),
        ("shapley-values", {"cells": (3, 1)}),
    ],
)
def test_options_reach_the_library(net, photos, method, options):
    plain, changed = (ask(net, photos[:1], method, 1, "last", **given).values for given in ({}, options))
    assert (plain - changed).abs().max() > 1e-4 * changed.abs().max()


@pytest.mark.parametrize("method", [offer.method for offer in backend.offers if "batch_size" in offer.options])
def test_the_batch_size_changes_no_map(net, photos, method):
    options = {name: value for name, value in CHEAP.items() if name in backend.offer(method).options}
    images = photos[:2] if method in SWAPPING else photos[:1]
    one, other = (ask(net, images, method, 1, "last", batch_size=size, **options).values for size in (3, 20))
    # Sampling in other batches draws in another order; float32 sums round in another order.
    assert_close(one, other, 1e-5)


def test_the_lasso_that_keeps_nothing_says_so(net, photos):
    found = ask(net, photos[:1], "lime", 1, "last", n_samples=10)
    assert not found.values.any()
    assert found.notes[0].startswith("the lasso keeps no patch")


def test_a_distribution_of_baselines_is_no_number(net, photos):
    with pytest.raises(NotOffered, match="DeepLiftShap takes images"):
        ask(net, photos, "deeplift-shap", 1, "last", baselines=0.5)


def test_exact_shapley_values_of_many_patches_are_not_offered(net, photos):
    with pytest.raises(NotOffered, match=r"of 9 patches take 9! orders"):
        ask(net, photos, "shapley-values", 1, "last", cells=3)


@pytest.mark.parametrize("method", ["guided-backprop", "guided-gradcam", "deconvolution", "deeplift", "layer-deeplift"])
def test_activations_that_are_passed_by_are_told_and_a_plain_gradient_is_refused(photos, method):
    mixed = seeded(Functional).double()
    found = ask(mixed, photos, method, 1, "last")
    assert found.notes[0].startswith("keep their plain gradient, as they are no nn.ReLU")
    with pytest.raises(NotOffered, match=r"acts on nn\.ReLU.*, and this model runs none"):
        ask(seeded(lambda: Plain(activation=nn.ReLU6)).double(), photos, method, 1, "last")


def test_a_relu_that_reads_a_shared_tensor_is_told(photos):
    found = ask(seeded(Preactivated).double(), photos, "guided-backprop", 1, "last")
    assert found.notes == ("nn.ReLU that rectify the sum of gradients, as their input is read elsewhere too: 1",)


@pytest.mark.parametrize("method", ["deeplift", "deeplift-shap", "layer-deeplift", "layer-deeplift-shap"])
def test_deeplift_is_not_offered_where_a_module_runs_twice_and_nothing_is_left(photos, method):
    model = seeded(Reused).double()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    with pytest.raises(NotOffered, match="run once in a pass; act runs more often"):
        ask(model, photos, method, 1, "stem" if method.startswith("layer") else "last")
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


def test_lrp_is_exact_without_biases_and_not_offered_where_it_would_be_wrong(net, photos):
    bare = seeded(lambda: Plain(bias=False)).double()
    inputs = photos.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(bare(inputs)[:, 1].sum(), inputs)
    found = ask(bare, photos, "lrp", 1, "last")
    # Equal but for the epsilon of 1e-9, which moves the relevance of an activation of 1e-4 by 1e-5 of it.
    assert_close(found.values, (photos * gradient).sum(1), 1e-5)
    assert found.notes == ()
    assert "and the score is" in ask(net, photos, "lrp", 1, "last").notes[0]
    with pytest.raises(NotOffered, match="both branches get it all"):
        ask(seeded(Preactivated).double(), photos, "lrp", 1, "last")
    with pytest.raises(NotOffered, match=r"LRP: Module of type .*ReLU6.* has no rule defined"):
        ask(seeded(lambda: Plain(activation=nn.ReLU6)).double(), photos, "lrp", 1, "last")
    with pytest.raises(NotOffered, match="last_act has none"):
        ask(net, photos, "layer-lrp", 1, "last_act")


def test_an_output_that_is_written_over_in_place(net, photos):
    expected = {method: ask_cheaply(net, photos, method, 1).values for method in LAYERED}
    net.last_act.inplace = True
    for method, values in expected.items():
        if method in ("layer-integrated-gradients", "layer-feature-ablation", "layer-feature-permutation"):
            with pytest.raises(NotOffered, match="its own tensor for last, which the model writes over"):
                ask_cheaply(net, photos, method, 1)
        else:
            assert_close(ask_cheaply(net, photos, method, 1).values, values)


def test_tokens_become_a_grid(transformer, squares):
    cheap = {"layer-integrated-gradients": {"n_steps": 2}, "conductance": {"n_steps": 2}}
    offered = ["hirescam", "layer-activation", *cheap, "internal-influence", "layer-gradient-shap"]
    for method in [*offered, "layer-feature-ablation"]:
        found = ask(transformer, squares, method, [0, 3], **cheap.get(method, {}))
        assert found.values.shape == (2, 4, 4)
        assert (found.values.abs().amax((1, 2)) > 0).all()
    for method in ("gradcam", "guided-gradcam"):
        with pytest.raises(NotOffered, match=r"reads \(N, K, h, w\) outputs only"):
            ask(transformer, squares, method, 1)


def test_ablating_a_token_by_hand(transformer, squares):
    layer = "encoder.layers.encoder_layer_0"
    found = ask(transformer, squares, "layer-feature-ablation", 1, layer).values

    def ablate(_module, _inputs, output):
        output = output.clone()
        output[:, 1 + 6] = 0  # the class token stands first; cell 6 is row 1, column 2
        return output

    with torch.no_grad():
        score = transformer(squares)[:, 1]
        with guard.borrowed(transformer):
            transformer.get_submodule(layer).register_forward_hook(ablate)
            drop = score - transformer(squares)[:, 1]
    assert_close(found[:, 1, 2], drop, 1e-9)


def test_volumes():
    model = seeded(
        lambda: nn.Sequential(
            *(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))
        )
    )
    volumes = torch.randn(1, 1, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    for method in ("gradcam", "saliency", "occlusion", "feature-ablation", "integrated-gradients"):
        found = ask(model, volumes, method, 1, "1", **({"cells": 2} if method == "feature-ablation" else {}))
        assert found.values.shape == (1, 4, 6, 8)
        assert found.values.any()
    guided = ask(model, volumes, "guided-gradcam", 1, "1", interpolate_mode="trilinear")
    assert guided.values.shape == (1, 4, 6, 8)


def test_frozen_models_and_those_that_begin_in_place_are_explained(net, photos):
    methods = ("gradcam", "saliency", "integrated-gradients", "guided-backprop", "occlusion")
    expected = [ask(net, photos, method, 1, "last").values for method in methods]
    net.requires_grad_(False)
    for method, values in zip(methods, expected, strict=True):
        assert_close(ask(net, photos, method, 1, "last").values, values)
        begins = nn.Sequential(nn.ReLU(inplace=True), net)
        assert ask(begins, photos.clone(), method, 1, "1.last").values.isfinite().all()


def test_models_that_return_no_tensor_are_not_offered(net, photos):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, images):
            return {"logits": self.inner(images)}

    for method in ("gradcam", "guided-backprop"):
        with pytest.raises(NotOffered, match="a tensor of scores, not a dict"):
            ask(Named().eval(), photos, method, 1, "inner.last")


def test_half_precision(images):
    half = seeded(Plain).bfloat16()
    for method in ("gradcam", "saliency", "integrated-gradients", "occlusion"):
        assert ask(half, images[:1].bfloat16(), method, 1, "last").values.isfinite().all()
    for method in ("smoothgrad", "gradient-shap"):
        with pytest.raises(NotOffered, match="float32 noise"):
            ask(half, images[:1].bfloat16(), method, 1, "last")


def test_a_class_that_this_version_lacks_is_not_offered(library, net, photos, monkeypatch):
    monkeypatch.delattr(library, "LRP")
    with pytest.raises(NotOffered, match=r"captum \d+\.\d+\.\d+ has no LRP"):
        ask(net, photos, "lrp", 1, "last")


def test_an_error_of_the_library_goes_through_with_its_own_words(net, photos):
    with pytest.raises(Failed, match="AssertionError: Stride dimension"):
        ask(net, photos, "occlusion", 1, "last", window=2, stride=4)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_behind_or_said(net, photos, method, capfd, caplog):
    net.train()
    attributes = {name: set(vars(module)) for name, module in net.named_modules()}
    filters = list(warnings.filters)
    ask_cheaply(net, photos, method, 1)
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    # Not thanks to the guard alone: the hooks are gone when the adapter returns.
    net.eval()
    options = {name: value for name, value in CHEAP.items() if name in backend.offer(method).options}
    backend.explain(problems.pose(net, photos, "last", 1), method, options)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert {name: set(vars(module)) for name, module in net.named_modules()} == attributes
    assert warnings.filters == filters
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_warnings_of_others_become_notes(net, photos):
    class Warning_(Plain):
        def middle(self, inputs):
            warnings.warn("a word of the model's", stacklevel=1)
            return super().middle(inputs)

    problem = problems.pose(net, photos, "last", 1)
    net.__class__ = Warning_
    assert backends.run(backend, problem, "guided-backprop", {}).notes == ("a word of the model's",)


def test_importing_the_adapter_does_not_import_the_library():
    code = "import sys, camzoo_adapters.captum; sys.exit('captum' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
