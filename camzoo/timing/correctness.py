"""Correct first: what the check says of a contender, and how far its map on the bench's own case is from camzoo's."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from camzoo import backends, chunks, degenerate, native, specs
from camzoo.conformance import check, reference
from camzoo.conformance.stands import QUICK
from camzoo.conformance.verdicts import Verdict
from camzoo.errors import NotOffered, one_line
from camzoo.oracles.grids import Floats, resize
from camzoo.timing import reasons
from camzoo.timing.contenders import Contender
from camzoo.timing.samples import Scope
from camzoo.types import Heatmap, Problem, Resolution, Stage

MOST_PASSES = 64
"""Up to how many forward passes of each image the reference is computed in float64."""

LEAST = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 1e-2, "float16": 1e-2}
"""How far a map may always be from the reference: about a thousand epsilons, or one of half precision."""

HALF = ("bfloat16", "float16")
"""Their rounding alone may take a map further than is ranked; that of single precision may not."""

ROUNDING, FARTHEST = 10, 0.1
"""It may be some times as far as camzoo's own map in the same dtype, which shows what rounding does; to a limit."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a contender; see the attributes of `Row` with the same names."""

    verdict: str
    verdict_reason: str = ""
    distance: float | None = None
    reference: str = ""


def of_check(contender: Contender, full: bool = False, device: torch.device = check.CPU) -> Judgement:
    """The verdict of the check, at small networks.

    A library is checked at its defaults, whatever its options here: that they change the map is seen on the case.

    Args:
        contender: who is judged.
        full: all built-in problems and promises, in place of the quick problems alone.
        device: where its maps are computed; on one without float64 the CPU.
    """
    device = check.CPU if device.type == "mps" else device
    stands, held = check.extent(False) if full else (QUICK, ())
    if contender.subject:
        finding = check.examine(contender.subject, stands, None, held, device)
    else:
        options = contender.options if contender.backend == native.NAME else {}
        asked = specs.Computation(contender.method, contender.backend, options)
        finding = check.of_computation(asked, stands, held, device)
    return Judgement(finding.verdict, "" if finding.verdict is Verdict.AGREES else finding.reason)


