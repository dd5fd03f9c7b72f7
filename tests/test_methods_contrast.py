"""Contrast, fusion of layers, and the wrappers around any method, against their literal float64 twins."""

from __future__ import annotations

import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torchvision
from conftest import SmallNet, seeded
from torch import nn
from torch.nn import functional

import camzoo
from camzoo import capture, layers
from camzoo.errors import DegenerateMapWarning, NotOffered, RequestError
from camzoo.methods.finercam import finercam
from camzoo.noise import normal
from camzoo.oracles import activation, contrast, gradient, means, scores
from camzoo.targets import ClassLogit, ClassProbability, LinearScore
from camzoo.types import Evidence

CLASSES = (3, 0, 4)
SEED = 5
RETAKE = frozenset({Evidence.RETAKE})


@pytest.fixture
def net() -> nn.Module:
    return seeded(SmallNet).double()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


def explain(net, images, method, target=CLASSES, layer="last_act", **options):
    target = list(target) if isinstance(target, tuple) else target
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateMapWarning)
        return camzoo.explain(net, images, method, layer=layer, target=target, stage="raw", seed=SEED, **options)


def raw(*args, **options) -> torch.Tensor:
    return explain(*args, **options).values


def error(found, wanted) -> float:
    found, wanted = (np.asarray(values, dtype=np.float64) for values in (found, wanted))
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 0
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def evidence(net, images, image, score, layer="last_act") -> tuple[np.ndarray, np.ndarray]:
    """Activations and gradients of one image, from plain PyTorch; `score` takes the logits `(classes,)`."""
    kept = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    outputs = net(images[image : image + 1])
    handle.remove()
    return kept[0][0].detach().numpy(), torch.autograd.grad(score(outputs[0]), kept[0])[0][0].numpy()


# Finer-CAM ---------------------------------------------------------------------------------------------------------

FINER = [
    {},
    {"alpha": 0.25},
    {"alpha": 1.0, "similar": 1},
    {"similar": 4},
    {"similar": 50},
    {"weights": "softmax"},
    {"weights": "softmax", "alpha": 1.0},
    {"references": [1, 2]},
    {"references": [2, 1], "weights": "softmax"},
]
BASES = {"gradcam": gradient.gradcam, "gradcam++": gradient.gradcam_plus_plus, "layercam": gradient.layercam}


def finer_score(c, alpha=0.6, similar=3, references=None, weights="mean"):
    """The contrast as a person would write it with PyTorch, its references from the oracle."""

    def score(y):
        found = y.detach().numpy()
        chosen = contrast.similar_classes(found, c, similar) if references is None else references
        chosen = [d for d in chosen if d != c]
        omega = torch.full((len(chosen),), 1 / len(chosen), dtype=y.dtype)
        if weights == "softmax":
            p = y.softmax(0)[chosen]
            omega = p / p.sum()
        return y[c] - alpha * (omega * y[chosen]).sum()

    return score


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("options", FINER, ids=str)
@pytest.mark.parametrize("layer", ["last_act", "last", "norm"])
def test_finercam_is_the_base_of_the_contrast(net, photos, options, base, layer):
    found = raw(net, photos, "finercam", layer=layer, base=base, **options)
    pairs = [evidence(net, photos, at, finer_score(c, **options), layer) for at, c in enumerate(CLASSES)]
    assert error(found, [BASES[base](A, G) for A, G in pairs]) <= 1e-12


@pytest.mark.parametrize("weights", ["mean", "softmax"])
def test_finercam_is_the_linear_score_of_the_oracle(net, photos, weights):
    found = raw(net, photos, "finercam", weights=weights)
    outputs = net(photos).detach().numpy()
    slopes = [
        contrast.finercam_gradient(y, c, contrast.similar_classes(y, c), weights=weights)
        for y, c in zip(outputs, CLASSES, strict=True)
    ]
    target = LinearScore(torch.from_numpy(np.stack(slopes)))
    assert error(found, raw(net, photos, "gradcam", target)) <= 1e-13


def test_finercam_of_the_top_class(net, photos):
    top = tuple(net(photos).argmax(1).tolist())
    assert torch.equal(raw(net, photos, "finercam", None), raw(net, photos, "finercam", top))


