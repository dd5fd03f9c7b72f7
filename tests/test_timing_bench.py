"""A whole benchmark: what is kept, what a dying process leaves, Ctrl-C and resuming."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from camzoo.errors import Failed, RequestError
from camzoo.timing import bench, conditions, memory, record, statistics, worker
from camzoo.timing.bench import Request
from camzoo.timing.samples import Case, Outcome
from camzoo.timing.worker import Pass, Plan

CASES = (Case("racing:net", layer="last_act", size=48), Case("racing:net", layer="last_act", size=48, batch=2))
NAMES = ("gradcam", "racing:gradcam=gradcam", "racing:wrong=gradcam", "racing:exhausted=gradcam")
REQUEST = Request(CASES, NAMES, rounds=3, processes=2)


@pytest.fixture
def here(monkeypatch):
    """Every process runs in this one, without waiting until calls are alike; gives what was run."""
    ran = []

    def process(plan, number, log, tick):
        ran.append((plan.kind, number, plan.process))

        def tell(line):
            if line["kind"] == "at":
                tick(line["contender"])
            else:
                log.add(json.loads(json.dumps({"case": number, **line})))

        worker.run(plan, tell)

    monkeypatch.setattr(bench, "_process", process)
    monkeypatch.setattr(worker.gc, "collect", lambda: 0)
    monkeypatch.setattr(worker.clock, "steady", lambda call: (call(), 0, False))
    monkeypatch.setattr(conditions, "commit", lambda: "abc1234")  # the code may be worked on while this runs
    return ran


def test_every_contender_has_its_samples_or_a_reason(here, tmp_path):
    run = bench.bench(REQUEST, tmp_path / "out", command="camzoo bench")
    assert [row.contender for row in run.of(CASES[1])] == [name.partition("=")[0] for name in NAMES]
    for case in CASES:
        right, own, wrong, exhausted = run.of(case)
        for row in (right, own):
            assert (row.outcome, row.verdict) == (Outcome.OK, "agrees")
            assert Counter((each.process, each.round) for each in row.samples) == {
                (process, number): 1 for process in range(2) for number in range(3)
            }
            assert len(row.first) == len(row.warmups) == len(row.alike) == 2
            assert row.counts.images == case.batch
        assert (wrong.outcome, wrong.verdict) == (Outcome.OK, "differs, new")
        assert (exhausted.outcome, exhausted.samples) == (Outcome.OUT_OF_MEMORY, ())


def test_a_wrong_map_and_what_ran_out_of_memory_have_no_place(here, tmp_path):
    run = bench.bench(REQUEST, tmp_path / "out")
    ranked = {each.row.contender: each for each in statistics.ranking(run.of(CASES[0]))}
    assert ranked["racing:wrong"].place is None
    assert ranked["racing:wrong"].why.startswith("differs, new: agrees at small networks")
    assert ranked["racing:exhausted"].why.startswith("out of memory: OutOfMemoryError: CUDA out of memory")


def test_all_are_examined_first_and_memory_comes_last(here, tmp_path):
    bench.bench(REQUEST, tmp_path / "out")
    assert here == [
        *((Pass.EXAMINE, number, 0) for number in (0, 1)),
        *((Pass.TIME, number, process) for process in (0, 1) for number in (0, 1)),
        *((Pass.MEMORY, number, 0) for number in (0, 1)),
    ]


def test_a_contender_is_checked_once_whatever_the_number_of_cases(here, tmp_path, monkeypatch):
    checked = []
    of_check = worker.correctness.of_check
    monkeypatch.setattr(
        worker.correctness, "of_check", lambda who, *given: checked.append(who.name) or of_check(who, *given)
    )
    bench.bench(REQUEST, tmp_path / "out")
    assert sorted(checked) == ["gradcam", "racing:gradcam", "racing:wrong"]


def test_what_is_kept_is_what_is_given(here, tmp_path):
    run = bench.bench(REQUEST, tmp_path / "out", command="camzoo bench --here")
    stored = record.load(tmp_path / "out")
    assert (stored.rows, stored.command, stored.finished) == (run.rows, "camzoo bench --here", True)
    assert len(stored.environment["before"]) == len(stored.environment["after"]) == 1
    assert len(stored.environment["during"]) == 2 * 2  # processes and cases
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bench.json", "samples.jsonl"]


class Interrupting:
    """Ctrl-C when a number of contenders have been at work."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, _done, _total, process, _name):
        self.left -= bool(process)
        if self.left < 0:
            raise KeyboardInterrupt


