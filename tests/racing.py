"""A small model and implementations with planted faults, for `camzoo bench` to race: `racing:net`, `racing:slow` ..."""

from __future__ import annotations

import os
import signal
import sys
import time

import torch
from torch import nn

from camzoo.models import Preprocessing

spend = time.sleep
"""How time passes in here; a test may put a clock of its own in its place."""


class Net(nn.Module):
    """A classifier of five classes, whose forward pass takes at least `seconds`."""

    seconds = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.last_act = nn.ReLU()
        self.head = nn.Linear(8, 5)
        self.preprocessing = Preprocessing(48, mean=(0.5,) * 3, std=(0.5,) * 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spend(self.seconds)
        return self.head(self.last_act(self.last(self.act(self.stem(images)))).mean((2, 3)))


class Timed(Net):
    seconds = 0.01


def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def timed() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Timed()


class Greedy(Net):
    """Runs out of memory as soon as there are several images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")
        return super().forward(images)


def gradcam(model, layer, images, target):
    """Right."""
    kept = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output) or output.clone())
    try:
        scores = model(images.requires_grad_())
        (gradients,) = torch.autograd.grad(scores[range(len(target)), target].sum(), kept)
    finally:
        handle.remove()
    return (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu()


class Same:
    """Right, and built from the model and the layer; it leaves a hook behind."""

    built = 0
    left_behind = 0

    def __init__(self, model, layer):
        type(self).built += 1
        self.model, self.layer = model, layer
        layer.register_forward_hook(self.count)

    def count(self, *_):
        type(self).left_behind += 1

    def __call__(self, images, target):
        return gradcam(self.model, self.layer, images, target)


def slow(model, layer, images, target):
    """Right, and slower by a tenth of the model's forward pass."""
    spend(0.1 * Timed.seconds)
    return gradcam(model, layer, images, target)


def wrong(model, layer, images, target):
    """Right at the problems of the check, and mirrored at images of 48 x 48 pixels."""
    maps = gradcam(model, layer, images, target)
    return maps.flip(-1) if images.shape[2:] == (48, 48) else maps


def hungry(model, layer, images, target):
    """Right, and holds 64 MiB more than it needs."""
    held = torch.ones(64 * 2**20 // 4)
    return gradcam(model, layer, images, target) + 0 * held[0]


def exhausted(model, layer, images, target):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def broken(model, layer, images, target):
    raise ValueError("no idea")


def loud(model, layer, images, target):
    """Right, and tells everybody."""
    print("loud!")
    os.write(1, b"louder!\n")
    return gradcam(model, layer, images, target)


def killed(model, layer, images, target):
    """Ends the process, as the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def leaving(model, layer, images, target):
    """Ends the program, as a script does that was not meant to be imported."""
    sys.exit(0)
