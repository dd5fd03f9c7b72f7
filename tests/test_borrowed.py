"""Every method of every backend gives the model back as it was, also when it raises, and leaves no memory behind."""

from __future__ import annotations

import contextlib
import gc
import itertools
import warnings
from typing import ClassVar

import pytest
import torch
from conftest import SmallNet, require, seeded
from snapshots import snapshot
from torch import nn
from torchvision.models import VisionTransformer

import camzoo
from camzoo import backends
from camzoo.errors import CamzooError

IMPORTS = {"captum": "captum", "torchcam": "torchcam", "pytorch-grad-cam": "pytorch_grad_cam"}
CASES = [
    pytest.param(offer.method, backend, id=f"{offer.method}@{name}")
    for name, backend in backends.found().items()
    for offer in backend.offers
]
# Enough to show the way; with the defaults these run the model hundreds of times.
FEW = {"masks": 20, "samples": 2, "num_samples": 1, "n_samples": 10, "n_steps": 4, "steps": 4}


class Breaks(SmallNet):
    """Raises in its forward pass after a number of runs, as a model may that is short of memory."""

    left: ClassVar[list[int]] = [-1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.left[0] == 0:
            raise RuntimeError("broken on purpose")
        self.left[0] -= 1
        return super().forward(images)


@pytest.fixture
def model() -> SmallNet:
    """In train mode, one parameter frozen, a gradient there: all of it the caller's."""
    return rough(seeded(SmallNet))


def rough(model: SmallNet) -> SmallNet:
    model.train()
    model.stem.weight.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    return model


def ask(model, images, method, backend, layer="last_act", few=FEW):
    offer = backend.offer(method)
    options = {name: few[name] for name in offer.options if name in few}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", camzoo.DegenerateMapWarning)
        camzoo.explain(model, images, f"{method}@{backend.name}", layer=layer, target=1, stage=offer.stage, **options)


def needs_library(backend) -> None:
    if backend.name in IMPORTS:
        require(IMPORTS[backend.name])


@pytest.mark.parametrize(("method", "backend"), CASES)
def test_a_model_comes_back_as_it_was(method, backend, model, images):
    needs_library(backend)
    before, photos = snapshot(model), images.clone()
    with contextlib.suppress(CamzooError):  # what does not do this network must still leave it alone
        ask(model, images, method, backend)
    assert snapshot(model) == before
    assert torch.equal(images, photos)
    assert not images.requires_grad


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize(("method", "backend"), CASES)
def test_a_model_comes_back_as_it_was_when_it_breaks(method, backend, runs, images):
    """The model raises in its first or second run after the one that poses the question."""
    needs_library(backend)
    model = rough(seeded(Breaks))
    before = snapshot(model)
    Breaks.left[0] = runs
    try:
        with contextlib.suppress(CamzooError, RuntimeError):
            ask(model, images, method, backend)
            assert Breaks.left[0] >= 0, "the model ran on after it broke, and nobody heard of it"
    finally:
        Breaks.left[0] = -1
    assert snapshot(model) == before


# As little as each method can do.
FEWEST = (
    FEW
    | {"masks": 2, "samples": 1, "n_samples": 2, "n_steps": 2, "steps": 1, "num_scales": 1, "top_channels": 1}
    | {"cells": 2, "window": 8, "stride": 8, "groups": 1, "components": 1}
)


class Tiny(SmallNet):
    """Two channels in every layer, three classes."""

    def __init__(self) -> None:
        super().__init__(classes=3, channels=2)
        self.stem = nn.Conv2d(3, 2, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.last = nn.Conv2d(2, 2, 3, stride=2, padding=1)


def tiny_vit() -> nn.Module:
    net = VisionTransformer(8, 4, 1, 1, 4, 8, num_classes=3)
    nn.init.normal_(net.heads.head.weight)  # torchvision starts it at zero, so that no gradient would flow
    return net


def tiny_subject(method: str) -> tuple[nn.Module, str, int]:
    """A network that every backend with the method can explain, a layer of it, and how many images it takes."""
    if method in ("attention-rollout", "legrad"):
        return seeded(tiny_vit), "encoder.layers.encoder_layer_0", 1
    layer = "last" if method == "layer-lrp" else "last_act"  # which has no rule for a ReLU
    return seeded(Tiny), layer, 2 if method.endswith("feature-permutation") else 1


@pytest.mark.parametrize(("method", "backend"), CASES)
def test_memory_does_not_grow(method, backend):
    """After each of the calls 3 to 8 there are no more tensors than after the second.

    They are counted, not weighed, so that one tensor that is kept of one call is seen: no need for many calls. What
    only many calls show, of those below, is that nothing is kept once in a while.
    """
    assert left_behind(method, backend, calls=6) <= 0


LONG_RUNS = [
    ("gradcam", "camzoo"),
    ("ablationcam", "camzoo"),
    ("scorecam", "camzoo"),
    ("guided-backprop", "camzoo"),
    ("gradcam", "captum"),
    ("layer-integrated-gradients", "captum"),
    ("deeplift", "captum"),
    ("shapley-values", "captum"),
    ("gradcam", "torchcam"),
    ("scorecam", "torchcam"),
    ("gradcam", "pytorch-grad-cam"),
    ("ablationcam", "pytorch-grad-cam"),
    ("shapleycam", "pytorch-grad-cam"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backend"), LONG_RUNS)
def test_memory_does_not_grow_over_200_calls(method, backend):
    """A few of each backend: one capture, the tail run again, altered inputs, rewritten backward passes."""
    assert left_behind(method, backends.find(backend), calls=200) <= 0


def test_long_runs_are_of_every_backend():
    assert {name for _, name in LONG_RUNS} == set(backends.found())


def left_behind(method, backend, calls: int) -> int:
    """The most tensors that there are after any of so many calls, beyond those after two calls that come first."""
    needs_library(backend)
    model, layer, count = tiny_subject(method)
    photos = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    after = []
    gc.collect()
    gc.freeze()  # what is there already is not looked through: a count takes a millisecond, and what goes hides nothing
    for _ in range(2 + calls):
        ask(model, photos, method, backend, layer, FEWEST)
        after.append(tensors())
    return max(after[2:]) - after[1]


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.parametrize(("every", "calls"), [(1, 6), (50, 200)])
def test_a_leak_would_be_seen(every, calls, monkeypatch):
    """Of one tensor in each call, in a few; of one once in a while, in many."""
    runs, kept, forward = itertools.count(), [], Tiny.forward

    def leaks(model, images):
        scores = forward(model, images)
        if next(runs) % every == every - 1:
            kept.append(scores.detach())
        return scores

    monkeypatch.setattr(Tiny, "forward", leaks)
    assert left_behind("gradcam", backends.find("camzoo"), calls) == len(kept) - 2 // every
    assert kept


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.eval(),
        lambda m: m.stem.weight.requires_grad_(True),
        lambda m: m.act.register_forward_hook(lambda *_: None),
        lambda m: setattr(m, "act", torch.nn.ReLU()),
        lambda m: setattr(m.act, "marked", 1),
        lambda m: m.norm.running_mean.add_(1),
        lambda m: m.head.weight.grad.add_(1),
        lambda _: torch.rand(1),
    ],
)
def test_a_trace_would_be_seen(model, spoil):
    before = snapshot(model)
    spoil(model)
    assert snapshot(model) != before
