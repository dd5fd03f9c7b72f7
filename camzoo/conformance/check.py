"""Holds an implementation to the reference, the ledger and the promises, and gives one verdict."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from camzoo import backends, degenerate, native
from camzoo.conformance import known_differences, promises, reference
from camzoo.conformance.evidence import Literal
from camzoo.conformance.hypotheses import Step
from camzoo.conformance.known_differences import Difference
from camzoo.conformance.parting import Parting, part
from camzoo.conformance.reference import NoReference
from camzoo.conformance.stands import QUICK, STANDS, Place
from camzoo.conformance.subjects import Subject, of_backend
from camzoo.conformance.verdicts import Finding, Verdict
from camzoo.errors import NotInstalled, NotOffered, RequestError, one_line
from camzoo.oracles.grids import Floats
from camzoo.specs import Computation
from camzoo.types import Problem, Resolution

TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
"""What the dtype of a map allows: sums of some thousand terms, and for float32 an image resized on the way."""

MANY_RUNS = frozenset(
    {
        *("scorecam", "sscam", "iscam", "groupcam", "ablationcam", "occlusion", "rise", "lime", "kernelshap", "sess"),
        *("shapley-values", "shapley-sampling", "feature-ablation", "feature-permutation"),
        *("layer-feature-ablation", "layer-feature-permutation"),
    }
)
"""Left out where a user's own model is checked quickly: their references run it for every channel or patch."""

NOT_CLAIMED = frozenset(
    {
        *("random", "uniform", "center"),  # controls
        *("sscam", "smoothgrad", "smoothgradcam++"),  # of random numbers, which nobody else draws alike
        "dff",  # of a search, which ends elsewhere from another start
    }
)
"""What an implementation of one's own cannot be held to: nobody else would get the same numbers."""

CPU = torch.device("cpu")
EMPTY: Mapping[str, Any] = {}

Progress = Callable[[int, int, str], None]
"""Called with the number of cells done, their number, and the name of the one that comes next."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One implementation at one stand.

    Attributes:
        stand: where.
        error: the largest absolute difference over the largest absolute value of the reference, the worst image.
        tolerance: what the dtype of the maps allows.
        residual: the same of the ledger's variant, where the reference is not met and there is an entry.
        maps: what was given.
    """

    stand: Place
    error: float
    tolerance: float
    residual: float | None
    maps: Floats

    @property
    def agrees(self) -> bool:
        """Whether the maps are those of the reference."""
        return self.error <= self.tolerance

    @property
    def explained(self) -> bool:
        """Whether the ledger's variant gives the maps where the reference does not."""
        return self.residual is not None and self.residual <= self.tolerance


def check(
    computations: Iterable[Computation],
    quick: bool = False,
    device: torch.device = CPU,
    progress: Progress | None = None,
) -> list[Finding]:
    """Every computation at the built-in problems.

    Args:
        computations: as `camzoo.specs.expand` gives them.
        quick: fewer problems, and the quick promises only.
        device: where the maps are computed that are compared; the reference and the promises are the CPU's.
        progress: called as work goes on.

    Returns:
        A Finding for each, in the same order.
    """
    stands, held = extent(quick)
    return _each(computations, lambda computation: of_computation(computation, stands, held, device), progress)


def on_model(
    computations: Iterable[Computation],
    stand: Place,
    quick: bool = False,
    device: torch.device = CPU,
    progress: Progress | None = None,
) -> list[Finding]:
    """Every computation at the user's own model and images: the numbers only, promises are made at small models.

    Args:
        computations: as `camzoo.specs.expand` gives them.
        stand: the model and the images.
        quick: leave out the methods that run the model hundreds of times.
        device: where the maps are computed.
        progress: called as work goes on.

    Raises:
        RequestError: nothing is left to check, or the question does not fit the model.
    """
    wanted = [each for each in computations if not (quick and each.method in MANY_RUNS)]
    if not wanted:
        raise RequestError("nothing is left to check: --quick leaves out what runs the model hundreds of times")
    stand.problem()  # what does not fit the model is refused before any work is done
    return _each(wanted, lambda computation: of_computation(computation, [stand], (), device), progress)


def of_subject(subject: Subject, quick: bool = False, device: torch.device = CPU) -> Finding:
    """The verdict on an implementation that no backend offers, at the built-in problems."""
    stands, held = extent(quick)
    return examine(subject, stands, None, held, device)


