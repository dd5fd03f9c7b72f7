"""The capture holds what plain autograd gives, computes no more than that, and leaves no trace."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
import torch
import torchvision
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from camzoo import capture, native
from camzoo.errors import RequestError
from camzoo.targets import ClassLogit, TopClass
from camzoo.types import Evidence

NOTHING: frozenset[Evidence] = frozenset()


def noise(*shape: int, seed: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small_cut(net, images):
    """SmallNet by hand, cut after its last convolution, before the ReLU."""
    grid = net.last(net.act(net.norm(net.stem(images))))
    return grid, lambda a: net.head(functional.relu(a).mean((2, 3)))


def resnet_cut(net, images):
    """resnet18 by hand, cut after `layer4`."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
    grid = net.layer4(net.layer3(net.layer2(net.layer1(x))))
    return grid, lambda a: net.fc(a.mean((2, 3)))


def resnet_inner_cut(net, images):
    """resnet18 by hand, cut after the last batch norm: what follows adds to it in place, then an in-place ReLU."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
    x = net.layer4[0](net.layer3(net.layer2(net.layer1(x))))
    block = net.layer4[1]
    grid = block.bn2(block.conv2(functional.relu(block.bn1(block.conv1(x)))))
    return grid, lambda a: net.fc(functional.relu(a + x).mean((2, 3)))


def vgg_cut(last: int):
    """vgg16 by hand, cut after one of its features."""

    def cut(net, images):
        grid = net.features[: last + 1](images).clone()
        rest = net.features[last + 1 :]
        return grid, lambda a: net.classifier(torch.flatten(net.avgpool(rest(a.clone())), 1))

    return cut


def small_vgg16() -> nn.Module:
    """The convolutions of vgg16 as they are, with narrow linear layers after them."""
    with torch.device("meta"):
        net = torchvision.models.vgg16(weights=None, init_weights=False)
    net.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    net.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return net


# Model, layer, the same model cut by hand there, image shape.
CUTS: dict[str, tuple[Callable[[], nn.Module], str, Callable, tuple[int, ...]]] = {
    "SmallNet": (SmallNet, "last", small_cut, (3, 3, 24, 32)),
    "resnet18 layer4": (torchvision.models.resnet18, "layer4", resnet_cut, (2, 3, 64, 96)),
    "resnet18 bn2": (torchvision.models.resnet18, "layer4.1.bn2", resnet_inner_cut, (2, 3, 64, 96)),
    "vgg16 after the in-place ReLU": (small_vgg16, "features.29", vgg_cut(29), (2, 3, 32, 48)),
    "vgg16 before the in-place ReLU": (small_vgg16, "features.28", vgg_cut(28), (2, 3, 32, 48)),
}


@pytest.mark.parametrize("case", CUTS)
def test_equals_plain_autograd(case):
    build, layer, cut, shape = CUTS[case]
    net, images = seeded(build).double(), noise(*shape)
    classes = tuple(range(1, shape[0] + 1))
    (found,), layout = capture.take(net, layer, images, [ClassLogit(classes)])

    with torch.no_grad():
        grid, _ = cut(net, images)
    activations = grid.requires_grad_()
    with torch.no_grad():
        tail = cut(net, images)[1]
    scores = tail(activations)
    explained = scores[range(len(classes)), list(classes)]
    (gradients,) = torch.autograd.grad(explained.sum(), activations)

    for got, wanted in (
        (found.activations, activations),
        (found.gradients, gradients),
        (found.scores, scores),
        (found.explained, explained),
    ):
        assert got.shape == wanted.shape
        assert not got.requires_grad
        assert wanted.abs().max() > 0
        assert (got - wanted).abs().max() <= 1e-12 * wanted.abs().max()
    assert layout.shape == tuple(activations.shape[2:])


def test_equals_numerical_derivatives():
    """Independent of autograd: central differences of the tail in every one of a few cells."""
    net, images = seeded(SmallNet).double(), noise(2, 3, 24, 32)
    (found,), _ = capture.take(net, "last", images, [ClassLogit((1, 4))])
    grid, tail = small_cut(net, images)
    step = 1e-6
    for image, channel, row, column in ((0, 0, 0, 0), (1, 3, 5, 7), (0, 7, 2, 3), (1, 5, 4, 1)):
        ends = []
        for sign in (1, -1):
            moved = grid.detach().clone()
            moved[image, channel, row, column] += sign * step
            ends.append(float(tail(moved)[image, (1, 4)[image]].detach()))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(found.gradients[image, channel, row, column]) == pytest.approx(slope, abs=1e-8)


class InPlace(nn.Module):
    """A layer whose output is written over afterwards, in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4)
        self.layer = nn.Identity() if how == "by the giver" else nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)
        self.how = how

    def forward(self, images):
        before = self.conv(images)
        grid = self.layer(before)
        kept = grid.mean((2, 3))
        if self.how == "relu":
            grid = self.relu(grid)
        elif self.how == "arithmetic":
            grid += 1
            grid *= 2
        elif self.how == "through a view":
            grid[:, ::2].zero_()
            grid.flatten(2).transpose(1, 2).add_(3)
        elif self.how == "by the giver":
            before.fill_(9)  # the layer passed its input on, and that is written over
        return self.head(grid.mean((2, 3)) + kept)


