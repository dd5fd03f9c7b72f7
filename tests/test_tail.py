"""The part of a model after a layer, run alone: against the whole model with the layer's output replaced by a hook."""

from __future__ import annotations

import sys
import threading
import types
from collections import Counter, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision
from conftest import SmallNet, require, seeded
from snapshots import snapshot
from torch import nn
from torch.nn import functional

from camzoo import capture, tail
from camzoo.errors import RequestError
from camzoo.targets import ClassLogit, select
from camzoo.types import Evidence, Settings

TAIL = frozenset({Evidence.ACTIVATION_SCORES})
WHOLE = "the whole model was run"
CHANCE = "does not give its own scores again"


def noise(*shape: int, seed: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def take(net, layer, images, classes=None, **settings):
    classes = classes or tuple(at % 4 for at in range(len(images)))
    (taken,), layout = capture.take(net, layer, images, [ClassLogit(classes)], TAIL, settings=Settings(**settings))
    return taken, layout


def replaced_by_hook(net, layer, images, altered) -> torch.Tensor:
    """The oracle: the whole model, and nothing of camzoo."""
    handle = net.get_submodule(layer).register_forward_hook(lambda *_: altered.clone())
    try:
        with torch.no_grad():
            return select(net(images.repeat(len(altered), 1, 1, 1)))
    finally:
        handle.remove()


def error(found, wanted) -> float:
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


def ask(net, layer, images, image=0, count=5, **settings):
    """Scores of random altered activations, the scores of the oracle, and the notes on how they were come by."""
    taken, layout = take(net, layer, images, **settings)
    grids = noise(count, *taken.activations.shape[1:], seed=9).to(images.dtype)
    found = taken.ask.score_activations(image, lambda start, stop: grids[start:stop].clone(), count)
    altered = layout.from_grid(grids, taken.ask.output[image : image + 1])
    outputs = replaced_by_hook(net, layer, images[image : image + 1], altered)
    return found, outputs[:, image % 4], [note for note in taken.ask.notes if note != capture.OVERWRITTEN]


# Networks in use ---------------------------------------------------------------------------------------------------


def small_vgg16() -> nn.Module:
    with torch.device("meta"):
        net = torchvision.models.vgg16(weights=None, init_weights=False)
    net.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    net.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return net


def small_vit() -> nn.Module:
    net = torchvision.models.VisionTransformer(64, 16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32)
    nn.init.normal_(net.heads.head.weight)  # zeros before
    return net


def inception() -> nn.Module:
    return torchvision.models.inception_v3(weights=None, init_weights=False, aux_logits=True)


def googlenet() -> nn.Module:
    return torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)


ZOO: dict[str, tuple[Any, str, tuple[int, int], bool]] = {
    "resnet18 layer1": (torchvision.models.resnet18, "layer1", (64, 32), False),
    "resnet18 layer2.0.conv1": (torchvision.models.resnet18, "layer2.0.conv1", (64, 32), False),
    "resnet18 after the relu": (torchvision.models.resnet18, "layer2.0.conv2", (64, 32), False),
    "resnet18 layer4.1.bn1": (torchvision.models.resnet18, "layer4.1.bn1", (64, 32), False),
    "vgg16": (small_vgg16, "features.5", (32, 48), False),
    "vit": (small_vit, "encoder.layers.encoder_layer_1", (64, 64), False),
    "vit inside a block": (small_vit, "encoder.layers.encoder_layer_2.ln_1", (64, 64), False),
    "densenet121": (torchvision.models.densenet121, "features.denseblock3", (64, 32), False),
    "densenet121 inside": (torchvision.models.densenet121, "features.denseblock4.denselayer15.conv1", (64, 32), False),
    "mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, "features.8", (64, 32), False),
    "mobilenet_v3_small inside": (torchvision.models.mobilenet_v3_small, "features.9.block.1", (64, 32), False),
    "efficientnet_b0": (torchvision.models.efficientnet_b0, "features.5", (64, 32), False),
    "googlenet": (googlenet, "inception4c.branch2.0", (64, 32), False),
    "inception_v3": (inception, "Mixed_6c.branch7x7_2.conv", (96, 128), True),
    "swin_t": (torchvision.models.swin_t, "features.5", (64, 96), True),
    "swin_t inside": (torchvision.models.swin_t, "features.7.0.norm2", (64, 96), True),
    "convnext_tiny": (torchvision.models.convnext_tiny, "features.5.3", (64, 32), True),
}