# Counted, judged; of each process a first call and three rounds, and once the one that is out of memory; memory.
ALL = 2 * (4 + 3) + 2 * (2 * 3 * (1 + 3) + 1) + 2 * 3


@pytest.mark.parametrize("after", [5, 12, 36, 64, ALL - 1])
def test_what_was_interrupted_goes_on_and_loses_and_repeats_nothing(after, here, tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        bench.bench(REQUEST, folder, progress=Interrupting(after))
    before = (folder / "samples.jsonl").read_text()
    assert not record.load(folder).finished
    run = bench.bench(REQUEST, folder, resume=True)
    assert run.finished
    assert (folder / "samples.jsonl").read_text().startswith(before)
    lines = record.read_lines(folder)
    once = Counter((line["kind"], line["case"], line["contender"], line.get("process"), line.get("round"))
                   for line in lines if line["kind"] in ("sample", "examined", "memory", "outcome"))  # fmt: skip
    assert set(once.values()) == {1}
    assert Counter(key[0] for key in once) == {"sample": 36, "examined": 8, "memory": 6, "outcome": 2}
    assert len(run.environment["before"]) == len(run.environment["after"]) == 2


@pytest.mark.parametrize("at", [0, 9, 20])
def test_ctrl_c_right_after_a_line_was_kept_repeats_nothing(at, here, tmp_path, monkeypatch):
    append, kept = record.append, []

    def interrupted(folder, line):
        append(folder, line)
        kept.append(line)
        if len(kept) == at + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(record, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.bench(REQUEST, tmp_path / "out")
    run = bench.bench(REQUEST, tmp_path / "out", resume=True)
    taken = [(each.process, each.round) for each in run.rows[0].samples]
    assert sorted(taken) == [(process, number) for process in range(2) for number in range(3)]


def test_a_run_that_is_done_is_read_when_it_is_resumed(here, tmp_path):
    first = bench.bench(REQUEST, tmp_path / "out")
    here.clear()
    again = bench.bench(REQUEST, tmp_path / "out", resume=True)
    assert again.rows == first.rows
    assert len(again.environment["before"]) == len(again.environment["after"]) == 1  # no load where nothing ran
    assert here == []


def test_nothing_is_left_where_it_ends_before_anything_was_measured(here, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        bench.bench(REQUEST, tmp_path / "out", progress=Interrupting(0))
    request = replace(REQUEST, cases=(replace(CASES[0], layer="last_acd"),))
    with pytest.raises(RequestError, match="did you mean last_act"):
        bench.bench(request, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"cases": CASES[:1]},
        {"names": NAMES[:2]},
        {"rounds": 4},
        {"processes": 3},
        {"full_check": True},
        {"budget": 1.0},
    ],
)
def test_the_folder_of_another_run_is_refused(changed, here, tmp_path):
    bench.bench(REQUEST, tmp_path / "out", command="camzoo bench --this")
    before = (tmp_path / "out" / "samples.jsonl").read_text()
    with pytest.raises(RequestError, match="another run, of camzoo bench --this"):
        bench.bench(replace(REQUEST, **changed), tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "samples.jsonl").read_text() == before


def test_a_run_does_not_go_on_on_another_machine(here, tmp_path, monkeypatch):
    bench.bench(REQUEST, tmp_path / "out")
    monkeypatch.setattr(conditions, "cpu", lambda: "another one")
    with pytest.raises(RequestError, match=r"was begun otherwise \(cpu: .* before, another one now\): name another"):
        bench.bench(REQUEST, tmp_path / "out", resume=True)


def test_samples_of_two_versions_are_not_mixed(here, tmp_path, monkeypatch):
    folder, versions = tmp_path / "out", {"torch": "2.9", "captum": "0.8"}
    fixed, given = conditions.fixed, {"commit": "abc1234", "versions": versions, "load_before": [1.0]}
    monkeypatch.setattr(conditions, "fixed", lambda device: fixed(device) | given)
    with pytest.raises(KeyboardInterrupt):
        bench.bench(REQUEST, folder, progress=Interrupting(9))
    before = (folder / "samples.jsonl").read_text()
    given |= {"commit": "def5678", "versions": versions | {"captum": "0.9"}}
    with pytest.raises(RequestError) as refusal:
        bench.bench(REQUEST, folder, resume=True)
    told = "versions.captum: 0.8 before, 0.9 now; commit: abc1234 before, def5678 now"
    assert str(refusal.value) == f"{folder} was begun otherwise ({told}): name another folder with --out"
    assert (folder / "samples.jsonl").read_text() == before
    given |= {"commit": "abc1234", "versions": versions, "load_before": [2.0]}
    assert bench.bench(REQUEST, folder, resume=True).finished


def test_each_has_a_process_of_its_own_where_the_peak_cannot_be_set_back(here, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear_refs")
    marks = itertools.count(10**9, 10**6)  # of the process at each look
    monkeypatch.setattr(memory, "highest", lambda: next(marks))
    request = replace(REQUEST, cases=CASES[:1], processes=1, rounds=1)
    run = bench.bench(request, tmp_path / "out")
    assert Counter(here)[Pass.MEMORY, 0, 0] == 3  # the fourth is out already
    assert [(row.forward_peak_bytes, row.peak_bytes) for row in run.rows] == [(10**6, 2 * 10**6)] * 3 + [(None, None)]


# A process that speaks, without the time that importing takes.
SPEAKER = """
import json, os, signal, sys
for line in {lines!r}:
    print(json.dumps(line), flush=True)
    if not sys.stdin.readline():
        sys.exit(9)
print("some trouble", file=sys.stderr)
{end}
"""
AT, DONE = {"kind": "at", "contender": "gradcam"}, {"kind": "done"}


def spoken(monkeypatch, tmp_path, lines, end=""):
    """What a process leaves that says these lines and then comes to its end."""

    def start(_path, _kind, errors):
        command = [sys.executable, "-c", SPEAKER.format(lines=lines, end=end)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    monkeypatch.setattr(bench, "_start", start)
    log, ticks = bench._Log(tmp_path / "out", [{"kind": "run"}]), []
    bench._process(Plan(Pass.TIME, CASES[0], NAMES, NAMES), 1, log, ticks.append)
    assert record.read_lines(tmp_path / "out") == log.lines
    return log.lines[1:], ticks


def test_a_process_is_heard_line_by_line(monkeypatch, tmp_path):
    first, second = ({"kind": "sample", "contender": "gradcam", "round": number} for number in range(2))
    lines, ticks = spoken(monkeypatch, tmp_path, [AT, first, AT, second, DONE])
    assert lines == [{"case": 1, **first}, {"case": 1, **second}]
    assert ticks == ["gradcam"] * 2


@pytest.mark.parametrize(
    ("end", "outcome", "reason"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "out of memory",
            "the process was killed, as the system does for memory",
        ),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "failed", "the process died (signal 11): some trouble"),
        ("sys.exit(3)", "failed", "the process died (code 3): some trouble"),
        ("os._exit(0)", "failed", "the process died (code 0): some trouble"),
        ("print('{', end='', flush=True); os._exit(1)", "failed", "the process died (code 1): some trouble"),
    ],
)
def test_a_process_that_dies_takes_its_contender_with_it(end, outcome, reason, monkeypatch, tmp_path):
    lines, _ = spoken(monkeypatch, tmp_path, [AT], end)
    assert lines == [{"kind": "outcome", "case": 1, "contender": "gradcam", "outcome": outcome, "reason": reason}]


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGSEGV)", "time.sleep(60)"])
def test_how_a_process_ends_that_is_done_is_nothing_to_its_contenders(end, monkeypatch, tmp_path):
    sample, began = {"kind": "sample", "contender": "gradcam"}, time.monotonic()
    lines, _ = spoken(monkeypatch, tmp_path, [AT, sample, DONE], f"import time; {end}")
    assert lines == [{"case": 1, **sample}]
    assert time.monotonic() - began < 30


