"""Promises on what computes the map: a precision, a device."""

from __future__ import annotations

import copy

import torch

from camzoo.conformance.promises._compare import apart, differing, plain
from camzoo.conformance.promises._promise import Breach, NotRun
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject
from camzoo.problems import pose
from camzoo.types import Problem

TRIALS = 3
MARGIN = 16
"""Times what rounding the weights does: ten layers round, so does the formula, and not alike where scores cancel."""
MOST = 0.9
"""However far rounding reaches: a map of zeros is 1 away."""


def single(subject: Subject, stand: Stand) -> Breach | None:
    """In float32 the map is that of float64, as far as rounding lets it be."""
    return _rounded(subject, stand, torch.float32)


def half(subject: Subject, stand: Stand) -> Breach | None:
    """The same in bfloat16."""
    return _rounded(subject, stand, torch.bfloat16)


def _rounded(subject: Subject, stand: Stand, dtype: torch.dtype) -> Breach | None:
    """How far rounding reaches is tried: in float64, every weight is moved at random by up to the dtype's epsilon."""
    problem, epsilon = stand.problem(dtype), torch.finfo(dtype).eps
    exact = subject.maps(_in_double(problem))
    shaken = [apart(subject.maps(_shaken(_in_double(problem), epsilon, seed)), exact) for seed in range(TRIALS)]
    allowed = min(MOST, MARGIN * max(epsilon, *shaken))
    away = apart(subject.maps(problem), exact)
    if away <= allowed:
        return None
    return Breach(f"{str(dtype).removeprefix('torch.')} is {away:.1e} from float64; rounding explains {allowed:.1e}")


def devices(subject: Subject, stand: Stand) -> Breach | None:
    """A GPU gives the CPU's map."""
    if not torch.cuda.is_available():
        raise NotRun("there is no GPU here")
    problem = stand.problem()
    moved = pose(problem.model.cuda(), problem.images.cuda(), problem.layer, list(stand.classes))
    return differing(subject.maps(moved), plain(subject, stand), "on a GPU and on the CPU")


def _in_double(problem: Problem) -> Problem:
    """The same numbers, computed with in float64."""
    model = copy.deepcopy(problem.model).double()
    return pose(model, problem.images.double(), problem.layer, problem.class_indices("the check"))


def _shaken(problem: Problem, epsilon: float, seed: int) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    for parameter in problem.model.parameters():
        parameter.data *= 1 + epsilon * (2 * torch.rand(parameter.shape, generator=generator) - 1)
    return problem
