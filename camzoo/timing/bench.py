"""`bench`: fresh processes take turns over the cases; every sample is kept at once, so that nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from camzoo.errors import Failed, RequestError
from camzoo.timing import conditions, contenders, record
from camzoo.timing.record import Line
from camzoo.timing.samples import Case, Outcome, Run
from camzoo.timing.worker import Pass, Plan

ROUNDS, PROCESSES = 15, 3
BUDGET = 60.0
"""Seconds in one process after which a contender has no further round."""
GIVEN_BACK = "65536"
"""Bytes from which on glibc gives back at once what is freed, so that the resident set shows what tensors hold."""

Progress = Callable[[int, int, str, str], None]
"""Called with the number of processes done, their number, what the process at work does, and who is at work in it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What makes two runs the same.

    Attributes:
        cases: the work.
        names: the contenders, as `contenders.expand` gives them.
        rounds: of each process.
        processes: how many take the time.
        full_check: verdicts come from the whole check in place of its quick problems.
        budget: seconds in one process after which a contender has no further round.
    """

    cases: tuple[Case, ...]
    names: tuple[str, ...]
    rounds: int = ROUNDS
    processes: int = PROCESSES
    full_check: bool = False
    budget: float = BUDGET


def bench(
    request: Request,
    folder: Path,
    *,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> Run:
    """Measures what contenders cost.

    Every process is a fresh one: first all contenders are examined (verdict, counts, distance), then each process
    goes through its rounds, then memory is measured by itself. What is measured is in samples.jsonl at once;
    bench.json is written at the end, and where the run is interrupted.

    Args:
        request: the work, and who does it.
        folder: where it is kept.
        resume: goes on with the same run in the folder.
        command: the command line that makes it again.
        progress: called as work goes on.

    Raises:
        RequestError: the request does not make sense, or the folder holds something else.
        Failed: a process died before it had begun.
        KeyboardInterrupt: what was measured until then is kept.
    """
    record.check_free(folder, resume)
    identities = [contenders.identity(name) for name in request.names]
    device = torch.device(request.cases[0].device)
    around = conditions.fixed(device)
    log = _resumed(request, folder, around) if resume else _Log(folder, [_header(request, command, around)])
    log.begin({"kind": "before", "now": conditions.now(device)})
    begun = len(log.lines)
    try:
        _work(request, log, progress)
    except KeyboardInterrupt:
        if log.kept:
            log.add({"kind": "after", "now": conditions.now(device)})
            record.save(_run(request, identities, log.lines, finished=False), folder / record.FILE)
        raise
    if len(log.lines) > begun:
        log.add({"kind": "after", "now": conditions.now(device)})
    else:
        log.lines.pop()  # there was nothing left to do
    run = _run(request, identities, log.lines, finished=True)
    record.save(run, folder / record.FILE)
    return run


def _run(request: Request, identities: Sequence[tuple[str, str, str, str]], lines: list[Line], finished: bool) -> Run:
    """The Run that the lines tell of; what was resumed has several times before and after."""
    header, *rest = lines
    times = {kind: [line["now"] for line in rest if line["kind"] == kind] for kind in ("before", "during", "after")}
    rows = record.rows(request.cases, identities, rest)
    return Run(rows, header["command"], {**header["environment"], **times}, finished)


class _Log:
    """The lines of a run: in memory, and in its folder as soon as there is something to keep."""

    def __init__(self, folder: Path, lines: list[Line], kept: int = 0) -> None:
        self.folder, self.lines, self.kept = folder, lines, kept

    def begin(self, line: Line) -> None:
        """Takes a line that is kept along with the next one, so that a refused request leaves nothing behind."""
        self.lines.append(line)

    def add(self, line: Line) -> None:
        """Keeps a line at once."""
        self.lines.append(line)
        for each in self.lines[self.kept :]:
            record.append(self.folder, each)
            self.kept += 1


def _header(request: Request, command: str, around: Mapping[str, Any]) -> Line:
    plain = json.loads(json.dumps(asdict(request)))
    return {"kind": "run", "request": plain, "command": command, "environment": dict(around)}


SAME = ("cpu", "gpu", "device", "threads", "python", "versions", "flags", "commit")
"""What has to be the same where a run goes on: samples of two machines, or of two versions, are not mixed."""


def _resumed(request: Request, folder: Path, around: Mapping[str, Any]) -> _Log:
    """The lines of the run in a folder.

    Raises:
        RequestError: it is another run, or was begun on another machine or with another version of something.
    """
    lines = record.read_lines(folder)
    header = lines[0] if lines else {}
    if header.get("request") != _header(request, "", around)["request"]:
        raise RequestError(
            f"{folder} holds another run, of {header.get('command') or 'nobody'}: give its options, or --out"
        )
    if changed := unlike(header["environment"], around):
        raise RequestError(f"{folder} was begun otherwise ({'; '.join(changed)}): name another folder with --out")
    return _Log(folder, lines, len(lines))


def unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed of that which has to be the same where a run goes on; one line each."""
    plain = json.loads(json.dumps(dict(now)))
    return conditions.differences(*({name: each.get(name) for name in SAME} for each in (before, plain)))