@pytest.mark.parametrize("case", [pytest.param(name, marks=[pytest.mark.slow] * ZOO[name][3]) for name in ZOO])
def test_equals_the_whole_model(case):
    build, layer, size, _ = ZOO[case]
    net = seeded(build).double()
    found, wanted, notes = ask(net, layer, noise(2, 3, *size), image=1)
    assert notes == []  # so it was the part after the layer that ran
    assert error(found, wanted) <= 1e-12
    assert wanted.unique().numel() == len(wanted)  # the layer matters


@pytest.mark.slow
def test_timm_with_a_prefix_of_registers():
    timm = require("timm")
    net = seeded(lambda: timm.create_model("vit_tiny_patch16_224", img_size=(64, 96), reg_tokens=4, num_classes=5))
    found, wanted, notes = ask(net.double(), "blocks.3", noise(2, 3, 64, 96), image=1)
    assert notes == []
    assert error(found, wanted) <= 1e-12


def test_a_recorded_output_that_is_written_on_is_told():
    """resnet18 adds the shortcut to the output of bn2 in place, and bn2 ran before."""
    net = seeded(torchvision.models.resnet18).double()
    found, wanted, notes = ask(net, "layer2.0.downsample.0", noise(1, 3, 64, 32), count=2)
    assert [WHOLE in note for note in notes] == [True]
    assert error(found, wanted) <= 1e-12


