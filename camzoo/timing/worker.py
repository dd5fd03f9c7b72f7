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
from functools import partial
from pathlib import Path
from typing import Any

import torch

from camzoo import chunks, models, problems
from camzoo.errors import CamzooError, NotInstalled, NotOffered, RequestError, one_line
from camzoo.timing import clock, contenders, correctness, counting, memory, record
from camzoo.timing.contenders import Contender
from camzoo.timing.correctness import Judgement
from camzoo.timing.samples import Case, Outcome, Scope
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
class Stage:
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


def build(case: Case) -> Stage:
    """The model of a case, its images, and the problem.

    Raises:
        RequestError: the case does not make sense.
    """
    classifier = models.load(case.model, case.weights, case.seed)
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    dtype, device = DTYPES[case.dtype], torch.device(case.device)
    model = classifier.module.to(device, dtype)
    if case.channels_last:
        model = model.to(memory_format=torch.channels_last)
    images = pictures(case, len(classifier.preprocessing.mean)).to(device, dtype).contiguous(memory_format=layout)
    return Stage(problems.pose(model, images, case.layer, seed=case.seed), case.scope)


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
    try:
        stage = build(plan.case)
        clock.steady(lambda: clock.timed(stage.forward, stage.device).seconds)
    except CamzooError:
        raise
    except Exception as error:
        for name in plan.left:
            tell({"kind": "outcome", "contender": name, **_outcome(error), "reason": f"the model: {one_line(error)}"})
        return
    passes = {Pass.EXAMINE: _examine, Pass.TIME: _time, Pass.MEMORY: _memory}
    passes[plan.kind](plan, stage, tell)


def _examine(plan: Plan, stage: Stage, tell: Tell) -> None:
    """The verdict of each contender, what one call of it counts, and how far its map is from the reference."""
    yardstick = correctness.Yardstick(stage.problem)
    for name in plan.left:
        with _telling(name, tell) as contender:
            with contenders.lent(contender, stage.problem, stage.scope) as work:
                counts, found = counting.count(work, stage.problem.model, stage.problem.images)
            known = plan.verdicts.get(name)
            said = Judgement(*known) if known else correctness.of_check(contender, plan.full_check, stage.device)
            judged = asdict(yardstick.judge(said, contender, stage.scope, found, counts.images))
            of_check = (said.verdict, said.verdict_reason)
            tell({"kind": "examined", "contender": name, "counts": asdict(counts), "of_check": of_check, **judged})


def _time(plan: Plan, stage: Stage, tell: Tell) -> None:
    """Rounds over the contenders in random order: each call between two forward passes."""
    spent = {name: list(plan.done.get(name, ())) for name in plan.contenders}
    warm: dict[str, Contender] = {}
    for name in (name for name in plan.order() if name in plan.left):
        with _telling(name, tell) as contender:
            first, warmups = clock.steady(partial(_seconds, contender, stage))
            tell({"kind": "first", "contender": name, "process": plan.process, "seconds": first, "warmups": warmups})
            warm[name] = contender
    for number in range(plan.rounds):
        gc.collect()
        for name in plan.order(number):
            taken = spent[name]
            if name in warm and len(taken) == number and (not taken or sum(taken) < plan.budget):
                with _telling(name, tell, warm.pop(name)) as contender:
                    sample = _sample(contender, stage)
                    tell({"kind": "sample", "contender": name, "process": plan.process, "round": number, **sample})
                    taken.append(sample["seconds"])
                    warm[name] = contender


def _seconds(contender: Contender, stage: Stage) -> float:
    return _timed(contender, stage).seconds


def _sample(contender: Contender, stage: Stage) -> dict[str, Any]:
    """One call between two forward passes: a machine that slows down slows all three."""
    gc.disable()
    try:
        before = clock.timed(stage.forward, stage.device).seconds
        call = _timed(contender, stage)
        after = clock.timed(stage.forward, stage.device).seconds
    finally:
        gc.enable()
    return {"seconds": call.seconds, "forward": (before + after) / 2, "device_seconds": call.device_seconds}


def _timed(contender: Contender, stage: Stage) -> clock.Timing:
    with contenders.lent(contender, stage.problem, stage.scope) as work:
        return clock.timed(work, stage.device)


def _memory(plan: Plan, stage: Stage, tell: Tell) -> None:
    """The most memory that each contender holds at a time in a call, and that of a plain forward pass."""
    before = memory.baseline(stage.device)
    stage.forward()
    forward = memory.peak(stage.device, before)
    for name in plan.left:
        with _telling(name, tell) as contender, contenders.lent(contender, stage.problem, stage.scope) as work:
            gc.collect()
            before = memory.baseline(stage.device)
            result = work()
            peak = memory.peak(stage.device, before)
            del result
            tell({"kind": "memory", "contender": name, "peak_bytes": peak, "forward_peak_bytes": forward})


@contextmanager
def _telling(name: str, tell: Tell, ready: Contender | None = None) -> Iterator[Contender]:
    """The contender of a name, in silence; whatever it raises is told, and does not end the run."""
    tell({"kind": "at", "contender": name})
    try:
        contender = ready or contenders.parse(name)
        contenders.load(contender)
        with quiet():
            yield contender
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # somebody else's code may raise anything
        told = {"kind": "outcome", "contender": name, **_outcome(error)}
        del error
        _free()
        tell(told)


@contextmanager
def quiet() -> Iterator[None]:
    """What libraries print or warn of goes nowhere."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _outcome(error: Exception) -> dict[str, str]:
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
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library writes to stdout by itself must not be taken for a line

    def tell(line: Mapping[str, Any]) -> None:
        print(json.dumps(line), file=channel, flush=True)
        if not sys.stdin.readline():
            raise BrokenPipeError("nobody listens")

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it hears Ctrl-C as well, and ends it
    plain = json.loads(Path(path).read_text(encoding="utf-8"))
    known = {"kind": Pass(plain["kind"]), "case": record.case_of(plain["case"])}
    plan = Plan(**{**plain, **known, "contenders": tuple(plain["contenders"]), "left": tuple(plain["left"])})
    try:
        run(plan, tell)
    except RequestError as error:
        tell({"kind": "refused", "reason": str(error)})


if __name__ == "__main__":
    main(*sys.argv[1:])
