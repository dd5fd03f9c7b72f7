"""One fresh process: `python -m camzoo.timing.worker PLAN` builds the model and does one pass over the contenders.

What it finds goes to stdout as JSON lines, one at a time; each is answered by a line on stdin, so that nobody keeps
the cores busy while it measures, and so that it ends when nobody listens any more.
"""

from __future__ import annotations

import enum
import gc
import io
import json
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from camzoo import chunks, models, problems
from camzoo.errors import CamzooError, NotInstalled, NotOffered, RequestError, one_line
from camzoo.timing import clock, conditions, contenders, correctness, counting, memory, record
from camzoo.timing.contenders import Contender
from camzoo.timing.correctness import Judgement
from camzoo.timing.samples import Case, Counts, Outcome, Scope
from camzoo.types import Problem

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}

Tell = Callable[[Mapping[str, Any]], None]
"""Hands on what was found."""


class Pass(enum.StrEnum):
    """What a process is for."""

    EXAMINE = "examine"
    """The verdict, the counts, and the distance of the map from the reference."""
    TIME = "time"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process does.

    Attributes:
        kind: what the process is for.
        case: the work.
        contenders: names of all.
        left: names of those that are still to be asked.
        process: number of the process among those that take the time.
        rounds: how many rounds there are.
        done: of each contender the seconds of the samples that were taken before, under this process's number.
        budget: seconds in one process after which a contender has no further round.
        full_check: the whole check in place of the quick problems.
        verdicts: verdict and reason of those that were checked before.
    """

    kind: Pass
    case: Case
    contenders: tuple[str, ...]
    left: tuple[str, ...]
    process: int = 0
    rounds: int = 1
    done: Mapping[str, list[float]] = field(default_factory=dict)
    budget: float = 60.0
    full_check: bool = False
    verdicts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def order(self, number: int | None = None) -> list[str]:
        """The contenders in the random order of a round, or of the first calls; the same for the same process."""
        mixed = random.Random(f"{self.case.seed} {self.process} {number}")
        return mixed.sample(self.contenders, len(self.contenders))


@dataclass(frozen=True, slots=True)
class Scene:
    """What all contenders of a process share: the problem, posed once, and a plain forward pass."""

    problem: Problem
    scope: Scope

    @property
    def device(self) -> torch.device:
        """Where the work is done."""
        return self.problem.images.device

    def forward(self) -> Any:
        """The unit: one forward pass in inference mode."""
        with torch.inference_mode():
            return self.problem.model(self.problem.images)


def build(case: Case) -> Scene:
    """The model of a case, its images, and the problem.

    Raises:
        RequestError: the case does not make sense.
    """
    return _posed(case, *_made(case))


def _made(case: Case) -> tuple[torch.nn.Module, torch.Tensor]:
    """The model of a case and its images; nothing has been run."""
    classifier = models.load(case.model, case.weights, case.seed)
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    dtype, device = DTYPES[case.dtype], torch.device(case.device)
    model = classifier.module.to(device, dtype)
    if case.channels_last:
        model = model.to(memory_format=torch.channels_last)
    images = pictures(case, len(classifier.preprocessing.mean)).to(device, dtype).contiguous(memory_format=layout)
    return model, images


def _posed(case: Case, model: torch.nn.Module, images: torch.Tensor) -> Scene:
    return Scene(problems.pose(model, images, case.layer, seed=case.seed), case.scope)


def pictures(case: Case, colours: int) -> torch.Tensor:
    """Seeded images `(N, C, H, W)` that have something to point at: blurred spots, and a little noise."""
    generator = torch.Generator().manual_seed(case.seed)
    spots = torch.randn(case.batch, colours, 8, 8, generator=generator)
    large = torch.nn.functional.interpolate(spots, (case.size, case.size), mode="bicubic")
    return large + 0.25 * torch.randn(large.shape, generator=generator)


def run(plan: Plan, tell: Tell) -> None:
    """Does one pass over the contenders; one that breaks is told and left out.

    Raises:
        RequestError: the case does not make sense.
    """
    if plan.kind is Pass.MEMORY and not memory.settable(torch.device(plan.case.device)):
        _memory_alone(plan, tell)
        return
    try:
        scene = build(plan.case)
        clock.steady(lambda: clock.timed(scene.forward, scene.device).seconds)
    except CamzooError:
        raise
    except Exception as error:
        for name in plan.left:
            tell({"kind": "outcome", "contender": name, **_outcome(error), "reason": f"the model: {one_line(error)}"})
        return
    passes = {Pass.EXAMINE: _examine, Pass.TIME: _time, Pass.MEMORY: _memory}
    passes[plan.kind](plan, scene, tell)


def _examine(plan: Plan, scene: Scene, tell: Tell) -> None:
    """The verdict of each contender, what one call of it counts, and how far its map is from the reference.

    All are counted before the first is judged, which takes a copy of the model in float64: where that is not there yet,
    whoever fits into memory when it is timed fits here as well, but for what the counting itself takes.
    """
    yardstick, layer = correctness.Yardstick(scene.problem), scene.problem.layer
    counted: dict[str, tuple[Contender, Counts, Any]] = {}

    def count(contender: Contender, name: str) -> None:
        try:
            with contenders.lent(contender, scene.problem, scene.scope) as work:
                counted[name] = contender, *counting.count(work, scene.problem.model, scene.problem.images)
            return
        except Exception as error:
            if not chunks.is_out_of_memory(error):
                raise
            why = f"out of memory while it was counted: {one_line(error)}"
        _free()
        tell({"kind": "examined", "contender": name, "layer": layer, "verdict": "", "verdict_reason": why})

    def judge(contender: Contender, name: str) -> None:
        _, counts, found = counted.pop(name)
        known = plan.verdicts.get(name)
        said = Judgement(*known) if known else correctness.of_check(contender, plan.full_check, scene.device)
        judged = asdict(yardstick.judge(said, contender, scene.scope, found, counts.images))
        found_out = {"layer": layer, "counts": asdict(counts), "of_check": (said.verdict, said.verdict_reason)}
        tell({"kind": "examined", "contender": name, **found_out, **judged})

    for name in plan.left:
        _attempt(name, tell, count)
    for name in list(counted):
        _attempt(name, tell, judge, counted[name][0])


def _time(plan: Plan, scene: Scene, tell: Tell) -> None:
    """Rounds over the contenders in random order: each call between two forward passes."""
    spent = {name: list(plan.done.get(name, ())) for name in plan.contenders}
    warm: dict[str, Contender] = {}

    def warm_up(contender: Contender, name: str) -> None:
        first, warmups, alike = clock.steady(lambda: _timed(contender, scene).seconds)
        found = {"seconds": first, "warmups": warmups, "alike": alike}
        tell({"kind": "first", "contender": name, "process": plan.process, **found})
        warm[name] = contender

    def take(contender: Contender, name: str) -> None:
        sample = {"process": plan.process, "round": len(spent[name]), **_sample(contender, scene)}
        tell({"kind": "sample", "contender": name, **sample})
        spent[name].append(sample["seconds"])
        warm[name] = contender

    for name in (name for name in plan.order() if name in plan.left):
        _attempt(name, tell, warm_up)
    for number in range(plan.rounds):
        gc.collect()
        for name in plan.order(number):
            taken = spent[name]
            if name in warm and len(taken) == number and (not taken or sum(taken) < plan.budget):
                _attempt(name, tell, take, warm.pop(name))
    tell({"kind": "during", "now": conditions.now(scene.device)})  # a GPU's clocks and heat, before it idles


def _sample(contender: Contender, scene: Scene) -> dict[str, Any]:
    """One call between two forward passes."""
    call, passes = clock.between(lambda: _timed(contender, scene), scene.forward, scene.device)
    return {"seconds": call.seconds, "passes": passes, "device_seconds": call.device_seconds}


def _timed(contender: Contender, scene: Scene) -> clock.Timing:
    with contenders.lent(contender, scene.problem, scene.scope) as work:
        return clock.timed(work, scene.device)


def _memory(plan: Plan, scene: Scene, tell: Tell) -> None:
    """The most memory that each contender holds at a time in a call, and that of a plain forward pass."""
    forward = _held(scene.forward, scene.device)

    def hold(contender: Contender, name: str) -> None:
        _timed(contender, scene)  # what is set up once, at the first call, is no part of it
        with contenders.lent(contender, scene.problem, scene.scope) as work:
            peak = _held(work, scene.device)
        tell({"kind": "memory", "contender": name, "peak_bytes": peak, "forward_peak_bytes": forward})

    for name in plan.left:
        _attempt(name, tell, hold)


def _memory_alone(plan: Plan, tell: Tell) -> None:
    """The same of the next contender only, where the peak cannot be set back: each has a process of its own.

    What was held before is the peak once the model and the images are there. What is set up at a first call is in both
    figures here, and the call's is that of the forward pass at the least.
    """

    def hold(contender: Contender, name: str) -> None:
        made = _made(plan.case)
        mark = memory.highest()
        scene = _posed(plan.case, *made)
        scene.forward()
        forward = memory.above(mark)
        with contenders.lent(contender, scene.problem, scene.scope) as work:
            work()
        peak = memory.above(mark)
        tell({"kind": "memory", "contender": name, "peak_bytes": peak, "forward_peak_bytes": forward})

    _attempt(plan.left[0], tell, hold)


def _held(work: contenders.Work, device: torch.device) -> int | None:
    gc.collect()
    before = memory.baseline(device)
    result = work()
    peak = memory.peak(device, before)
    del result
    return peak


def _attempt(name: str, tell: Tell, act: Callable[[Contender, str], None], contender: Contender | None = None) -> None:
    """Does something with a contender, in silence; whatever it raises is told, and does not end the run."""
    tell({"kind": "at", "contender": name})
    try:
        if contender is None:
            contender = contenders.parse(name)
            contenders.load(contender)
        with quiet():
            act(contender, name)
        return
    except BrokenPipeError:  # nobody listens
        raise
    except (Exception, SystemExit) as error:  # somebody else's code may raise anything
        told = {"kind": "outcome", "contender": name, **_outcome(error)}
    _free()  # not before the error is gone, which holds on to what was computed
    tell(told)


@contextmanager
def quiet() -> Iterator[None]:
    """What libraries print or warn of goes nowhere."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _outcome(error: BaseException) -> dict[str, str]:
    """What became of a contender that raised."""
    if chunks.is_out_of_memory(error):
        outcome = Outcome.OUT_OF_MEMORY
    elif isinstance(error, NotInstalled):
        outcome = Outcome.NOT_INSTALLED
    else:
        outcome = Outcome.NOT_OFFERED if isinstance(error, NotOffered) else Outcome.FAILED
    return {"outcome": outcome, "reason": one_line(error)}


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(path: str) -> None:
    """Carries out the plan in a file, and talks to whoever started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it hears Ctrl-C as well, and ends it
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # what a library writes to stdout by itself must not be taken for a line

        def tell(line: Mapping[str, Any]) -> None:
            print(json.dumps(line), file=channel, flush=True)
            if not sys.stdin.readline():
                raise BrokenPipeError("nobody listens")

        try:
            run(_plan(json.loads(Path(path).read_text(encoding="utf-8"))), tell)
            tell({"kind": "done"})
        except RequestError as error:
            tell({"kind": "refused", "reason": str(error)})


def _plan(plain: dict[str, Any]) -> Plan:
    """A plan from its plain values."""
    names = {name: tuple(plain[name]) for name in ("contenders", "left")}
    return Plan(**{**plain, **names, "kind": Pass(plain["kind"]), "case": record.case_of(plain["case"])})


if __name__ == "__main__":
    main(*sys.argv[1:])
