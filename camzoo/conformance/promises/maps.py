"""Promises on the maps themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from camzoo import guard
from camzoo.conformance.promises._compare import apart, differing, plain, precision
from camzoo.conformance.promises._promise import Breach, NotRun
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject
from camzoo.degenerate import as_numpy
from camzoo.problems import pose
from camzoo.types import Problem, Resolution, Stage

EPSILON = 1e-6
"""How far from 1 a normalised map may peak.

Libraries add 1e-7 or 1e-8 to the range before they divide by it. That range is 1, or what bilinear enlarging leaves of
a single cell, at least (1/2)^2: at most 4e-7 is lost. The rest is for float32, whose epsilon is 1.2e-7.
"""


def one_map_each(subject: Subject, stand: Stand) -> Breach | None:
    """`(N, h, w)` on the grid of the layer, or `(N, H, W)` on the pixels."""
    problem = stand.problem()
    grid = problem.layout.shape if subject.resolution is Resolution.LAYER else problem.image_size
    found, wanted = tuple(plain(subject, stand).shape), (len(problem.images), *grid)
    return Breach(f"gives {found}, not {wanted}") if found != wanted else None


def finite(subject: Subject, stand: Stand) -> Breach | None:
    """No NaN and no infinity."""
    bad = int((~np.isfinite(as_numpy(plain(subject, stand)))).sum())
    return Breach(f"{bad} cells are not finite") if bad else None


def same_twice(subject: Subject, stand: Stand) -> Breach | None:
    """The same question, asked again after others have drawn random numbers, gets the same answer."""
    problem, first = stand.problem(), plain(subject, stand)
    other = replace(problem, images=problem.images.flip(-1).neg())
    with guard.borrowed(nn.Identity(), seed=1):  # of which the generators matter: other numbers come next
        subject.maps(other)  # what is kept from one call to the next would show
        again = subject.maps(problem)
    return differing(again, first, "the same question, asked twice")


def batch_as_singles(subject: Subject, stand: Stand) -> Breach | None:
    """Each image's map is the one that it gets alone."""
    together = plain(subject, stand)
    for index in range(len(stand.classes)):
        alone = subject.maps(_asked(stand.problem(), slice(index, index + 1), stand.classes[index : index + 1]))
        if breach := differing(together[index : index + 1], alone, f"image {index} alone and in its batch"):
            return breach
    return None


def class_asked(subject: Subject, stand: Stand) -> Breach | None:
    """An image's map is not the same for every class. The networks' classes share no weights of the head."""
    problem, first = stand.problem(), plain(subject, stand)
    same = list(range(len(first)))
    with torch.no_grad():
        classes = problem.model(problem.images).shape[1]
    for step in range(1, classes):
        others = [(one + step) % classes for one in stand.classes]
        maps = subject.maps(_asked(stand.problem(), slice(None), others))
        same = [at for at in same if apart(maps[at : at + 1], first[at : at + 1]) <= precision(first)]
        if not same:
            return None
    return Breach(f"image {same[0]} has one map for all {classes} classes")


def in_range(subject: Subject, stand: Stand) -> Breach | None:
    """RECTIFIED maps are zero or more; NORMALISED ones lie in 0..1, and reach both unless they are constant."""
    if subject.stage is Stage.RAW:
        raise NotRun("raw maps are signed")
    for values in as_numpy(plain(subject, stand)):
        low, high = values.min(), values.max()
        if low < 0:
            return Breach(f"a {subject.stage} map falls to {low:.2g}")
        if subject.stage is Stage.NORMALISED and high > 1 + EPSILON:
            return Breach(f"a normalised map rises to {high:.9g}")
        if subject.stage is Stage.NORMALISED and low < high and (low > EPSILON or high < 1 - EPSILON):
            return Breach(f"a normalised map runs from {low:.9g} to {high:.9g}")
    return None


def _asked(problem: Problem, rows: slice, classes: list[int] | tuple[int, ...]) -> Problem:
    """The same model, asked about some of the images, or about other classes."""
    return pose(problem.model, problem.images[rows], problem.layer, list(classes), problem.seed)