def claimable() -> list[str]:
    """The methods that an implementation of one's own can be held to: those of the layer's grid, but for a few."""
    own = (offer.method for offer in native.backend.offers if offer.resolution is Resolution.LAYER)
    return [method for method in own if method not in NOT_CLAIMED]


def extent(quick: bool) -> tuple[Sequence[Place], Sequence[promises.Promise]]:
    """The problems and the promises of a check."""
    return (QUICK, promises.QUICK) if quick else (STANDS, promises.PROMISES)


def _each(
    computations: Iterable[Computation], verdict: Callable[[Computation], Finding], progress: Progress | None
) -> list[Finding]:
    wanted, findings = list(computations), []
    for number, computation in enumerate(wanted):
        if progress:
            progress(number, len(wanted), str(computation))
        findings.append(verdict(computation))
    if progress:
        progress(len(wanted), len(wanted), "")
    return findings


def of_computation(
    computation: Computation,
    stands: Sequence[Place],
    held: Sequence[promises.Promise] = (),
    device: torch.device = CPU,
) -> Finding:
    """The verdict on one `method@backend`.

    Raises:
        RequestError: it has options, which the reference knows for camzoo's own methods only.
    """
    backend = backends.find(computation.backend)
    if computation.options and backend.name != native.NAME:
        raise RequestError(f"a library is checked at its defaults: leave the options of {computation} out")
    options = {**options_of(computation.method, backend.name), **computation.options}
    try:
        version = backends.version(backend)
        subject = of_backend(backend, computation.method, options)
    except NotInstalled as missing:
        return Finding(computation.method, backend.name, Verdict.NOT_INSTALLED, reason=str(missing))
    except NotOffered as refusal:
        return Finding(computation.method, backend.name, Verdict.NOT_OFFERED, reason=str(refusal))
    entry = known_differences.find(computation.method, backend.name)
    finding = examine(subject, stands, entry, held, device, computation.options)
    return replace(finding, versions={backend.distribution: version})


def options_of(method: str, backend: str) -> Mapping[str, Any]:
    """With which options a method is checked: few samples where its default takes many."""
    if backend == native.NAME:
        return reference.options(method)
    return known_differences.OPTIONS.get(backend, {}).get(method, {})


def examine(
    subject: Subject,
    stands: Sequence[Place],
    entry: Difference | None = None,
    held: Sequence[promises.Promise] = (),
    device: torch.device = CPU,
    options: Mapping[str, Any] = EMPTY,
) -> Finding:
    """The verdict on one implementation.

    Args:
        subject: who is checked.
        stands: the problems.
        entry: the ledger's, if it has one.
        held: the promises that it is held to.
        device: where its maps are computed.
        options: of the method, beside those with which every check is made; the reference has them too.
    """
    name = (subject.method, subject.backend)
    compared: list[Comparison] = []
    refusals: list[str] = []
    for stand in stands:
        try:
            compared.append(compare(subject, stand, entry, device, options))
        except (NotOffered, NoReference) as refusal:
            refusals.append(one_line(refusal))
        except NotInstalled as missing:
            return Finding(*name, Verdict.NOT_INSTALLED, reason=str(missing))
        except Exception as error:  # whatever somebody else's code raises is a finding, not an end
            return Finding(*name, Verdict.FAILED, reason=f"at {stand.name}: {one_line(error)}", problem=stand.name)
    if not compared:
        return Finding(*name, Verdict.NOT_OFFERED, reason=refusals[0] if refusals else "no problem suits it")
    finding = _of_numbers(subject, compared, entry)
    return finding if finding.verdict is Verdict.NEW else _of_promises(subject, finding, held)


def compare(
    subject: Subject,
    stand: Place,
    entry: Difference | None = None,
    device: torch.device = CPU,
    options: Mapping[str, Any] = EMPTY,
) -> Comparison:
    """One implementation at one stand, against the reference and, where that is not met, the ledger.

    Raises:
        NotOffered: the implementation does not do this problem.
        NoReference: there is no reference for the method at it.
    """
    wanted = _reference(subject, stand, options)
    found = subject.maps(_at(stand.problem(), device))
    tolerance = TOLERANCES.get(_dtype(found), TOLERANCES["float32"])
    maps = degenerate.as_numpy(found)
    away = error(maps, wanted)
    residual = None
    if away > tolerance and entry:
        residual = _residual(maps, stand.problem(), entry)
    return Comparison(stand, away, tolerance, residual, maps)