@pytest.mark.parametrize("base", ["scorecam", "ablationcam", "ablationcam whole"])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_finercam_of_methods_that_ask_for_scores(net, photos, base, chunk):
    """Each image has a contrast of its own, also where rows of one image are run together."""
    layer = "last" if base.endswith("whole") else "last_act"
    base = base.removesuffix(" whole")
    found = raw(net, photos, "finercam", layer=layer, base=base, chunk=chunk)
    for image, c in enumerate(CLASSES):
        pick = frozen(net, photos[image : image + 1], c)
        A, _ = evidence(net, photos, image, pick, layer)
        x = photos[image].numpy()
        if base == "scorecam":
            wanted = scores.scorecam(A, x, lambda one, pick=pick: pick(net(torch.from_numpy(one)[None])[0]).item())
        else:
            wanted = scores.ablationcam(A, lambda one, pick=pick: pick(tail(net, layer, one)).item())
        assert error(found[image], wanted) <= 1e-12


def frozen(net, photo, c):
    """The contrast with references and weights of the clean image: what a map explains stays one score."""
    y = net(photo)[0].detach().numpy()
    slope = torch.from_numpy(contrast.finercam_gradient(y, c, contrast.similar_classes(y, c)))
    return lambda outputs: (outputs * slope).sum()


def tail(net, layer, A):
    grid = torch.from_numpy(A)[None]
    return net.head(net.pool(net.last_act(grid) if layer == "last" else grid).flatten(1))[0]


class Tied(SmallNet):
    """All logits are zero, their derivatives are not."""

    def forward(self, images):
        outputs = super().forward(images)
        return outputs - outputs.detach()


@pytest.mark.parametrize("c", range(5))
def test_finercam_of_logits_that_tie(photos, c):
    """The class is the one that was asked for, also where others have the same logit; of references the first."""
    net = seeded(Tied).double()
    found = raw(net, photos[:1], "finercam", (c,), similar=2)
    A, G = evidence(net, photos, 0, finer_score(c, references=[d for d in range(5) if d != c][:2]))
    assert error(found[0], gradient.gradcam(A, G)) <= 1e-12


def test_finercam_of_logits_far_below(net, photos):
    """Softmax weights among the references do not underflow where the class is far above them."""
    with torch.no_grad():
        net.head.bias[3] += 2000
    found = raw(net, photos[:1], "finercam", (3,), weights="softmax")
    y = net(photos)[0].detach()
    chosen = contrast.similar_classes(y.numpy(), 3)

    def score(y):
        return y[3] - 0.6 * (y[chosen].softmax(0) * y[chosen]).sum()

    A, G = evidence(net, photos, 0, score)
    assert error(found[0], gradient.gradcam(A, G)) <= 1e-12


def test_finercam_without_another_class(photos):
    net = seeded(lambda: SmallNet(classes=1)).double()
    assert torch.equal(raw(net, photos, "finercam", 0), raw(net, photos, "gradcam", 0))
    assert torch.equal(raw(net, photos, "finercam", 0, weights="softmax"), raw(net, photos, "gradcam", 0))


def test_finercam_of_a_callable_that_is_a_logit(net, photos):
    found = raw(net, photos, "finercam", lambda outputs: outputs[:, 2])
    assert error(found, raw(net, photos, "finercam", 2)) <= 1e-13


def test_finercam_needs_the_logit_of_a_class(net, photos):
    with pytest.raises(NotOffered, match="logit of a class"):
        raw(net, photos, "finercam", ClassProbability(2))


@pytest.mark.parametrize("references", [[1, 5], [-1]])
def test_finercam_of_a_class_that_is_not_there(net, photos, references):
    with pytest.raises(RequestError, match="out of range: the model has 5 classes"):
        raw(net, photos, "finercam", references=references)


def test_finercam_alone():
    """Without a model to ask it says so."""
    with pytest.raises(ValueError, match="asks the model"):
        finercam(
            camzoo.types.Capture(
                torch.ones(1, 2, 3, 3), scores=torch.tensor([[1.0, 2.0]]), explained=torch.tensor([2.0])
            )
        )


# Several layers ----------------------------------------------------------------------------------------------------

NAMED = ("act", "norm", "last_act")
SIZE = (24, 32)


