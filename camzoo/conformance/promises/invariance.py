"""Promises on what must change a map, and what must not."""

from __future__ import annotations

import torch
from array_api_compat import array_namespace
from torch import nn

from camzoo.conformance.promises._compare import apart, differing, plain
from camzoo.conformance.promises._exempt import CLASS_FREE
from camzoo.conformance.promises._nets import symmetric
from camzoo.conformance.promises._promise import Breach
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject
from camzoo.degenerate import as_numpy
from camzoo.grids import Array, normalise
from camzoo.problems import pose
from camzoo.types import Problem

FACTOR = 4.0
"""Of the logits: a power of two, by which floating point multiplies exactly."""

MOVED = 0.01
"""By how much of its range a map has to change at random weights; rounding stays far below, other weights far above."""


def zero_gradient(subject: Subject, stand: Stand) -> Breach | None:
    """Where the score depends on nothing, the map is zero: which `explain` and a Study say of any map that is."""
    problem = stand.problem()
    with torch.no_grad():
        _layers(problem)[-1].weight.zero_()  # type: ignore[operator]
    values = subject.maps(problem)
    largest = abs(as_numpy(values)).max()
    if largest != 0:  # NaN is not
        return Breach(f"the score depends on nothing, and the map reaches {largest:.2g}")
    return None


def logit_scale(subject: Subject, stand: Stand) -> Breach | None:
    """Logits four times as large give the same map once it is normalised."""
    problem = stand.problem()
    with torch.no_grad():
        for parameter in _layers(problem)[-1].parameters(recurse=False):
            parameter.mul_(FACTOR)
    found, wanted = normalise(subject.maps(problem)), normalise(plain(subject, stand))
    return differing(found, wanted, f"normalised, with logits times {FACTOR:g} and once")


def mirrored(subject: Subject, stand: Stand) -> Breach | None:
    """On a network that is its own mirror image, the mirrored image gets the mirrored map."""
    problem = symmetric(stand).problem()
    images = pose(problem.model, problem.images.flip(-1), problem.layer, list(stand.classes))
    wanted, found = subject.maps(problem), subject.maps(images)
    return differing(_flipped(found), wanted, "the map of the mirrored image and the mirrored map")


def weights_matter(subject: Subject, stand: Stand) -> Breach | None:
    """Weights made random from the top down change the map: those of the head alone, if it is a map of a class."""
    wanted, problem = normalise(plain(subject, stand)), stand.problem()
    layers, generator = _layers(problem)[::-1], torch.Generator().manual_seed(1)
    enough = len(layers) if subject.method in CLASS_FREE else 1
    for layer in layers[:enough]:
        for parameter in layer.parameters(recurse=False):
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data = noise * parameter.detach().std()
    if apart(normalise(subject.maps(problem)), wanted) > MOVED:
        return None
    return Breach(f"the map stays when the weights of the top {enough} of {len(layers)} layers are random")


def _layers(problem: Problem) -> list[nn.Module]:
    """The modules with weights of their own, from the image to the head."""
    modules = problem.model.modules()
    return [module for module in modules if any(True for _ in module.parameters(recurse=False))]


def _flipped(maps: Array) -> Array:
    return array_namespace(maps).flip(maps, axis=-1)