def _work(request: Request, log: _Log, progress: Progress | None) -> None:
    """Every process of a run, as far as there is something left for it."""
    timing = [(Pass.TIME, process) for process in range(request.processes)]
    passes = [(Pass.EXAMINE, 0), *timing, (Pass.MEMORY, 0)]
    todo = [(kind, process, number) for kind, process in passes for number in range(len(request.cases))]
    for done, (kind, process, number) in enumerate(todo):
        says = f"{request.cases[number].name}: {kind}" + (f", process {process + 1}" if kind is Pass.TIME else "")

        def tick(name: str, done: int = done, says: str = says) -> None:
            if progress:
                progress(done, len(todo), says, name)

        # Where a process dies with a contender, that one is out, and a fresh one goes on with what is left.
        while (plan := _plan(request, log.lines, kind, process, number)).left:
            _process(plan, number, log, tick)
    if progress:
        progress(len(todo), len(todo), "", "")


def _plan(request: Request, lines: Sequence[Line], kind: Pass, process: int, number: int) -> Plan:
    """What is left for a process, from what was kept so far."""
    case = request.cases[number]
    of_case = [line for line in lines if line.get("case") == number]
    taken: dict[str, list[float]] = {name: [] for name in request.names}
    for line in of_case:
        if line["kind"] == "sample" and line["process"] == process:
            taken[line["contender"]].append(line["seconds"])
    if kind is Pass.TIME:
        ready = {name for name, had in taken.items() if len(had) >= request.rounds or sum(had) >= request.budget}
    else:
        ready = {line["contender"] for line in of_case if line["kind"] == KEPT[kind]}
    out = {line["contender"] for line in of_case if line["kind"] == "outcome"}
    checked = [line for line in lines if "of_check" in line]
    return Plan(
        kind,
        case,
        request.names,
        tuple(name for name in request.names if name not in out | ready),
        process,
        request.rounds,
        taken,
        request.budget,
        request.full_check,
        {line["contender"]: line["of_check"] for line in checked if request.cases[line["case"]].device == case.device},
    )


KEPT = {Pass.EXAMINE: "examined", Pass.MEMORY: "memory"}
"""The lines that show that a contender is through with a pass."""


def _process(plan: Plan, number: int, log: _Log, tick: Callable[[str], None]) -> None:
    """Runs one process; keeps what it says, and where it dies before it is done what has become of who was at work.

    Raises:
        RequestError: the case does not make sense.
        Failed: the process ended by itself before any contender was at work, or did nothing.
    """
    before = len(log.lines)
    at, code, said = _heard(plan, number, log, tick)
    if code is not None and at:
        log.add({"kind": "outcome", "case": number, "contender": at, **_death(code, said)})
    elif code is not None and code < 0:  # with the model alone: no contender can be asked about this case
        died = _death(code, said)
        for name in plan.left:
            reason = f"the model: {died['reason']}"
            log.add({"kind": "outcome", "case": number, "contender": name, **died, "reason": reason})
    elif len(log.lines) == before:
        raise Failed(f"a process ended with code {code or 0} and nothing done: {said}")


def _heard(plan: Plan, number: int, log: _Log, tick: Callable[[str], None]) -> tuple[str, int | None, str]:
    """Runs one process, and keeps what it says.

    Returns:
        Who was at work last; the code with which the process ended, None where it had said that it was done, whatever
        became of it then; and the last line that it wrote to stderr.
    """
    at, code = "", None
    with tempfile.TemporaryDirectory() as aside, tempfile.TemporaryFile() as errors:
        path = Path(aside) / "plan.json"
        path.write_text(json.dumps(asdict(plan)), encoding="utf-8")
        with _start(path, plan.kind, errors) as child:
            try:
                for line in _conversation(child):
                    if line["kind"] == "done":
                        break
                    if line["kind"] == "refused":
                        raise RequestError(line["reason"])
                    at = line.get("contender", at)
                    if line["kind"] == "at":
                        tick(at)
                    else:
                        log.add({"case": number, **line})
                else:
                    code = child.wait()
            finally:
                child.kill()
        errors.seek(0)
        said = (errors.read().decode(errors="replace").strip().splitlines() or [""])[-1]
    return at, code, said


def _start(path: Path, kind: Pass, errors: Any) -> subprocess.Popen[str]:
    quiet = {"TQDM_DISABLE": "1"}  # progress bars of libraries
    if kind is Pass.MEMORY:
        quiet["MALLOC_MMAP_THRESHOLD_"] = GIVEN_BACK
    return subprocess.Popen(
        [sys.executable, "-m", "camzoo.timing.worker", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        encoding="utf-8",
        env=os.environ | quiet,
    )


def _conversation(child: subprocess.Popen[str]) -> Iterator[Line]:
    """What a process says, line by line, to its end; it goes on once it is answered."""
    assert child.stdout
    assert child.stdin
    for text in child.stdout:
        if not text.endswith("\n"):  # it died while it spoke
            return
        yield json.loads(text)
        with suppress(BrokenPipeError):  # it died after it had spoken: its code tells
            os.write(child.stdin.fileno(), b"\n")  # past the buffer, which would be flushed into the pipe once more


def _death(code: int, said: str) -> dict[str, str]:
    """What to say of a process that died at work."""
    if code == -signal.SIGKILL:
        return {"outcome": Outcome.OUT_OF_MEMORY, "reason": "the process was killed, as the system does for memory"}
    how = f"signal {-code}" if code < 0 else f"code {code}"
    return {"outcome": Outcome.FAILED, "reason": f"the process died ({how}): {said}".rstrip(": ")}