def layer_maps(net, photos, image, base, named=NAMED) -> list[np.ndarray]:
    return [BASES[base](*evidence(net, photos, image, lambda y: y[CLASSES[image]], layer)) for layer in named]


@pytest.mark.parametrize("base", BASES)
def test_refinecam(net, photos, base):
    found = explain(net, photos, "refinecam", base=base, layers=list(NAMED))
    wanted = [contrast.refinecam(layer_maps(net, photos, at, base), SIZE) for at in range(3)]
    assert error(found.values, wanted) <= 1e-12
    assert found.resolution == "image"


def test_refinecam_by_default_is_of_gradcam_plus_plus_at_each_size(net, photos):
    found = raw(net, photos, "refinecam")
    wanted = [
        contrast.refinecam(layer_maps(net, photos, at, "gradcam++", ("act", "last_act")), SIZE) for at in range(3)
    ]
    assert error(found, wanted) <= 1e-12


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("how", ["mean", "max"])
def test_fusion(net, photos, base, how):
    found = raw(net, photos, "fusion", base=base, how=how, layers=NAMED)
    wanted = [contrast.fuse(layer_maps(net, photos, at, base), SIZE, how) for at in range(3)]
    assert error(found, wanted) <= 1e-12


def test_fusion_of_layercam(net, photos):
    found = raw(net, photos, "fusion", base="layercam", how="layercam", layers=NAMED)
    wanted = [
        contrast.layercam_fusion(layer_maps(net, photos, at, "layercam"), SIZE, [True, True, False]) for at in range(3)
    ]
    assert error(found, wanted) <= 1e-12


@pytest.mark.parametrize("how", ["mean", "max", "layercam"])
def test_fusion_of_one_layer(net, photos, how):
    found = raw(net, photos, "fusion", base="layercam", how=how, layers=["last_act"])
    one = explain(net, photos, "layercam")
    wanted = one.at("rectified").resize()
    if how == "layercam":
        wanted = camzoo.grids.resize(one.values / one.values.amax((1, 2), keepdim=True), SIZE)
    else:
        wanted = camzoo.grids.normalise(wanted)
    assert error(found, wanted) <= 1e-12


def test_maps_of_the_image_cannot_be_fused(net, photos):
    for method in ("fusion", "refinecam"):
        with pytest.raises(NotOffered, match="nothing to fuse"):
            raw(net, photos, method, base="occlusion")


def test_what_happens_at_another_layer_is_told(photos):
    class Hidden(SmallNet):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [self.last_act]

        def forward(self, images):
            grid = self.hidden[0](self.last(self.act(self.norm(self.stem(images)))))
            return self.head(self.pool(grid).flatten(1).tanh())

    net = seeded(Hidden).double()
    assert "whole model" in explain(net, photos, "ablationcam").notes[0]
    for method in ("fusion", "smoothgrad", "finercam"):
        notes = explain(net, photos, method, base="ablationcam").notes
        assert [note for note in notes if "whole model" in note]