# Any module at all -------------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """Stem, layer and head; the others differ in what is between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.layer = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def scores(self, grid: torch.Tensor) -> torch.Tensor:
        return self.head(grid.tanh().mean((2, 3)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(self.layer(self.stem(images)))


class InPlaceAfter(Plain):
    def forward(self, images):
        grid = self.layer(self.stem(images))
        functional.relu_(grid)
        grid *= 1.5
        return self.scores(grid.add_(1))


class Residual(Plain):
    def forward(self, images):
        skip = self.stem(images)
        grid = self.layer(skip)
        grid += skip
        return self.scores(grid)


class SkipWrittenInPlace(Plain):
    def forward(self, images):
        skip = self.stem(images)
        skip += self.layer(skip)
        return self.scores(skip)


class InPlaceBefore(Plain):
    def forward(self, images):
        return self.scores(self.layer(functional.relu_(self.stem(images))))


class ReadsTraining(Plain):
    def forward(self, images):
        grid = self.layer(self.stem(images))
        factors = [3.0 if module.training else 1.0 for module in (self, self.stem, self.layer, self.head)]
        return self.scores(grid * factors[0] * factors[1] * factors[2] * factors[3])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)

    def forward(self, images):
        self.skip = self.conv(images)
        return self.skip.tanh()


class ThroughAttributes(Plain):
    """The head reads what the encoder left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Encoder()

    def forward(self, images):
        return self.scores(self.layer(self.stem(images)) + self.stem.skip)


class OwnAttribute(Plain):
    def forward(self, images):
        self.skip = self.stem(images)
        return self.scores(self.layer(self.skip) + self.skip)


class Splits(nn.Module):
    """Gives its grid in a container."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.wrap = wrap

    def forward(self, images):
        grid = self.conv(images)
        return self.wrap(grid, {"deep": [grid * 2, None, 7]})


Pair = namedtuple("Pair", ["grid", "more"])


@dataclass
class Found:
    grid: torch.Tensor
    more: Any


class Containers(Plain):
    def __init__(self, wrap) -> None:
        super().__init__()
        self.stem = Splits(wrap)

    def forward(self, images):
        found = self.stem(images)
        grid, more = (found["grid"], found["more"]) if isinstance(found, dict) else found_in(found)
        return self.scores(self.layer(grid) + more["deep"][0] * more["deep"][2])


def found_in(found):
    return (found.grid, found.more) if hasattr(found, "grid") else found


class TiedActivation(Plain):
    """One ReLU before, after and within another module."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.before = nn.Sequential(nn.Conv2d(6, 6, 1), self.act)
        self.after = nn.Sequential(nn.Conv2d(6, 6, 1), self.act)

    def forward(self, images):
        grid = self.before(self.act(self.stem(images)))
        return self.scores(self.after(self.act(self.layer(self.act(grid - 0.1)))))


class TiedWithTheLayer(Plain):
    """One activation in the layer, before it and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.layer = nn.Sequential(self.act, self.layer, self.act)

    def forward(self, images):
        return self.scores(self.act(self.layer(self.act(self.stem(images))) - 0.1))


class TiedWeights(Plain):
    """One convolution before the layer and, with the same weights and under another name, after it."""

    def __init__(self) -> None:
        super().__init__()
        self.once = nn.Conv2d(6, 6, 1)
        self.again = self.once

    def forward(self, images):
        grid = self.layer(self.again(self.once(self.stem(images))))
        return self.scores(self.again(self.once(grid)))


class Blocks(Plain):
    """Lists of modules, which never run themselves, and a Sequential that is walked through and so runs again."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.ModuleList([nn.Conv2d(6, 6, 1), nn.ModuleDict({"a": nn.Conv2d(6, 6, 1)})])
        self.walked = nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU())
        self.late = nn.ModuleList([nn.Conv2d(6, 6, 1)])

    def forward(self, images):
        grid = self.early[1]["a"](self.early[0](self.stem(images)))
        for module in self.walked:
            grid = module(grid)
        return self.scores(self.late[0](self.layer(grid)))


class Holder(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, grid):
        return self.inner(grid)


class SecondName(Plain):
    """The layer is called by a module in which it has another name."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = Holder(self.layer)

    def forward(self, images):
        return self.scores(self.holder(self.stem(images)))


class Hidden(Plain):
    """Its modules are called from a list that PyTorch does not know of: a copy of the model still calls these."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.stem, self.layer]

    def forward(self, images):
        grid = images
        for module in self.hidden:
            grid = module(grid)
        return self.scores(grid)


class Lambda(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


class CapturedModules(Plain):
    """A lambda holds the original modules, one of which ran before as well."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        act, head = self.act, self.head
        self.rest = Lambda(lambda grid: head(act(grid).mean((2, 3))))

    def forward(self, images):
        return self.rest(self.layer(self.act(self.stem(images))))


class CapturedLayer(Plain):
    """A lambda runs the original layer itself."""

    def __init__(self) -> None:
        super().__init__()
        layer = self.layer
        self.rest = Lambda(lambda grid: layer(grid))

    def forward(self, images):
        return self.scores(self.rest(self.stem(images)))


class LooksAgain(Plain):
    def forward(self, images):
        grid = self.layer(self.stem(images))
        return self.scores(grid + images[:, :1, ::2, ::2])


class WritesOnItsInput(Plain):
    def forward(self, images):
        grid = self.layer(self.stem(images))
        return self.scores(grid + images.clamp_(-1, 1)[:, :1, ::2, ::2])


class Constant(nn.Module):
    """Gives a value that has no axis of images."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(1, 2, 6))

    def forward(self):
        return self.scale


class WithoutImages(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.constant = Constant()

    def forward(self, images):
        scale = self.constant()[:, None, None]
        return self.scores(self.layer(self.stem(images)) * scale)


class SequenceFirst(Plain):
    """Between stem and layer the images are the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = Lambda(lambda grid: grid.flatten(2).permute(2, 0, 1))

    def forward(self, images):
        grid = self.stem(images)
        skip = self.turn(grid).permute(1, 2, 0).reshape(grid.shape)
        return self.scores(self.layer(grid) + skip)


class Pairs(nn.Module):
    """Two rows an image, as of windows."""

    def forward(self, grid):
        return torch.stack([grid, 2 * grid], 1).flatten(0, 1)


class Windows(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.pairs = Pairs()

    def forward(self, images):
        grid = self.stem(images)
        windows = self.pairs(grid)
        return self.scores(self.layer(grid) + windows.unflatten(0, (len(images), 2))[:, 1])


class Counting(nn.Module):
    """Hidden state: something else at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, grid):
        self.calls += 1
        return grid / self.calls


class State(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.counting = Counting()

    def forward(self, images):
        return self.counting(self.scores(self.layer(self.stem(images))))


class BatchMates(Plain):
    """What an image scores depends on the others."""

    def forward(self, images):
        return self.scores(self.layer(self.stem(images))) + images.mean() * 3


def bound_to_the_original() -> nn.Module:
    """A forward pass of its own, as people patch one in: a copy of the model still runs the original."""
    net = Plain()
    net.forward = types.MethodType(Residual.forward, net)
    return net


def hooked() -> nn.Module:
    """The caller's own hook changes the scores."""
    net = Plain()
    net.register_forward_hook(lambda _module, _inputs, output: output * 2 + 1)
    return net


ALONE = {
    "plain": Plain,
    "in place after": InPlaceAfter,
    "residual": Residual,
    "reads training": ReadsTraining,
    "own attribute": OwnAttribute,
    "tuple": lambda: Containers(lambda *found: found),
    "list": lambda: Containers(lambda *found: list(found)),
    "named tuple": lambda: Containers(Pair),
    "dict": lambda: Containers(lambda grid, more: {"grid": grid, "more": more}),
    "dataclass": lambda: Containers(Found),
    "tied activation": TiedActivation,
    "tied with the layer": TiedWithTheLayer,
    "tied weights": TiedWeights,
    "lists of modules": Blocks,
    "second name": SecondName,
    "captured modules": CapturedModules,
    "looks again": LooksAgain,
    "windows": Windows,
}
BY_THE_WHOLE = {
    "skip written in place": SkipWrittenInPlace,
    "in place before": InPlaceBefore,
    "hidden list": Hidden,
    "captured layer": CapturedLayer,
    "bound to the original": bound_to_the_original,
    "sequence first": SequenceFirst,
    "no axis of images": WithoutImages,
    "a hook on the model": hooked,
}
CHUNKS = [1, 2, 3, 7]


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("case", ALONE)
def test_the_part_after_the_layer_runs_alone(case, images):
    net = seeded(ALONE[case]).double()
    for chunk in CHUNKS:
        found, wanted, notes = ask(net, "layer", noise(images, 3, 8, 12), images - 1, 7, chunk=chunk)
        assert notes == []
        assert error(found, wanted) <= 1e-13


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("case", BY_THE_WHOLE)
def test_else_the_whole_model_runs_and_says_so(case, images):
    net = seeded(BY_THE_WHOLE[case]).double()
    for chunk in CHUNKS:
        found, wanted, notes = ask(net, "layer", noise(images, 3, 8, 12), images - 1, 7, chunk=chunk)
        assert [WHOLE in note for note in notes] == [True]
        assert error(found, wanted) <= 1e-13


@pytest.mark.parametrize("images", [1, 2, 3])
def test_state_in_another_module(images):
    """Alone or by the whole model: right in both ways."""
    net = seeded(ThroughAttributes).double()
    for chunk in CHUNKS:
        found, wanted, _ = ask(net, "layer", noise(images, 3, 8, 12), images - 1, 7, chunk=chunk)
        assert error(found, wanted) <= 1e-13


@pytest.mark.parametrize(("build", "images"), [(State, 1), (State, 2), (BatchMates, 2)])
def test_scores_that_do_not_come_again_are_told(build, images):
    _, _, notes = ask(seeded(build).double(), "layer", noise(images, 3, 8, 12))
    assert [WHOLE in note for note in notes] == [True, False]
    assert CHANCE in notes[1]


def test_a_batch_mate_is_no_matter_where_it_does_not_come_in():
    found, wanted, notes = ask(seeded(BatchMates).double(), "layer", noise(1, 3, 8, 12))
    assert notes == []
    assert error(found, wanted) <= 1e-13


def test_an_input_that_is_written_on():
    images = noise(1, 3, 8, 12).clamp(-1, 1)
    found, wanted, notes = ask(seeded(WritesOnItsInput).double(), "layer", images, count=7, chunk=1)
    assert WHOLE in notes[0]
    assert error(found, wanted) <= 1e-13


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_does_not_hide_a_part_that_goes_its_own_way(dtype):
    net = seeded(CapturedLayer).to(dtype)
    found, wanted, notes = ask(net, "layer", noise(1, 3, 8, 12, dtype=torch.float32).to(dtype))
    assert WHOLE in notes[0]
    assert error(found.float(), wanted.float()) <= 0.02


def test_a_layer_that_runs_twice_is_refused():
    class Twice(Plain):
        def forward(self, images):
            return self.scores(self.layer(self.layer(self.stem(images))))

    with pytest.raises(RequestError, match="runs 2 times"):
        take(seeded(Twice).double(), "layer", noise(1, 3, 8, 12))


# What it costs, and what it leaves behind ---------------------------------------------------------------------------


def count_calls(net) -> Counter:
    calls: Counter = Counter()
    for name, module in net.named_modules():
        module.register_forward_hook(lambda _m, _i, output, name=name: calls.update({name: len(output)}))
    return calls


def test_what_comes_before_the_layer_runs_for_the_capture_and_the_check_only():
    net = seeded(Blocks).double()
    calls = count_calls(net)
    ask_rows = 40
    taken, _ = take(net, "layer", noise(1, 3, 8, 12))
    grids = noise(ask_rows, *taken.activations.shape[1:])
    before = ("stem", "early.0", "early.1.a")
    assert {name: calls[name] for name in before} == dict.fromkeys(before, 1)
    taken.ask.score_activations(0, lambda start, stop: grids[start:stop].clone(), ask_rows)
    # One image more: the check that the part after the layer gives what the whole model gives.
    assert {name: calls[name] for name in before} == dict.fromkeys(before, 2)
    assert calls["late.0"] == 1 + 1 + 2 + ask_rows


def test_only_the_outermost_modules_are_recorded():
    taken, _ = take(seeded(torchvision.models.resnet18), "layer2.0.conv2", noise(1, 3, 64, 32, dtype=torch.float32))
    assert list(taken.ask.recording.outputs) == [
        "conv1",
        "bn1",
        "relu",
        "maxpool",
        "layer1",
        "layer2.0.conv1",
        "layer2.0.bn1",
        "layer2.0.relu",
    ]


def test_nothing_is_left_in_the_model():
    net, images = seeded(TiedActivation).double().train(), noise(2, 3, 8, 12)
    before = snapshot(net)
    for image in (0, 1):
        ask(net, "layer", images, image)
    assert snapshot(net) == before


@pytest.mark.parametrize("build", [Plain, CapturedLayer])
def test_nothing_is_left_in_the_model_after_an_exception(build):
    class Breaks(build):
        broken = False

        def scores(self, grid):
            if type(self).broken and len(grid) > 2:
                raise ZeroDivisionError
            return super().scores(grid)

    net = seeded(Breaks).double().train()
    taken, _ = take(net, "layer", noise(1, 3, 8, 12))
    grids = noise(5, *taken.activations.shape[1:])
    before = snapshot(net)
    Breaks.broken = True
    with pytest.raises(ZeroDivisionError):
        taken.ask.score_activations(0, lambda start, stop: grids[start:stop].clone(), 5)
    assert snapshot(net) == before


def test_a_broken_forward_pass_leaves_no_hooks():
    class Broken(Plain):
        def scores(self, grid):
            raise ZeroDivisionError

    net = seeded(Broken).double().train()
    before = snapshot(net)
    with pytest.raises(ZeroDivisionError):
        take(net, "layer", noise(1, 3, 8, 12))
    assert snapshot(net) == before


@pytest.fixture
def eager_switching():
    """Threads change as often as the interpreter lets them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("build", [Residual, Hidden], ids=["alone", "whole"])
def test_eight_threads_on_one_model(build):
    net = seeded(build).double().train()
    batches = [noise(2, 3, 8, 12, seed=seed) for seed in range(8)]
    grids = noise(6, 6, 4, 6, seed=9)

    def scores(images):
        taken, _ = take(net, "layer", images, chunk=2)
        return taken.ask.score_activations(1, lambda start, stop: grids[start:stop].clone(), 6)

    wanted, before = [scores(batch) for batch in batches], snapshot(net)
    start, wrong = threading.Barrier(8), []

    def work(index: int) -> None:
        start.wait()
        for _ in range(6):
            try:
                assert torch.equal(scores(batches[index]), wanted[index])
            except BaseException as broken:
                wrong.append(broken)
                return

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert snapshot(net) == before


class TestRows:
    """One image's part of what a module gave, for many rows."""

    def test_an_image_a_row(self):
        output = torch.arange(6).reshape(3, 2)
        assert tail._rows(output, 1, 3, 4).tolist() == [[2, 3]] * 4

    def test_two_rows_an_image(self):
        output = torch.arange(6)[:, None]
        assert tail._rows(output, 1, 3, 2).tolist() == [[2], [3], [2], [3]]

    def test_what_is_no_batch_stays(self):
        scalar, odd = torch.tensor(3.0), torch.ones(5)
        assert tail._rows(scalar, 0, 2, 4) is scalar
        assert tail._rows(odd, 0, 2, 4) is odd
        assert tail._rows("text", 0, 2, 4) == "text"


def test_the_modules_beside_the_way():
    assert list(tail.beside(SmallNet(), "last")) == ["stem", "norm", "act", "last_act", "pool", "head"]
    names = tail.beside(nn.Sequential(nn.Sequential(nn.ReLU(), nn.ReLU()), nn.ReLU()), "0.1")
    assert list(names) == ["1", "0.0"]
