"""Guided backpropagation and the gradients of biases, against a network differentiated by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn

from camzoo import backprop
from camzoo.errors import NotOffered, RequestError
from camzoo.oracles import input as oracle
from camzoo.targets import ClassLogit, TopClass

EXACT = {"rtol": 1e-10, "atol": 1e-13}
TARGET = ClassLogit((1, 0))


def noise(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def images() -> torch.Tensor:
    return noise(2, 3, 5, 6)


class Tiny(nn.Module):
    """Two convolutions with a rectifier of one's choice, pooling and a linear layer."""

    def __init__(self, rectify: Callable[[torch.Tensor], torch.Tensor] = F.relu) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)
        self.rectify = rectify
        self.double()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grid = self.rectify(self.second(self.rectify(self.first(images))))
        return self.head(grid.mean((2, 3)))

    def layers(self) -> list[oracle.Layer]:
        """The same for the oracle."""
        weights = [(each.weight.detach().numpy(), each.bias.detach().numpy()) for each in self.children_with_bias()]
        one, two, three = weights
        rectified, pooled = oracle.Relu(), oracle.Pool()
        return [oracle.Conv(*one), rectified, oracle.Conv(*two), rectified, pooled, oracle.Linear(*three)]

    def children_with_bias(self) -> list[nn.Module]:
        return [self.first, self.second, self.head]


def tiny(rectify: Callable[[torch.Tensor], torch.Tensor] = F.relu) -> Tiny:
    return seeded(lambda: Tiny(rectify))


def lost(function: Callable[[torch.Tensor], object]) -> Callable[[torch.Tensor], torch.Tensor]:
    """An in-place function whose result is not used: what counts is the tensor that it changed."""

    def change(z: torch.Tensor) -> torch.Tensor:
        function(z)
        return z

    return change


RELUS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda z: F.relu(z, inplace=True),
    "F.relu in place, result unused": lost(lambda z: F.relu(z, True)),
    "F.relu_": lost(F.relu_),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda z: z.relu(),
    "Tensor.relu_": lost(lambda z: z.relu_()),
    "torch.clamp": lambda z: torch.clamp(z, min=0),
    "torch.clamp_": lambda z: torch.clamp_(z, 0),
    "Tensor.clamp": lambda z: z.clamp(0.0),
    "Tensor.clamp_": lost(lambda z: z.clamp_(min=0)),
    "Tensor.clamp_min": lambda z: z.clamp_min(0),
    "Tensor.clamp_min_": lost(lambda z: z.clamp_min_(0)),
    "torch.clip": lambda z: torch.clip(z, 0),
    "Tensor.clip_": lambda z: z.clip_(0),
    "on a view": lambda z: lost(torch.relu_)(z.view_as(z)),
}


@pytest.mark.parametrize("form", RELUS)
def test_every_form_of_relu_is_guided(form, images):
    net = tiny(RELUS[form])
    found = backprop.guided(net, images, TARGET)
    for image, label, one in zip(images, TARGET.classes, found, strict=True):
        wanted = oracle.guided_backprop(net.layers(), image.numpy(), label)
        np.testing.assert_allclose(one.numpy(), wanted, rtol=1e-10, atol=1e-14)
    (plain,) = plain_gradient(net, images, TARGET)
    assert (plain - found).abs().max() > 0.1 * plain.abs().max()


def plain_gradient(net, images, target):
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(target(net(leaf.clone())).sum(), leaf)


BOUNDED = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 in place": lost(lambda z: F.relu6(z, inplace=True)),
    "F.hardtanh": lambda z: F.hardtanh(z, 0, 6),
    "F.hardtanh_": lost(lambda z: F.hardtanh_(z, 0, 6)),
    "nn.Hardtanh": nn.Hardtanh(0, 6),
    "clamp": lambda z: z.clamp(0, 6),
    "clip_": lambda z: torch.clip_(z, min=0, max=6),
}


