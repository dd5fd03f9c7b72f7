"""Poses the Problem: layer, grid and class are resolved once, before any backend is touched."""

from __future__ import annotations

import torch

from camzoo import capture, layers, targets
from camzoo.errors import RequestError
from camzoo.types import Capture, Layout, Problem, Target


def check_images(model: torch.nn.Module, images: object) -> torch.Tensor:
    """The images, if a model could take them.

    Raises:
        RequestError: they are no floating tensor `(N, C, H, W)`, there are none, or they are on another device.
    """
    if not isinstance(images, torch.Tensor) or not images.is_floating_point() or images.ndim not in (4, 5):
        found = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        raise RequestError(f"images are a floating tensor (N, C, H, W) or (N, C, D, H, W), not {found}")
    if images.shape[0] == 0:
        raise RequestError("there are no images: N is 0")
    device = next((parameter.device for parameter in model.parameters()), images.device)
    if device != images.device:
        raise RequestError(f"the model is on {device} and the images are on {images.device}: move one of them")
    return images


def layer_name(model: torch.nn.Module, layer: str | torch.nn.Module | None, images: torch.Tensor) -> str:
    """The dotted name of the layer that is meant; None stands for the rule's choice."""
    return layers.choose(model, images).layer.name if layer is None else layers.name_of(model, layer)


def settle(
    model: torch.nn.Module,
    layer: str,
    images: torch.Tensor,
    target: Target,
    taken: tuple[Capture, Layout],
    seed: int = 0,
) -> Problem:
    """The Problem that a capture has answered already: its top class is read from the capture's scores."""
    evidence, layout = taken
    target = targets.settled(target, evidence.scores)
    classes = target.classes if isinstance(target, targets.ClassLogit) else None
    return Problem(model, layer, layout, images, target, classes, seed)


def pose(
    model: torch.nn.Module,
    images: torch.Tensor,
    layer: str | torch.nn.Module | None = None,
    target: object = None,
    seed: int = 0,
) -> Problem:
    """The whole question, resolved by one forward pass without gradients.

    Args:
        model: the classifier.
        images: what it takes, `(N, C, H, W)`.
        layer: a dotted name, a module, or None for the rule's choice (one more forward pass of one image).
        target: None for the top class, a class index, one for each image, or a callable.
        seed: where every random number of a method comes from.

    Raises:
        RequestError: something in the question does not exist or does not fit.
    """
    images = check_images(model, images)
    name = layer_name(model, layer, images)
    wanted = targets.resolve(target, len(images))
    (evidence,), layout = capture.take(model, name, images, [wanted], frozenset())
    wanted(evidence.scores)  # a class out of range is refused here, before any backend is touched
    return settle(model, name, images, wanted, (evidence, layout), seed)