@pytest.mark.parametrize("how", ["relu", "arithmetic", "through a view", "by the giver"])
@pytest.mark.parametrize("needs", [capture.GRADIENTS, NOTHING], ids=["with gradients", "without"])
def test_a_later_write_in_place_does_not_change_the_activations(how, needs):
    net, images = seeded(lambda: InPlace(how)), noise(2, 3, 24, 32, dtype=torch.float32)
    (found,), _ = capture.take(net, "layer", images, [TopClass()], needs)
    with torch.no_grad():
        wanted = net.layer(net.conv(images))
    assert torch.equal(found.activations, wanted)


def test_the_model_gets_what_the_layer_gave(small_net, images):
    """The scores are those of the untouched model, bit for bit."""
    (found,), _ = capture.take(small_net, "last", images, [TopClass()])
    with torch.no_grad():
        assert torch.equal(found.scores, small_net(images))


class Recorder(TorchDispatchMode):
    """Every operation with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple, object]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func.name(), args, result))
        return result


def weight_gradients(calls, net: nn.Module) -> list[str]:
    """The operations that gave a fresh tensor as large as a parameter, or were asked by mask for its gradient."""
    shapes = {tuple(parameter.shape) for parameter in net.parameters()}
    owned = {parameter.data_ptr() for parameter in net.parameters()}
    found = []
    for name, args, result in calls:
        if "convolution_backward" in name and any(args[-1][1:]):
            found.append(name)
        results = result if isinstance(result, tuple | list) else [result]
        for each in results:
            if isinstance(each, torch.Tensor) and each.data_ptr() not in owned:
                turned = tuple(reversed(each.shape))
                if tuple(each.shape) in shapes or (each.ndim == 2 and turned in shapes):
                    found.append(name)
    return found


def test_no_parameter_gradient_is_computed():
    net, images = seeded(SmallNet), noise(3, 3, 24, 32, dtype=torch.float32)
    with Recorder() as recorder:
        capture.take(net, "act", images, [ClassLogit((0, 1, 2)), TopClass()])
    backward = [name for name, _, _ in recorder.calls if "convolution_backward" in name]
    assert len(backward) == 2  # the one convolution after the layer, for each of the two targets
    assert weight_gradients(recorder.calls, net) == []
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_recorder_sees_parameter_gradients():
    """What the test above looks for is there in a plain backward pass."""
    net, images = seeded(SmallNet), noise(3, 3, 24, 32, dtype=torch.float32)
    with Recorder() as recorder:
        net(images)[:, 0].sum().backward()
    seen = weight_gradients(recorder.calls, net)
    assert sum("convolution_backward" in name for name in seen) >= 2
    assert any("mm" in name for name in seen)


@pytest.mark.parametrize("frozen", [False, True])
def test_no_graph_before_the_layer(frozen):
    net = seeded(SmallNet).requires_grad_(not frozen)
    outputs: dict[str, torch.Tensor] = {}
    saved: list[torch.Size] = []
    saved_before: list[int] = []
    for name, module in net.named_children():
        module.register_forward_hook(lambda _m, _i, output, name=name: outputs.__setitem__(name, output))
    net.last.register_forward_hook(lambda *_: saved_before.append(len(saved)))

    def pack(tensor):
        saved.append(tensor.shape)
        return tensor

    images = noise(3, 3, 24, 32, dtype=torch.float32).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        capture.take(net, "last", images, [TopClass()])
    for name in ("stem", "norm", "act", "last"):
        assert outputs[name].grad_fn is None, name
        assert not outputs[name].requires_grad
    for name in ("last_act", "pool", "head"):
        assert outputs[name].grad_fn is not None, name
    assert saved_before == [0]
    assert saved
    assert images.grad is None


def test_without_gradients_there_is_no_graph_at_all(small_net, images):
    outputs = []
    for module in small_net.modules():
        module.register_forward_hook(lambda _m, _i, output: outputs.append(output))
    (found,), _ = capture.take(small_net, "last", images, [TopClass()], NOTHING)
    assert found.gradients is None
    assert found.hessian_product is None
    assert len(outputs) == len(list(small_net.modules()))
    assert not any(output.requires_grad for output in outputs)


def test_targets_share_one_forward_pass(small_net, images):
    runs = []
    small_net.register_forward_pre_hook(lambda *_: runs.append(1))
    targets = [ClassLogit((2, 2, 2)), TopClass(), ClassLogit((0, 1, 4)), TopClass(1)]
    together, _ = capture.take(small_net, "last", images, targets)
    assert len(runs) == 1
    for target, shared in zip(targets, together, strict=True):
        (alone,), _ = capture.take(small_net, "last", images, [target])
        assert torch.equal(alone.activations, shared.activations)
        assert torch.equal(alone.gradients, shared.gradients)
        assert torch.equal(alone.explained, shared.explained)
    assert not torch.equal(together[0].gradients, together[1].gradients)


def test_an_image_does_not_depend_on_its_batch_mates(images):
    net = seeded(SmallNet).double()
    (batch,), _ = capture.take(net, "last", images.double(), [ClassLogit((0, 1, 2))])
    for index in range(3):
        (single,), _ = capture.take(net, "last", images[index : index + 1].double(), [ClassLogit((index,))])
        assert (batch.activations[index] - single.activations[0]).abs().max() <= 1e-14
        assert (batch.gradients[index] - single.gradients[0]).abs().max() <= 1e-15


def reference(net, images):
    (found,), _ = capture.take(net, "last", images, [ClassLogit((0, 1, 2))])
    return found


def assert_same(found, wanted) -> None:
    assert torch.equal(found.activations, wanted.activations)
    assert torch.equal(found.gradients, wanted.gradients)
    assert torch.equal(found.scores, wanted.scores)
    assert not found.activations.is_inference()
    assert not found.gradients.is_inference()


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_grad_mode_does_not_matter(small_net, images, around):
    wanted = reference(small_net, images)
    with around():
        mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        found = reference(small_net, images)
        made_inside = reference(small_net, images.clone())
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == mode
    assert_same(found, wanted)
    assert_same(made_inside, wanted)


def test_images_made_in_inference_mode_may_be_used_after_the_layer():
    class Skips(SmallNet):
        def forward(self, images):
            return super().forward(images) * images[:, :1, 0, 0]  # a view, saved for the backward pass

    net = seeded(Skips)
    with torch.inference_mode():
        images = noise(3, 3, 24, 32, dtype=torch.float32)
        found = reference(net, images)
    assert_same(found, reference(net, images.clone()))


def test_a_training_model_and_frozen_parameters_do_not_matter(small_net, images):
    wanted = reference(small_net, images)
    small_net.train()
    small_net.act.eval()
    small_net.requires_grad_(False)
    small_net.head.bias.requires_grad_(True)
    before = snapshot(small_net)
    assert_same(reference(small_net, images), wanted)
    assert snapshot(small_net) == before


class Broken(SmallNet):
    """Raises after its layer has run."""

    def forward(self, images):
        super().forward(images)
        raise ZeroDivisionError("the user's own")


class Unused(SmallNet):
    """Has a layer that never runs, one that runs twice, and one that does not reach the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.never = nn.Conv2d(3, 4, 3)
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.aside = nn.Conv2d(3, 4, 3)
        self.pair = nn.LSTM(4, 4)

    def forward(self, images):
        self.aside(images)
        self.pair(images.new_zeros(1, 1, 4))
        return super().forward(self.twice(self.twice(images)))