class Cellwise(nn.Module):
    """One score an image, a sum over cells with given slopes: the gradient at each cell can be read off."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], slopes: list[float]) -> None:
        super().__init__()
        self.function = function
        self.slopes = nn.Parameter(torch.tensor(slopes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.function(images * 1) * self.slopes).sum((1, 2, 3))[:, None]


EDGES = torch.tensor([-1.0, 0.0, 1e-6, 3.0, 3.0, 6.0, 7.0]).reshape(1, 1, 1, 7)
SLOPES = [1.0, 1.0, 1.0, 2.0, -2.0, 1.0, 1.0]


@pytest.mark.parametrize("form", BOUNDED)
def test_relu6_passes_between_its_bounds(form):
    found = backprop.guided(Cellwise(BOUNDED[form], SLOPES), EDGES, ClassLogit((0,)))
    assert found.flatten().tolist() == [0, 0, 1, 2, 0, 0, 0]


def test_relu_passes_nothing_at_zero():
    found = backprop.guided(Cellwise(F.relu, SLOPES), EDGES, ClassLogit((0,)))
    assert found.flatten().tolist() == [0, 0, 1, 2, 0, 1, 1]


def test_a_closed_relu_stops_an_infinite_gradient():
    found = backprop.guided(Cellwise(F.relu, [float("inf")] * 7), EDGES[..., [0, 3, 0, 0, 0, 0, 0]], ClassLogit((0,)))
    assert found.flatten().tolist() == [0, float("inf"), 0, 0, 0, 0, 0]


def test_the_values_are_those_of_the_model(images):
    """What is explained is the score that the model gives: a target sees the same outputs."""
    for form, rectify in {**RELUS, **BOUNDED}.items():
        net, seen = tiny(rectify), []
        backprop.guided(net, images, lambda outputs, seen=seen: seen.append(outputs.detach()) or outputs[:, 0])
        with torch.no_grad():
            torch.testing.assert_close(seen[0], net(images.clone()), **EXACT, msg=form)


@pytest.mark.parametrize(
    "function",
    [F.gelu, F.silu, F.leaky_relu, torch.tanh, lambda z: z.clamp(min=-1), F.hardtanh, lambda z: z.clamp(max=3)],
)
def test_without_a_relu_it_is_not_offered(function, images):
    net = tiny(function)
    before = snapshot(net)
    with pytest.raises(NotOffered, match="no ReLU ran"):
        backprop.guided(net, images, TARGET)
    after = snapshot(net)
    assert [kind for kind in before if before[kind] != after[kind]] == []


def test_a_relu_beside_the_way_does_not_count(images):
    """A network of GELUs stays one, whatever it rectifies that does not depend on the image."""

    class Net(Tiny):
        def forward(self, images):
            return super().forward(images) + F.relu(torch.ones(3).double())

    with pytest.raises(NotOffered):
        backprop.guided(seeded(lambda: Net(F.gelu)).requires_grad_(False), images, TARGET)


def test_resnet_in_place_against_modules_replaced():
    """The usual way, hooks on modules, where that is right: every ReLU a module that runs after the other."""
    net = seeded(lambda: torchvision.models.resnet18(num_classes=4)).double()
    pixels = noise(2, 3, 64, 48)
    found = backprop.guided(net, pixels, TARGET)

    class Guided(nn.Module):
        def forward(self, z):
            rectified = z.relu()
            if rectified.requires_grad:
                rectified.register_hook(lambda gradient: gradient.clamp(min=0))
            return rectified

    for module in list(net.modules()):
        if hasattr(module, "relu"):
            module.relu = Guided()
    torch.testing.assert_close(found, plain_gradient(net, pixels, TARGET)[0], **EXACT)


# ---- biases


def test_biases_against_the_oracle(images):
    net = tiny()
    gradient, products = backprop.biases(net, images, TARGET)
    assert [tuple(each.shape) for each in products] == [(2, 4, 5, 6), (2, 6, 5, 6), (2, 3)]
    for index, label in enumerate(TARGET.classes):
        x = images[index].numpy()
        wanted = oracle.bias_gradients(net.layers(), x, label)
        for one, other in zip(products, wanted, strict=True):
            np.testing.assert_allclose(one[index].numpy(), other, rtol=1e-10, atol=1e-14)
        slopes = oracle.backward(net.layers(), oracle.forward(net.layers(), x), label)[0]
        np.testing.assert_allclose(gradient[index].numpy(), slopes, rtol=1e-10, atol=1e-14)


def small_vgg16() -> nn.Module:
    """The convolutions of vgg16 as they are, in-place ReLUs and all, with narrow linear layers after them."""
    with torch.device("meta"):
        net = torchvision.models.vgg16(init_weights=False)
    net.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    net.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 4))
    return net


def lively(build: Callable[[], nn.Module]) -> nn.Module:
    """A seeded network whose biases and statistics are not the zeros and ones that they start as."""

    def make() -> nn.Module:
        net = build()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1, 0.2)
                nn.init.normal_(module.bias)
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            elif getattr(module, "bias", None) is not None:
                nn.init.normal_(module.bias)
        return net

    return seeded(make).double()


def total(products, images):
    return sum(each.reshape(len(images), -1).sum(1) for each in products)


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda: torchvision.models.resnet18(num_classes=4), 21),
        (small_vgg16, 15),
        (lambda: torchvision.models.densenet121(num_classes=4), 122),
    ],
    ids=["resnet18", "vgg16", "densenet121"],
)
def test_completeness(build, count):
    """`S = sum x dS/dx + sum b dS/db`, for each image by itself."""
    net, pixels = lively(build), noise(2, 3, 64, 48)
    gradient, products = backprop.biases(net, pixels, TARGET)
    with torch.no_grad():
        score = TARGET(net(pixels))
    assert len(products) == count
    torch.testing.assert_close(total([pixels * gradient, *products], pixels), score, rtol=1e-10, atol=1e-10)
    assert (total(products[:-1], pixels) + total([pixels * gradient], pixels) - score).abs().min() > 1e-4


class Functional(nn.Module):
    """SmallNet without a module that runs: the same parameters, used by functions."""

    def __init__(self, net: SmallNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem, norm, last, head = self.net.stem, self.net.norm, self.net.last, self.net.head
        grid = torch.conv2d(images, stem.weight, stem.bias, 2, 1)
        grid = F.batch_norm(grid, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        grid = F.conv2d(F.relu(grid), weight=last.weight, bias=last.bias, stride=2, padding=1)
        return F.linear(F.relu(grid).mean((2, 3)), head.weight, bias=head.bias)


def test_functions_and_modules_alike():
    net, pixels = lively(SmallNet), noise(2, 3, 24, 32)
    found = backprop.biases(Functional(net), pixels, TARGET)
    wanted = backprop.biases(net, pixels, TARGET)
    assert len(found[1]) == len(wanted[1]) == 4
    for one, other in zip((found[0], *found[1]), (wanted[0], *wanted[1]), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_in_place_and_not_alike(images):
    found = backprop.biases(tiny(RELUS["F.relu in place"]), images, TARGET)
    wanted = backprop.biases(tiny(), images, TARGET)
    for one, other in zip((found[0], *found[1]), (wanted[0], *wanted[1]), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("affine", [False, True])
def test_what_batch_norm_adds(affine):
    norm = nn.BatchNorm2d(3, affine=affine).double().eval()
    norm.running_mean.copy_(noise(3))
    norm.running_var.copy_(noise(3, seed=4).exp())
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    pixels = noise(2, 3, 2, 2)
    _, (product,) = backprop.biases(norm, pixels, lambda outputs: outputs.sum((1, 2, 3)))
    with torch.no_grad():
        at_zero = norm(torch.zeros_like(pixels))
    torch.testing.assert_close(product, at_zero, **EXACT)


def test_batch_norm_without_statistics_has_no_bias():
    class Trained(nn.Module):
        def forward(self, images):
            return F.batch_norm(images, torch.zeros(3).double(), torch.ones(3).double(), training=True)

    for norm in (nn.BatchNorm2d(3, track_running_stats=False), Trained()):
        net = nn.Sequential(norm, nn.Conv2d(3, 2, 1)).double()
        _, products = backprop.biases(net, noise(2, 3, 4, 4), lambda outputs: outputs.sum((1, 2, 3)))
        assert [tuple(each.shape) for each in products] == [(2, 2, 4, 4)]


@pytest.mark.parametrize("build", [nn.Conv2d, nn.ConvTranspose2d])
def test_convolutions_of_all_kinds(build):
    net = seeded(lambda: build(3, 2, 3, stride=2)).double()
    pixels = noise(2, 3, 5, 7)
    gradient, products = backprop.biases(net, pixels, lambda outputs: outputs.square().sum((1, 2, 3)) / 2)
    with torch.no_grad():
        wanted = net(pixels) * net.bias[:, None, None]  # dS/dz = z
    torch.testing.assert_close(products[0], wanted, **EXACT)
    assert gradient.shape == pixels.shape


def test_volumes():
    net = seeded(lambda: nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))).double()
    net(noise(1, 1, 4, 5, 6))
    volumes = noise(2, 1, 4, 5, 6)
    gradient, products = backprop.biases(net, volumes, TARGET)
    assert [tuple(each.shape) for each in products] == [(2, 2, 2, 3, 4), (2, 4)]
    with torch.no_grad():
        score = TARGET(net(volumes))
    torch.testing.assert_close(total([volumes * gradient, *products], volumes), score, **EXACT)
    assert backprop.guided(net, volumes, TARGET).shape == volumes.shape


def test_linear_layers_on_a_grid_are_summed_over_it():
    net = seeded(lambda: nn.Linear(3, 2)).double()
    pixels = noise(2, 4, 5, 3)
    _, (product,) = backprop.biases(net, pixels, lambda outputs: outputs[..., 0].sum((1, 2)))
    wanted = torch.stack([20 * net.bias[0].detach(), torch.tensor(0.0).double()]).expand(2, 2)
    torch.testing.assert_close(product, wanted, **EXACT)


def test_layers_that_the_score_does_not_reach_have_no_part(images):
    class Net(Tiny):
        def forward(self, images):
            self.head(self.second(self.first(images)).mean((2, 3)))
            return super().forward(images)

    found = backprop.biases(seeded(Net), images, TARGET)[1]
    wanted = backprop.biases(tiny(), images, TARGET)[1]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


# ---- what both promise


def both(net, images, target=TARGET):
    gradient, products = backprop.biases(net, images, target)
    return backprop.guided(net, images, target), gradient, *products


def agree(found, wanted, **tolerance):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **(tolerance or EXACT))


@pytest.mark.parametrize("build", [tiny, lambda: tiny(nn.ReLU(inplace=True)), lambda: lively(SmallNet)])
def test_batch_mates_do_not_matter(build):
    net, pixels = build(), noise(3, 3, 24, 32)
    together = both(net, pixels, ClassLogit((2, 0, 1)))
    for index, label in enumerate((2, 0, 1)):
        alone = both(net, pixels[index : index + 1], ClassLogit((label,)))
        agree([each[index : index + 1] for each in together], alone)


def test_the_top_class(images):
    net = tiny()
    with torch.no_grad():
        top = ClassLogit(tuple(net(images).argmax(1).tolist()))
    agree(both(net, images, TopClass()), both(net, images, top))


def test_single_precision(images):
    agree([each.double() for each in both(tiny().float(), images.float())], both(tiny(), images), rtol=1e-4, atol=1e-6)


def test_whatever_the_caller_s_grad_mode(images):
    net = tiny()
    wanted = both(net, images)
    with torch.no_grad():
        agree(both(net, images), wanted)
    with torch.inference_mode():
        agree(both(net, images.clone()), wanted)
    asking = images.clone().requires_grad_()
    found = both(net, asking)
    assert asking.grad is None
    assert not any(each.requires_grad for each in found)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_model_and_the_images_are_as_they_were(frozen, training):
    net, pixels = lively(SmallNet).train(training), noise(2, 3, 24, 32)
    net.requires_grad_(not frozen)
    before, kept = snapshot(net), pixels.clone()
    found = both(net, pixels)
    after = snapshot(net)
    assert [kind for kind in before if before[kind] != after[kind]] == []
    assert torch.equal(kept, pixels)
    agree(found, both(lively(SmallNet), pixels))


def test_a_model_that_changes_its_input_in_place(images):
    class Net(Tiny):
        def forward(self, images):
            return super().forward(images.mul_(2).relu_())

    kept = images.clone()
    backprop.guided(seeded(Net), images, TARGET)
    assert torch.equal(images, kept)


def test_the_model_is_as_it_was_after_an_exception(images):
    net = tiny(lambda z: F.relu(z) / 0 + 1 / 0)
    before = snapshot(net)
    for explain in (backprop.guided, backprop.biases):
        with pytest.raises(ZeroDivisionError):
            explain(net, images, TARGET)
        after = snapshot(net)
        assert [kind for kind in before if before[kind] != after[kind]] == []
    (plain,) = plain_gradient(tiny(), images, TARGET)
    leaf = images.clone().requires_grad_()
    agree(torch.autograd.grad(TARGET(tiny()(leaf)).sum(), leaf), [plain])  # no rule is left in force


def test_eight_threads_on_one_model():
    net = lively(SmallNet)
    pixels = [noise(1, 3, 24, 32, seed=seed) for seed in range(8)]
    wanted = [both(net, each, ClassLogit((1,))) for each in pixels]
    plain = [plain_gradient(net, each, ClassLogit((1,))) for each in pixels]
    found: list = [None] * 8
    start = threading.Barrier(8)

    def explain(index: int) -> None:
        start.wait()
        ask = both if index % 2 else plain_gradient
        found[index] = [ask(net, pixels[index], ClassLogit((1,))) for _ in range(4)]

    threads = [threading.Thread(target=explain, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, times in enumerate(found):
        for time in times:
            agree(time, wanted[index] if index % 2 else plain[index], rtol=0, atol=0)


class Blind(Tiny):
    def forward(self, images):
        return super().forward(torch.zeros_like(images))


class Cut(Tiny):
    def forward(self, images):
        return super().forward(images).detach()


@pytest.mark.parametrize("build", [Blind, Cut])
@pytest.mark.parametrize("explain", [backprop.guided, backprop.biases])
def test_scores_that_do_not_depend_on_the_image(build, explain, images):
    with pytest.raises(RequestError, match="do not depend on the images"):
        explain(seeded(build), images, TARGET)
