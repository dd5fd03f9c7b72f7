"""Promises on what computes the map: a precision, a device."""

from __future__ import annotations

import copy

import torch

from camzoo.conformance.promises._compare import apart, differing
from camzoo.conformance.promises._promise import Breach, NotRun
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject
from camzoo.problems import pose
from camzoo.types import Problem

DTYPES = (torch.float32, torch.bfloat16)
TRIALS = 3
MARGIN = 16
"""Times the change that rounding the weights makes: each of some ten layers, and the formula, rounds as well."""


def dtypes(subject: Subject, stand: Stand) -> Breach | None:
    """In float32 and bfloat16 the map is that of float64, to as much as the precision lets it be.

    How much that is, is tried: the weights are changed at random by an epsilon of the dtype, in float64.
    """
    for dtype in DTYPES:
        problem = stand.problem(dtype)
        exact = subject.maps(_in_double(problem))
        epsilon = torch.finfo(dtype).eps
        trials = [apart(subject.maps(_shaken(_in_double(problem), epsilon, seed)), exact) for seed in range(TRIALS)]
        allowed = MARGIN * max(epsilon, *trials)
        away = apart(subject.maps(problem), exact)
        print('DT', subject.name, dtype, f"{away:.1e} {max(trials):.1e} ratio {away/max(epsilon,*trials):.2f}")
        if not away <= allowed:
            return Breach(f"{str(dtype).removeprefix('torch.')} is {away:.1e} from float64, {allowed:.1e} is explained")
    return None


def devices(subject: Subject, stand: Stand) -> Breach | None:
    """A GPU gives the CPU's map."""
    if not torch.cuda.is_available():
        raise NotRun("there is no GPU here")
    problem = stand.problem()
    moved = pose(problem.model.cuda(), problem.images.cuda(), problem.layer, list(stand.classes))
    return differing(subject.maps(moved), subject.maps(stand.problem()), "on a GPU and on the CPU")


def _in_double(problem: Problem) -> Problem:
    """The same numbers, computed with in float64."""
    model = copy.deepcopy(problem.model).double()
    return pose(model, problem.images.double(), problem.layer, problem.class_indices("the check"))


def _shaken(problem: Problem, epsilon: float, seed: int) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    for parameter in problem.model.parameters():
        parameter.data *= 1 + epsilon * (2 * torch.rand(parameter.shape, generator=generator) - 1)
    return problem