class Trunk(torch.nn.Module):
    """The part of a ResNet that gives a grid, as one module that is no container."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        net = self.net
        return net.layer4(net.layer3(net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images))))))))


class TestStages:
    def test_the_last_layer_of_each_size(self, net, photos):
        assert layers.stages(net, photos, "last_act") == ("act", "last_act")
        assert layers.stages(net, photos, "last") == ("act", "last")
        assert layers.stages(net, photos, "act") == ("act",)

    def test_resnet18(self):
        net = seeded(torchvision.models.resnet18)
        assert layers.stages(net, torch.zeros(1, 3, 64, 96), "layer4") == (
            "relu",
            "layer1",
            "layer2",
            "layer3",
            "layer4",
        )
        assert layers.stages(net, torch.zeros(1, 3, 64, 96), "layer3.0.bn1") == (
            "relu",
            "layer1",
            "layer2",
            "layer3.0.bn1",
        )

    def test_a_layer_on_a_branch_of_a_block_that_shrinks_the_grid_is_passed_over(self):
        """In a ResNet-50 `layer2.0.bn1` is the last at the grid of `layer1`, on one of two branches and signed."""
        net, images = seeded(torchvision.models.resnet50), torch.zeros(1, 3, 64, 96)
        assert layers.stages(net, images, "layer4") == ("relu", "layer1", "layer2", "layer3", "layer4")
        net = torch.nn.Sequential(OrderedDict(inner=Trunk(net), neck=torch.nn.Conv2d(2048, 8, 1)))
        wanted = ("inner.net.layer1", "inner.net.layer2", "inner.net.layer3", "neck")
        assert layers.stages(net, images, "neck")[1:] == wanted

    def test_a_layer_amid_a_block_through_which_there_is_one_way_is_taken(self):
        net = seeded(torchvision.models.mobilenet_v2)
        found = layers.stages(net, torch.zeros(1, 3, 64, 96), "features")
        assert found == (*(f"features.{block}.conv.0" for block in (2, 4, 7, 14)), "features")

    def test_where_every_layer_is_on_a_branch_the_last_is_taken(self):
        net = seeded(torchvision.models.shufflenet_v2_x1_0)
        found = layers.stages(net, torch.zeros(1, 3, 64, 96), "conv5")
        assert found == ("conv1", "stage2.0.branch2.2", "stage2", "stage3", "conv5")

    @pytest.mark.parametrize("build", [torchvision.models.mobilenet_v3_small, torchvision.models.efficientnet_b0])
    def test_a_grid_of_one_cell_is_none(self, build):
        """Squeeze-and-excitation scales each channel by one number."""
        net, images = seeded(build), torch.zeros(1, 3, 64, 96)
        shapes = {info.name: info.layout.shape for info in layers.trace(net, images) if info.layout}
        found = layers.stages(net, images, "features")
        assert [shapes[name] for name in found] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]

    def test_a_module_that_runs_more_than_once_is_passed_over(self, photos):
        class Shared(SmallNet):
            def forward(self, images):
                grid = self.act(self.last(self.act(self.norm(self.stem(images)))))
                return self.head(self.pool(grid).flatten(1))

        net = seeded(Shared).double()
        assert layers.stages(net, photos, "last") == ("norm", "last")
        assert raw(net, photos, "refinecam", layer="last").shape == (3, 24, 32)

    def test_a_pooling_that_is_named_is_kept_and_nothing_else_is_lost(self):
        net = seeded(torchvision.models.resnet18)
        assert layers.stages(net, torch.zeros(1, 3, 64, 96), "maxpool") == ("relu", "maxpool")


# Wrappers ----------------------------------------------------------------------------------------------------------


TWINS = {
    **BASES,
    "eigencam": lambda A, _: activation.eigencam(A),
    "cam": lambda A, G: gradient.gradcam(A, G) * A[0].size,
}


def twin_map(net, base, c, layer="last_act"):
    """One method as the oracles of means take it: the literal twin, on evidence from plain PyTorch."""

    def explain_one(x):
        return TWINS[base](*evidence(net, torch.from_numpy(x)[None], 0, lambda y: y[c], layer))

    return explain_one


def score_map(net, base, c):
    """The same for methods that ask for scores."""

    def score(x):
        return net(torch.from_numpy(x)[None])[0, c].item()

    def explain_one(x):
        A, _ = evidence(net, torch.from_numpy(x)[None], 0, lambda y: y[c])
        if base == "scorecam":
            return scores.scorecam(A, x, score)
        return scores.ablationcam(A, lambda one: tail(net, "last_act", one)[c].item())

    return explain_one


def noises(photo, samples) -> list[np.ndarray]:
    """The noise is a part of the definition: it goes by the seed and the number of the sample alone."""
    return [normal(photo.numpy(), tuple(photo.shape), SEED, sample) for sample in range(samples)]


@pytest.mark.parametrize("layer", ["last_act", "last", "norm"])
@pytest.mark.parametrize("options", [{}, {"samples": 1}, {"samples": 3, "std": 0.4}, {"std": 0.0}], ids=str)
@pytest.mark.parametrize("base", [base for base in TWINS if base != "cam"])
def test_smoothgrad_equals_its_twin(net, photos, base, options, layer):
    found = raw(net, photos, "smoothgrad", layer=layer, base=base, **options)
    std = options.get("std", 0.15)
    wanted = [
        means.smoothgrad(twin_map(net, base, c, layer), photo.numpy(), noises(photo, options.get("samples", 16)), std)
        for photo, c in zip(photos, CLASSES, strict=True)
    ]
    assert error(found, wanted) <= 1e-12


@pytest.mark.parametrize("layer", ["last_act", "last", "norm"])
@pytest.mark.parametrize("base", [base for base in TWINS if base != "cam"])
def test_augmented_equals_its_twin(net, photos, base, layer):
    found = raw(net, photos, "augmented", layer=layer, base=base)
    wanted = [
        means.augmented(twin_map(net, base, c, layer), photo.numpy()) for photo, c in zip(photos, CLASSES, strict=True)
    ]
    assert error(found, wanted) <= 1e-12


@pytest.mark.parametrize("base", ["cam", "scorecam", "ablationcam"])
def test_means_of_methods_that_ask_the_model(net, photos, base):
    """Each copy is asked for scores of its own."""
    found = {
        "smoothgrad": raw(net, photos, "smoothgrad", base=base, samples=2),
        "augmented": raw(net, photos, "augmented", base=base),
    }
    for image, (photo, c) in enumerate(zip(photos, CLASSES, strict=True)):
        one = twin_map(net, base, c) if base == "cam" else score_map(net, base, c)
        assert error(found["smoothgrad"][image], means.smoothgrad(one, photo.numpy(), noises(photo, 2))) <= 1e-12
        assert error(found["augmented"][image], means.augmented(one, photo.numpy())) <= 1e-12


def test_means_of_maps_of_the_image(net, photos):
    """The mean lies where the maps of the base do, and mirroring goes by its pixels."""
    options = {"base": "occlusion"}
    for method in ("smoothgrad", "augmented"):
        found = explain(net, photos[:1], method, (3,), **options)
        assert found.resolution == "image"

        def one(x):
            return raw(net, torch.from_numpy(x)[None], "occlusion", (3,))[0].numpy()

        x = photos[0].numpy()
        wanted = means.augmented(one, x) if method == "augmented" else means.smoothgrad(one, x, noises(photos[0], 16))
        assert error(found.values[0], wanted) <= 1e-12


@pytest.mark.parametrize("method", ["smoothgrad", "augmented"])
def test_means_over_volumes(method):
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    net = seeded(lambda: net).double()
    volumes = torch.randn(2, 1, 4, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = raw(net, volumes, method, (3, 0), layer="1")
    for image, (volume, c) in enumerate(zip(volumes, (3, 0), strict=True)):
        one, x = twin_map(net, "gradcam", c, "1"), volume.numpy()
        wanted = means.augmented(one, x) if method == "augmented" else means.smoothgrad(one, x, noises(volume, 16))
        assert error(found[image], wanted) <= 1e-12


@pytest.mark.parametrize("method", ["smoothgrad", "augmented", "smoothgradcam++"])
def test_the_class_is_that_of_the_clean_image(net, photos, method):
    top = tuple(net(photos).argmax(1).tolist())
    assert torch.equal(raw(net, photos, method, None), raw(net, photos, method, top))


@pytest.mark.parametrize("method", ["finercam", "refinecam", "fusion", "smoothgrad", "augmented"])
def test_an_image_does_not_depend_on_its_batch_mates(net, photos, method):
    batch = raw(net, photos, method)
    singles = torch.cat([raw(net, photos[i : i + 1], method, (CLASSES[i],)) for i in range(3)])
    assert error(singles, batch) <= 1e-12


@pytest.mark.parametrize("method", ["finercam", "refinecam", "fusion", "smoothgrad", "augmented"])
def test_a_base_that_cannot_be_taken_again(net, photos, method):
    with pytest.raises(NotOffered):
        raw(net, photos, method, base="guided-backprop")
    with pytest.raises(RequestError, match="unknown method"):
        raw(net, photos, method, base="gradcan")


def test_a_retake_is_a_capture_of_its_own(net, photos):
    (taken,), _ = capture.take(net, "last_act", photos, [ClassLogit(CLASSES)], RETAKE)
    (again,) = taken.ask.retake_at(["last"], frozenset({Evidence.GRADIENTS}))
    assert functional.relu(again.activations).equal(taken.activations)
    assert again.gradients is not None
    assert again.images is taken.images
