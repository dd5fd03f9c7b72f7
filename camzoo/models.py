"""Classifiers by name: a module in eval mode, where its weights come from, what it sees and what it tells apart."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from camzoo import checkpoints, sources, targets
from camzoo.errors import RequestError, one_line, unknown
from camzoo.preprocessing import Preprocessing
from camzoo.sources import names

__all__ = ["DEFAULT", "Classifier", "Preprocessing", "class_index", "load", "names"]

DEFAULT = "efficientnet-lite0"
"""The model that is taken where none is named."""


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A model that is ready to be explained.

    Attributes:
        name: as it was asked for.
        module: in eval mode, on the CPU.
        weights: where they come from, for people to read.
        preprocessing: how a photo becomes its input.
        labels: the name of each class.
    """

    name: str
    module: nn.Module = field(repr=False)
    weights: str
    preprocessing: Preprocessing
    labels: tuple[str, ...] = field(repr=False)


def load(name: str | None = None, weights: str | Path | None = None, seed: int = 0) -> Classifier:
    """A classifier by name.

    Args:
        name: "efficientnet-lite0" to "-lite2", a torchvision classifier ("resnet18"), "timm:NAME", or
            "package.module:factory" for one's own: a callable that gives a module, whose attributes
            `preprocessing` (a `Preprocessing`) and `labels` are used where it has them. The current directory is
            searched for the package. None is "efficientnet-lite0".
        weights: None for the trained weights that the model's library has for it, "random" for weights from the
            seed, or the path of a `.safetensors` or state dict file. Where an architecture begins with a linear layer
            of zeros, as torchvision's ViT with its head, "random" draws it: else no score depends on the image.
        seed: where random weights come from. The generators of the caller are left as they are.

    Raises:
        RequestError: there is no such model or file, the weights do not fit or cannot be fetched, or it is no
            classifier.
        NotInstalled: the library of the model, or the package of its weights, is absent.
    """
    name = name or DEFAULT
    with _seeded(seed):
        source = sources.find(name)
        if weights is None:
            module, origin = source.trained()
        else:
            module, origin = source.build(), f"{source.untrained}, seed {seed}"
            if str(weights) == "random":
                _draw_zero_heads(module)
            else:
                checkpoints.fit(module, checkpoints.read(weights), str(weights))
                origin = f"file {Path(weights).name}"
        module.eval()
        preprocessing = source.preprocessing(module)
        classes = _count_classes(name, module, preprocessing)
    return Classifier(name, module, origin, preprocessing, _labels(name, module, classes))


def class_index(text: str | int, labels: tuple[str, ...]) -> int:
    """The class that is meant by an index or a label; case counts only where it tells labels apart.

    Raises:
        RequestError: the index is out of range, or the label is unknown or the name of several classes.
    """
    try:
        index = int(text)
    except ValueError:
        return _labelled(str(text), labels)
    if not 0 <= index < len(labels):
        raise RequestError(f"class {index} is out of range: the model has classes 0 to {len(labels) - 1}")
    return index


def _labelled(text: str, labels: tuple[str, ...]) -> int:
    exact = [index for index, label in enumerate(labels) if label == text]
    found = exact or [index for index, label in enumerate(labels) if label.lower() == text.lower()]
    if not found:
        raise unknown("label", text, labels)
    if len(found) > 1:
        raise RequestError(f"label {text!r} names classes {', '.join(map(str, found))}: give one of these indices")
    return found[0]


def _count_classes(name: str, module: nn.Module, preprocessing: Preprocessing) -> int:
    """How many classes a model tells apart, by asking it: one forward pass of one blank image."""
    like = next(module.parameters(), torch.empty(0))
    sample = preprocessing.sample().to(like.device, like.dtype)
    try:
        with torch.no_grad():
            scores = targets.select(module(sample))
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(f"{name} does not take an image {tuple(sample.shape)}: {one_line(error)}") from error
    if scores.ndim != 2 or len(scores) != 1:
        raise RequestError(f"{name} gives {tuple(scores.shape)} for one image, where a classifier gives (1, classes)")
    return scores.shape[1]


def _labels(name: str, module: nn.Module, classes: int) -> tuple[str, ...]:
    own: Any = getattr(module, "labels", None)
    if own is not None:
        if not isinstance(own, list | tuple) or len(own) != classes:
            raise RequestError(f"the attribute labels of {name} must be a list of its {classes} class names")
        return tuple(map(str, own))
    if classes == 1000:
        return tuple(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    return tuple(f"class {index}" for index in range(classes))


def _draw_zero_heads(module: nn.Module) -> None:
    """Draws the weights of linear layers that are all zero, N(0, 0.02) as transformers have them."""
    for part in module.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.normal_(part.weight, std=0.02)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds the generators of the CPU for a while."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