def _at(problem: Problem, device: torch.device) -> Problem:
    return replace(problem, model=problem.model.to(device), images=problem.images.to(device))


def error(maps: Floats, wanted: Sequence[Floats]) -> float:
    """`max|m - r| / max|r|` of the worst image; infinite where the shapes differ or a value is not finite.

    Args:
        maps: `(N, h, w)`.
        wanted: the reference, a map for each image.
    """
    if len(maps) != len(wanted):
        return np.inf
    return max(map(_error, maps, wanted))


def _error(found: Floats, wanted: Floats) -> float:
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return np.inf
    away, scale = float(np.abs(found - wanted).max()), float(np.abs(wanted).max())
    return away / scale if scale else (np.inf if away else 0.0)


def _residual(maps: Floats, problem: Problem, entry: Difference) -> float:
    """How far maps are from those of the ledger's variant; infinite where that is not defined."""
    try:
        return error(maps, [entry.variant(Literal(problem, index)) for index in range(len(problem.images))])
    except NoReference:
        return np.inf


def _reference(subject: Subject, stand: Place, options: Mapping[str, Any]) -> list[Floats]:
    """The reference for every image of a stand, as far as the subject takes its own maps."""
    size, raws = _raw(subject.method, stand, tuple(options.items()))
    return [reference.staged(raw, subject.stage, subject.resolution, size) for raw in raws]


@functools.lru_cache(maxsize=512)
def _raw(method: str, stand: Place, options: tuple[tuple[str, Any], ...]) -> tuple[tuple[int, ...], list[Floats]]:
    """The images' size, and the RAW reference for every image of a stand: once, whoever is held to it."""
    problem = stand.problem()
    chosen = {**reference.options(method), **dict(options)}
    everyone = range(len(problem.images))
    return problem.image_size, [reference.raw(method, Literal(problem, index), chosen) for index in everyone]


def _dtype(maps: Any) -> str:
    return str(maps.dtype).removeprefix("torch.")


def _of_numbers(subject: Subject, compared: Sequence[Comparison], entry: Difference | None) -> Finding:
    """The verdict as far as numbers give it."""
    away = [each for each in compared if not each.agrees]
    unknown = [each for each in away if not each.explained]
    worst = max(unknown or away or compared, key=lambda each: each.error / each.tolerance)
    finding = Finding(
        subject.method,
        subject.backend,
        Verdict.NEW if unknown else Verdict.KNOWN if away else Verdict.AGREES,
        stage=subject.stage,
        error=worst.error,
        tolerance=worst.tolerance,
        problem=worst.stand.name,
        residual=worst.residual,
    )
    if unknown:
        parting = _parting(subject, compared, worst)
        stale = "the ledger's variant does not give this number; " if entry else ""
        return replace(finding, stage=parting.stage, reason=stale + parting.reason)
    if away and entry:
        return replace(finding, kind=entry.kind, reason=f"{entry.what} ({entry.why})")
    return finding


def _parting(subject: Subject, compared: Sequence[Comparison], worst: Comparison) -> Parting:
    """Where the maps part from the reference; a guess that fails at a network it was not made for is no end."""
    stands, maps = [each.stand for each in compared], [each.maps for each in compared]
    try:
        return part(subject, stands, maps, worst.tolerance)
    except Exception as error:
        return Parting(Step.ACTIVATION, f"at which step cannot be told: {one_line(error)}", worst.error)


def _of_promises(subject: Subject, finding: Finding, held: Sequence[promises.Promise]) -> Finding:
    """The same verdict, unless a promise is broken that is not known to be."""
    results = promises.kept(subject, held)
    known = tuple(f"{result.promise}: {result.known}" for result in results if result.known)
    untried = (promises.State.REFUSED, promises.State.NOT_RUN)
    refusals = tuple(
        f"{result.promise} {result.state}: {result.reason}" for result in results if result.state in untried
    )
    finding = replace(finding, breaches=known, refusals=refusals)
    if broken := [str(result) for result in results if result.broken]:
        return replace(finding, verdict=Verdict.BREAKS, reason="; ".join(broken))
    return finding