def test_a_process_that_is_killed_with_the_model_takes_the_case_with_it_and_no_other(monkeypatch, tmp_path):
    lines, _ = spoken(monkeypatch, tmp_path, [], "os.kill(os.getpid(), signal.SIGKILL)")
    assert [line["contender"] for line in lines] == list(NAMES)
    assert {line["outcome"] for line in lines} == {"out of memory"}
    assert {line["reason"] for line in lines} == {"the model: the process was killed, as the system does for memory"}


def test_nobody_is_blamed_where_progress_cannot_be_shown(monkeypatch, tmp_path):
    """As where stderr is a pipe that was closed: `camzoo bench 2>&1 | head`."""

    def start(_path, _kind, errors):
        command = [sys.executable, "-c", SPEAKER.format(lines=[AT, DONE], end="")]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def closed(_name):
        raise BrokenPipeError

    monkeypatch.setattr(bench, "_start", start)
    log = bench._Log(tmp_path / "out", [{"kind": "run"}])
    with pytest.raises(BrokenPipeError):
        bench._process(Plan(Pass.TIME, CASES[0], NAMES, NAMES), 1, log, closed)
    assert log.lines == [{"kind": "run"}]


def test_a_process_that_dies_before_it_has_begun_ends_the_run(monkeypatch, tmp_path):
    with pytest.raises(Failed, match="ended with code 3 and nothing done: some trouble"):
        spoken(monkeypatch, tmp_path, [], "sys.exit(3)")