REFUSED = {
    "layer that never runs": ("never", TopClass(), "'never' did not run"),
    "layer that runs twice": ("twice", TopClass(), "'twice' runs 2 times"),
    "layer that does not reach the scores": ("aside", TopClass(), "do not depend on layer 'aside'"),
    "layer that gives a tuple": ("pair", TopClass(), "'pair' gives a tuple"),
    "layer without a grid": ("head", TopClass(), r"'head' gives \(3, 5\)"),
    "class out of range": ("last", ClassLogit((0, 5, 0)), "class 5 is out of range: the model has 5 classes"),
    "negative class": ("last", ClassLogit((-1, 0, 0)), "class -1 is out of range"),
    "rank out of range": ("last", TopClass(5), "rank 5 is out of range"),
    "target of one number": ("last", lambda outputs: outputs[0, 0], r"one score for each image, \(3,\).*gives \(\)"),
    "target of all classes": ("last", lambda outputs: outputs, r"gives \(3, 5\)"),
    "target of no tensor": ("last", lambda outputs: 1.0, "gives a float"),
    "target that is detached": ("last", lambda outputs: outputs.detach()[:, 0], "do not depend on layer 'last'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_in_one_line_and_leaves_no_trace(case, images):
    layer, target, message = REFUSED[case]
    net = seeded(Unused).train()
    before = snapshot(net)
    with pytest.raises(RequestError, match=message) as caught:
        capture.take(net, layer, images, [target])
    assert "\n" not in str(caught.value)
    assert snapshot(net) == before


@pytest.mark.parametrize("needs", list(Evidence), ids=str)
def test_leaves_no_trace(images, needs):
    net = seeded(SmallNet).train()
    net.last.register_forward_hook(lambda *_: None)
    net.last.weight.grad = torch.ones_like(net.last.weight)
    before = snapshot(net)
    capture.take(net, "last", images, [TopClass()], frozenset({needs}))
    assert snapshot(net) == before
    broken = Broken().train()
    before = snapshot(broken)
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        capture.take(broken, "last", images, [TopClass()], frozenset({needs}))
    assert snapshot(broken) == before


def test_a_callers_hook_on_the_layer_is_obeyed(small_net, images):
    """The activations are what the model goes on with, the caller's own hook included."""
    small_net.last.register_forward_hook(lambda _m, _i, output: 2 * output)
    (found,), _ = capture.take(small_net, "last", images, [TopClass()])
    with torch.no_grad():
        wanted, _ = small_cut(small_net, images)
    assert torch.equal(found.activations, wanted)


def test_the_top_class_is_decided_once(small_net, images):
    """Altered images are scored at the class of the unaltered ones, not at their own top class."""
    needs = frozenset({Evidence.INPUT_SCORES, Evidence.RETAKE, Evidence.GRADIENTS})
    (found,), _ = capture.take(small_net, "last", images, [TopClass()], needs)
    altered = 40 * images.flip(1)
    with torch.no_grad():
        classes, outputs = small_net(images).argmax(1), small_net(altered)
    assert bool((classes != outputs.argmax(1)).any()), "the case would prove nothing"
    for index in range(3):
        scores = found.ask.score_inputs(index, lambda start, stop: altered[start:stop], 3)
        assert torch.allclose(scores, outputs[:, classes[index]], rtol=1e-5)
    again = found.ask.retake(capture.GRADIENTS, images=altered)
    assert torch.allclose(again.explained, outputs.gather(1, classes[:, None])[:, 0], rtol=1e-5)


SEVERAL = ("stem", "norm", "last", "last_act")


@pytest.mark.parametrize("layers", [SEVERAL, SEVERAL[::-1], ("last", "last", "stem")], ids=str)
@pytest.mark.parametrize("needs", [NOTHING, capture.GRADIENTS, frozenset({Evidence.HESSIAN}), frozenset(Evidence)])
def test_several_layers_are_captured_as_each_alone(images, layers, needs):
    """To the digit, for every target, whatever the order in which the layers are named."""
    net = seeded(SmallNet)
    net.act, net.last_act = nn.Softplus(), nn.Tanh()  # which have a second derivative
    targets, before = [ClassLogit((0, 1, 2)), TopClass()], snapshot(net)
    together = capture.take_layers(net, layers, images, targets, needs)
    assert snapshot(net) == before
    assert len(together) == len(layers)
    for layer, (found, layout) in zip(layers, together, strict=True):
        wanted, wanted_layout = capture.take(net, layer, images, targets, needs)
        assert str(layout) == str(wanted_layout)
        for one, other in zip(found, wanted, strict=True):
            assert one.ask.layer == layer
            for name in ("activations", "gradients", "hessian_product", "scores", "explained", "classes"):
                given, asked = getattr(one, name), getattr(other, name)
                assert (given is None) == (asked is None)
                assert given is None or (torch.equal(given, asked) and not given.requires_grad)


def test_several_layers_of_which_one_does_not_fit_leave_no_trace(small_net, images):
    before = snapshot(small_net)
    with pytest.raises(RequestError, match="layer 'head'"):
        capture.take_layers(small_net, ["stem", "head"], images, [TopClass()])
    with pytest.raises(ValueError, match="a class that breaks"):
        capture.take_layers(small_net, ["stem", "last"], images, [_broken])
    assert snapshot(small_net) == before


def _broken(_outputs: torch.Tensor) -> torch.Tensor:
    raise ValueError("a class that breaks")


def test_each_layer_has_a_part_of_the_model_after_it(images):
    net = seeded(SmallNet)
    for (found,), _ in capture.take_layers(net, SEVERAL, images, [ClassLogit((1, 2, 0))], frozenset(Evidence)):
        own = found.activations[1].expand(2, *found.activations.shape[1:])
        again = found.ask.score_activations(1, lambda start, stop, own=own: own[start:stop].clone(), 2)
        assert found.ask.notes == []
        assert torch.allclose(again, found.explained[1].expand(2), rtol=1e-5)


def test_before_any_pass_the_top_class_is_looked_up_for_altered_images_and_once(small_net, images):
    classes = ClassLogit(tuple(small_net(images).argmax(1).tolist()))
    calls: list[int] = []
    handle = small_net.register_forward_hook(lambda *_: calls.append(1))
    ask = capture.untaken(small_net, "last", images, TopClass()).ask
    assert calls == []
    as_they_are = ask.retake(capture.GRADIENTS)
    assert (len(calls), ask.target) == (1, TopClass())
    assert tuple(as_they_are.classes.tolist()) == classes.classes
    for runs in (3, 4):
        assert ask.retake(capture.GRADIENTS, images=-images).ask.target == classes
        assert (len(calls), ask.target) == (runs, classes)
    handle.remove()


def test_a_pass_that_somebody_else_makes_is_watched(small_net, images):
    found: list[capture.Grid] = []
    small_net.eval()
    before = snapshot(small_net)
    with capture.beside(small_net, "norm", images, found), torch.no_grad():
        assert found == []
        small_net(images)
    assert snapshot(small_net) == before
    ((grid, layout),) = found
    (wanted,), wanted_layout = capture.take(small_net, "norm", images, [TopClass()], NOTHING)
    assert torch.equal(grid, wanted.activations)
    assert str(layout) == str(wanted_layout)
    with pytest.raises(RequestError, match="did not run"), capture.beside(small_net, "norm", images, found):
        pass
    with pytest.raises(RequestError, match="runs 2 times"), capture.beside(small_net, "norm", images, found):
        _ = small_net(images), small_net(images)
    assert snapshot(small_net) == before


def test_a_grid_of_tokens():
    """A layer of tokens is read as a grid, its prefix left out, its gradient laid out alike."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 8, 8)
            self.prefix = nn.Parameter(torch.randn(1, 2, 8))
            self.layer = nn.LayerNorm(8)
            self.head = nn.Linear(8, 5)

        def forward(self, images):
            tokens = self.patches(images).flatten(2).mT
            tokens = self.layer(torch.cat([self.prefix.expand(len(images), -1, -1), tokens], 1))
            return self.head((tokens**2).mean(1))

    net, images = seeded(Tokens).double(), noise(2, 3, 24, 40)
    (found,), layout = capture.take(net, "layer", images, [ClassLogit((1, 2))])
    assert (layout.kind, layout.shape, layout.prefix) == ("tokens", (3, 5), 2)
    tokens = net.layer(torch.cat([net.prefix.expand(2, -1, -1), net.patches(images).flatten(2).mT], 1)).detach()
    wanted = tokens[:, 2:].mT.reshape(2, 8, 3, 5)
    assert (found.activations - wanted).abs().max() <= 1e-12
    slopes = 2 * wanted / tokens.shape[1] * net.head.weight[[1, 2]][:, :, None, None]
    assert (found.gradients - slopes).abs().max() <= 1e-12


def test_channels_last_and_volumes():
    class Swapped(SmallNet):
        def __init__(self) -> None:
            super().__init__()
            self.swap = nn.Identity()

        def forward(self, images):
            grid = self.swap(self.last_act(self.last(self.stem(images)[:, :6])).permute(0, 2, 3, 1))
            return self.head(grid.mean((1, 2)))

    net, images = seeded(Swapped).double(), noise(2, 3, 24, 40)
    (last,), layout = capture.take(net, "swap", images, [ClassLogit((1, 2))])
    (first,), _ = capture.take(net, "last_act", images, [ClassLogit((1, 2))])
    assert (layout.kind, layout.shape) == ("channels-last", (6, 10))
    assert torch.equal(last.activations, first.activations)
    assert torch.equal(last.gradients, first.gradients)

    class Volume(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(1, 4, 3, stride=2, padding=1)
            self.head = nn.Linear(4, 3)

        def forward(self, images):
            return self.head(self.conv(images).mean((2, 3, 4)))

    net = seeded(Volume).double()
    (found,), layout = capture.take(net, "conv", noise(2, 1, 8, 12, 16), [ClassLogit((0, 2))])
    assert layout.shape == (4, 6, 8)
    wanted = (net.head.weight[[0, 2]] / (4 * 6 * 8))[:, :, None, None, None].expand_as(found.gradients)
    assert (found.gradients - wanted).abs().max() <= 1e-15


@pytest.fixture
def eager_switching():
    """Threads change as often as the interpreter lets them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("build", [SmallNet, torchvision.models.resnet18], ids=["SmallNet", "resnet18"])
def test_eight_threads_on_one_model(build):
    net = seeded(build).train()
    layer, rounds = ("last", 15) if build is SmallNet else ("layer4", 2)
    batches = [noise(2, 3, 32, 48, seed=seed, dtype=torch.float32) for seed in range(8)]
    targets = [TopClass(), ClassLogit((1, 2))]
    wanted = [capture.take(net, layer, batch, targets)[0] for batch in batches]
    before = snapshot(net)
    start, wrong = threading.Barrier(8), []

    def work(index: int) -> None:
        start.wait()
        for _ in range(rounds):
            try:
                found, _ = capture.take(net, layer, batches[index], targets)
                for one, other in zip(found, wanted[index], strict=True):
                    assert_same(one, other)
            except BaseException as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert snapshot(net) == before


@pytest.mark.parametrize(("layer", "told"), [("0", True), ("1", False)])
def test_a_map_of_what_is_overwritten_says_so(layer, told, images):
    """Before an in-place ReLU the evidence is that before the activation; the reader has to know."""
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
        )
    )
    (taken,), _ = capture.take(net, layer, images, [ClassLogit((1, 1, 1))])
    assert (capture.OVERWRITTEN in taken.ask.notes) == told
    assert bool((taken.activations < 0).any()) == told
    assert (capture.OVERWRITTEN in native.heatmap(taken, "gradcam", {}).notes) == told