@dataclass(slots=True)
class Yardstick:
    """camzoo's own maps on one case, each computed once; the case's maps are held to them.

    Attributes:
        problem: the case, in its own dtype.
        precise: the same in float64, or why there is none; None until it is asked for.
    """

    problem: Problem
    precise: Problem | str | None = field(init=False, default=None, repr=False)
    maps: dict[tuple[str, bool], Heatmap] = field(default_factory=dict, repr=False)

    def judge(self, said: Judgement, contender: Contender, scope: Scope, found: Any, images: int) -> Judgement:
        """The verdict of the check, unless the map on the case itself is another.

        Args:
            said: by the check.
            contender: who gave the maps.
            scope: of the work that gave them.
            found: what the work gave.
            images: how many images went through the model in it.
        """
        if images > MOST_PASSES * len(self.problem.images):
            return self._judged(said, contender, scope, found, f"more than {MOST_PASSES} forward passes of each image")
        if self.precise is None:
            self.precise = _in_float64(self.problem)
        if isinstance(self.precise, Problem):
            try:
                return self._judged(said, contender, scope, found)
            except Exception as error:
                if not chunks.is_out_of_memory(error):
                    raise
            self.precise = "float64 does not fit into memory"
        return self._judged(said, contender, scope, found, self.precise)

    def _judged(
        self, said: Judgement, contender: Contender, scope: Scope, found: Any, why_not_float64: str = ""
    ) -> Judgement:
        dtype = _name(self.problem.images.dtype)
        words = f"camzoo's own map in {dtype} ({why_not_float64})" if why_not_float64 else "camzoo's own map in float64"
        if why_not_float64 and contender.name == str(_own(contender)):
            return replace(said, reference=f"none: it is {words}")
        try:
            away = self._distance(contender, scope, found, not why_not_float64)
            most = LEAST[dtype]
            if not why_not_float64:
                most = max(most, min(FARTHEST, ROUNDING * self._rounding(contender)))
        except NotOffered as refusal:
            return replace(said, reference=f"none: {one_line(refusal)}")
        judged = replace(said, distance=away, reference=words)
        if said.verdict != Verdict.AGREES or away <= most:
            return judged
        if not why_not_float64 and (
            why := self._rounded(contender, scope, found) or self._shown(contender, scope, found, most)
        ):
            return replace(judged, verdict=Verdict.KNOWN, verdict_reason=why)
        reason = f"agrees at small networks; here its map is {away:.1e} from {words}, where {most:.0e} is allowed"
        return replace(judged, verdict=Verdict.NEW, verdict_reason=reason)

    def _distance(self, contender: Contender, scope: Scope, found: Any, in_float64: bool) -> float:
        size, full = self.problem.image_size, scope is Scope.ARRAY and contender.resolution is Resolution.LAYER
        shown = _as_shown(contender, self.problem, scope, found)
        wanted = self._reference(contender, in_float64)
        return max(_away(shown[row], _staged(raw, contender.resolution, size, full)) for row, raw in wanted.items())

    def _rounded(self, contender: Contender, scope: Scope, found: Any) -> str:
        """That half precision alone makes the difference, where camzoo's own formula in it gives the map; else ""."""
        dtype = _name(self.problem.images.dtype)
        if dtype not in HALF or (away := self._distance(contender, scope, found, False)) > LEAST[dtype]:
            return ""
        return f"the rounding of {dtype}: computed in it, camzoo's own formula gives its map ({away:.0e} from it)"

    def _shown(self, contender: Contender, scope: Scope, found: Any, most: float) -> str:
        """The known reason with which camzoo's own formula gives the map on this case; "" where none does."""
        problem, size = self.precise, self.problem.image_size
        assert isinstance(problem, Problem)
        if contender.subject or contender.options or contender.backend == native.NAME:
            return ""
        full = scope is Scope.ARRAY and contender.resolution is Resolution.LAYER
        shown = _as_shown(contender, self.problem, scope, found)
        raw = self._reference(contender, True)
        for why, maps, ending in reasons.suspected(problem, contender.method, contender.backend, raw):
            ended = {
                row: ending(each, size) if ending else _staged(each, contender.resolution, size, full)
                for row, each in maps.items()
            }
            away = max(_away(shown[row], wanted) for row, wanted in ended.items())
            if away <= most:
                return f"{why}: with that, camzoo's own formula gives its map ({away:.0e} from it)"
        return ""

    def _rounding(self, contender: Contender) -> float:
        """How far camzoo's own map in the dtype of the case is from the one in float64."""
        size, kind = self.problem.image_size, Resolution.LAYER
        own, exact = self._reference(contender, False), self._reference(contender, True)
        rows = own.keys() & exact.keys()
        return max(
            (_away(*(_staged(maps[row], kind, size, False) for maps in (own, exact))) for row in rows), default=0
        )

    def _reference(self, contender: Contender, in_float64: bool) -> dict[int, Floats]:
        """The RAW map of camzoo's own method for each image, but for those that say nothing.

        Raises:
            NotOffered: camzoo has no such method, or no map says anything.
        """
        own = _own(contender)
        key = (str(own), in_float64)
        if key not in self.maps:
            problem = self.precise if in_float64 else self.problem
            assert isinstance(problem, Problem)
            self.maps[key] = backends.run(native.backend, problem, own.method, own.options)
        maps = self.maps[key]
        values = degenerate.as_numpy(maps.values)
        empty = degenerate.reasons(maps)
        if all(empty):
            raise NotOffered(f"camzoo's own map is {empty[0]}")
        return {row: values[row] for row, why in enumerate(empty) if not why}


def _own(contender: Contender) -> specs.Computation:
    """The same method of camzoo's own."""
    options = contender.options if contender.backend == native.NAME else {}
    return specs.Computation(contender.method, native.NAME, options)


def _in_float64(problem: Problem) -> Problem | str:
    if problem.images.device.type == "mps":
        return "the device has no float64"
    try:
        return replace(problem, model=copy.deepcopy(problem.model).double(), images=problem.images.double())
    except Exception as error:  # whatever a module's own copying raises, or memory that runs out
        return f"copying the model fails: {one_line(error)}"


def _as_shown(contender: Contender, problem: Problem, scope: Scope, found: Any) -> Floats:
    """What the work gave, NORMALISED."""
    if scope is Scope.ARRAY:
        return np.asarray(found, dtype=np.float64)
    maps = Heatmap(
        degenerate.as_numpy(found),
        contender.stage,
        contender.resolution,
        problem.image_size,
        contender.method,
        contender.backend,
    )
    return np.asarray(maps.at(Stage.NORMALISED).values)


def _staged(raw: Floats, resolution: Resolution, size: tuple[int, ...], full: bool) -> Floats:
    """A RAW map as the contender shows it: NORMALISED on its own grid, or enlarged from there."""
    shown = reference.staged(raw, Stage.NORMALISED, resolution, size)
    return resize(shown, size) if full else shown


def _away(found: Floats, wanted: Floats) -> float:
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