def test_a_process_that_does_nothing_ends_the_run(monkeypatch, tmp_path):
    with pytest.raises(Failed, match="nothing done"):
        spoken(monkeypatch, tmp_path, [AT, DONE])


def test_what_a_process_refuses_is_refused(monkeypatch, tmp_path):
    with pytest.raises(RequestError, match="no such layer"):
        spoken(monkeypatch, tmp_path, [{"kind": "refused", "reason": "no such layer"}])


def test_the_process_ends_where_nobody_listens_any_more(monkeypatch, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"kind": "time", "case": {"scope": "map", "model": "x"}, "contenders": [], "left": []}))
    monkeypatch.setattr(worker, "run", lambda _plan, tell: tell({"kind": "at"}))
    monkeypatch.setattr(worker.os, "dup2", lambda *_: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(BrokenPipeError):
        worker.main(str(plan))


def test_a_process_has_no_bars_and_gives_memory_back_where_that_is_measured(monkeypatch):
    given = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: given.append((command, options)))
    for kind in Pass:
        bench._start(Path("plan.json"), kind, None)
    commands, environments = [command for command, _ in given], [options["env"] for _, options in given]
    assert commands == [[sys.executable, "-m", "camzoo.timing.worker", "plan.json"]] * 3
    assert {each["TQDM_DISABLE"] for each in environments} == {"1"}
    assert ["MALLOC_MMAP_THRESHOLD_" in each for each in environments] == [kind is Pass.MEMORY for kind in Pass]


@pytest.mark.slow
def test_ctrl_c_in_the_middle_and_resume_with_real_processes(tmp_path):
    names = ["gradcam", *(f"racing:{name}=gradcam" for name in ("slow", "exhausted", "killed", "leaving"))]
    words = ["bench", "--model", "racing:timed", "--layer", "last_act", "--size", "48", "--methods", names[0]]
    words += [word for name in names[1:] for word in ("--own", name)]
    words += ["--rounds", "40", "--processes", "1", "--out", str(tmp_path / "out")]
    # Without a commit, so that the code may be worked on while this runs.
    around = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "GIT_DIR": str(tmp_path / "none")}
    command = [sys.executable, "-m", "camzoo", *words]
    samples = tmp_path / "out" / "samples.jsonl"

    def taken():
        return samples.read_text().count('"sample"') if samples.exists() else 0

    # Ctrl-C is heard also where the suite runs in the background, as a shell starts what it does not wait for.
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    started = [sys.executable, "-c", f"{hear}; from camzoo.cli import main; main()", *words]
    running = subprocess.Popen(started, env=around, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while taken() < 8 and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "--resume" in said.splitlines()[-1]
    before = samples.read_text()
    assert 8 <= before.count('"sample"') < 80
    assert not record.load(tmp_path / "out").finished

    done = subprocess.run([*command, "--resume"], env=around, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # some failed
    assert samples.read_text().startswith(before)
    run = record.load(tmp_path / "out")
    assert run.finished
    right, slow, exhausted, killed, leaving = run.rows
    for row in (right, slow):
        assert [(each.process, each.round) for each in row.samples] == [(0, number) for number in range(40)]
        assert len(row.first) == 2  # of the process that was interrupted, and of the one that went on
    assert (exhausted.outcome, killed.outcome) == (Outcome.OUT_OF_MEMORY,) * 2
    assert (leaving.outcome, leaving.reason) == (Outcome.FAILED, "SystemExit: 0")
    for name in ("racing:slow", "out of memory", "cost.png"):
        assert name in done.stdout
