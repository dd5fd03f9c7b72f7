"""One process of a benchmark, run in this one: order, budgets, and contenders that break."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import racing
import torch

from camzoo import models
from camzoo.errors import RequestError
from camzoo.timing import clock, contenders, memory, record, statistics, worker
from camzoo.timing.samples import Case, Outcome, Scope
from camzoo.timing.worker import Pass, Plan

CASE = Case("racing:net", layer="last_act", size=48)
NAMES = ("gradcam", "racing:gradcam=gradcam", "racing:Same=gradcam")


def told(kind, names=NAMES, case=CASE, **given):
    lines = []
    worker.run(Plan(kind, case, names, given.pop("left", names), **given), lines.append)
    return lines


def of(lines, kind):
    return [line for line in lines if line["kind"] == kind]


@pytest.fixture(autouse=True)
def _no_collections(monkeypatch):
    """What is collected is all that the other tests have left, and takes its time."""
    monkeypatch.setattr(worker.gc, "collect", lambda: 0)


@pytest.fixture(scope="module")
def timed():
    return told(Pass.TIME, rounds=4, process=1)


def test_everyone_is_called_once_a_round_between_two_forward_passes(timed):
    samples = of(timed, "sample")
    assert Counter((line["contender"], line["round"]) for line in samples) == {
        (name, number): 1 for name in NAMES for number in range(4)
    }
    assert [line["round"] for line in samples] == sorted(line["round"] for line in samples)
    assert all(line["seconds"] > 0 and min(line["passes"]) > 0 and line["process"] == 1 for line in samples)


def test_first_calls_come_before_all_rounds(timed):
    kinds = [line["kind"] for line in timed if line["kind"] != "at"]
    assert kinds == ["first"] * 3 + ["sample"] * 12 + ["during"]


def test_who_is_at_work_is_told_before(timed):
    for before, line in itertools.pairwise(timed):
        if line["kind"] not in ("at", "during"):
            assert before == {"kind": "at", "contender": line["contender"]}


def test_the_order_is_random_and_the_same_for_the_same_process():
    names = tuple("abcdefgh")
    plan = Plan(Pass.TIME, CASE, names, names)
    assert plan.order(0) == plan.order(0)
    assert len({tuple(replace(plan, process=process).order(0)) for process in range(5)}) == 5
    assert len({tuple(plan.order(number)) for number in range(5)}) == 5
    assert all(sorted(plan.order(number)) == list(names) for number in range(5))


def test_the_model_runs_right_before_and_right_after_each_call(monkeypatch):
    calls = []
    monkeypatch.setattr(worker.Scene, "forward", lambda _self: calls.append("forward"))
    lent = contenders.lent

    def watched(contender, *given):
        calls.append(contender.name)
        return lent(contender, *given)

    monkeypatch.setattr(worker.contenders, "lent", watched)
    monkeypatch.setattr(worker.clock, "steady", lambda call: (call(), 0, False))
    told(Pass.TIME, ("gradcam", "eigencam"), rounds=2)
    calls = calls[3:]  # the model's first pass, and everybody's first call
    assert len(calls) == 12
    assert all(calls[at] == calls[at + 2] == "forward" != calls[at + 1] for at in range(0, 12, 3))


def test_the_collector_is_off_while_a_sample_is_taken(monkeypatch):
    seen = []
    monkeypatch.setattr(racing, "spend", lambda _seconds: seen.append(worker.gc.isenabled()))
    monkeypatch.setattr(worker.clock, "steady", lambda call: (0.0, 0, False))
    told(Pass.TIME, ("gradcam",), rounds=1)
    assert seen[-3:] == [False] * 3
    assert worker.gc.isenabled()


@pytest.fixture
def hands(monkeypatch):
    """Time that passes only where `racing` says that it does, with a little noise."""
    now, noise = [0.0], torch.Generator().manual_seed(0)

    def spend(seconds):
        now[0] += seconds * (1 + 0.01 * float(torch.randn(1, generator=noise)))

    monkeypatch.setattr(racing, "spend", spend)
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(clock, "steady", lambda call: (call(), 0, False))
    return now


def test_a_contender_that_is_slower_by_a_tenth_of_a_pass_is_found_and_an_equal_one_is_a_tie(hands):
    names = ("racing:gradcam=gradcam", "racing:Same=gradcam", "racing:slow=gradcam")
    lines = [
        {"case": 0, **line}
        for process in range(3)
        for line in told(Pass.TIME, names, replace(CASE, model="racing:timed"), rounds=10, process=process)
    ]
    plain, same, slow = record.rows([CASE], [contenders.identity(name) for name in names], lines)
    assert statistics.tie(statistics.paired(same, plain))
    slower = statistics.paired(slow, plain)
    assert not statistics.tie(slower)
    assert slower.low > 1.05
    assert slower.covers(1.10)


def test_whoever_has_used_its_seconds_has_no_further_round(hands):
    slow, quick = "racing:slow=gradcam", "racing:gradcam=gradcam"
    case = replace(CASE, model="racing:timed")
    lines = told(Pass.TIME, (slow, quick), case, rounds=5, budget=0.025, done={quick: [0.02]})
    assert Counter(line["contender"] for line in of(lines, "sample")) == {slow: 3, quick: 1}


def test_one_round_is_made_however_long_it_takes(hands):
    assert (
        len(of(told(Pass.TIME, ("gradcam",), replace(CASE, model="racing:timed"), rounds=5, budget=0.0), "sample")) == 1
    )


def test_what_was_taken_before_is_not_taken_again():
    lines = told(Pass.TIME, rounds=4, left=NAMES[:2], done={NAMES[0]: [0.1, 0.1], NAMES[1]: [], NAMES[2]: [0.1] * 4})
    rounds = {name: [line["round"] for line in of(lines, "sample") if line["contender"] == name] for name in NAMES}
    assert rounds == {NAMES[0]: [2, 3], NAMES[1]: [0, 1, 2, 3], NAMES[2]: []}
    assert {line["contender"] for line in of(lines, "first")} == set(NAMES[:2])


BREAKS = {
    "racing:exhausted=gradcam": (Outcome.OUT_OF_MEMORY, "OutOfMemoryError: CUDA out of memory"),
    "racing:broken=gradcam": (Outcome.FAILED, "ValueError: no idea"),
    "racing:leaving=gradcam": (Outcome.FAILED, "SystemExit: 0"),
    "layercam@captum": (Outcome.NOT_OFFERED, "captum has no layercam"),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [each for each in itertools.product(Pass, BREAKS) if each != (Pass.EXAMINE, "racing:exhausted=gradcam")],
)
def test_one_that_breaks_is_told_and_the_others_go_on(kind, name):
    outcome, reason = BREAKS[name]
    lines = told(kind, (name, "racing:gradcam=gradcam"))
    (line,) = of(lines, "outcome")
    assert (line["contender"], line["outcome"]) == (name, outcome)
    assert line["reason"].startswith(reason)
    done = {Pass.EXAMINE: "examined", Pass.TIME: "sample", Pass.MEMORY: "memory"}[kind]
    assert [line["contender"] for line in of(lines, done)] == ["racing:gradcam=gradcam"]


def test_one_that_gives_no_map_of_the_layer_is_not_offered_there():
    (line,) = of(told(Pass.TIME, ("gradcam@pytorch-grad-cam",), replace(CASE, scope=Scope.MAP)), "outcome")
    assert line["outcome"] == Outcome.NOT_OFFERED


def test_a_model_that_is_out_of_memory_is_told_for_everybody(monkeypatch):
    monkeypatch.setattr(racing, "net", racing.Greedy)
    lines = told(Pass.TIME, case=replace(CASE, batch=2))
    assert [line["contender"] for line in lines] == list(NAMES)
    assert {line["outcome"] for line in lines} == {Outcome.OUT_OF_MEMORY}
    assert lines[0]["reason"].startswith("the model: RuntimeError: DefaultCPUAllocator: not enough memory")


def test_a_case_that_makes_no_sense_is_refused():
    with pytest.raises(RequestError, match="did you mean last_act"):
        told(Pass.TIME, case=replace(CASE, layer="last_acd"))


def test_the_examination_counts_and_judges():
    lines = told(Pass.EXAMINE, ("gradcam", "racing:wrong=gradcam", "gradcam++@torchcam"))
    right, wrong, known = of(lines, "examined")
    assert right["counts"]["forwards"] == right["counts"]["backwards"] == 1
    assert (right["verdict"], right["of_check"]) == ("agrees", ("agrees", ""))
    assert (wrong["verdict"], wrong["of_check"]) == ("differs, new", ("agrees", ""))
    assert known["verdict"] == "differs, known"


def test_who_fits_into_memory_but_for_the_counting_is_timed_all_the_same(monkeypatch):
    count = worker.counting.count

    def greedy(work, *given):
        found = count(work, *given)
        if len(greedy_for) < 1:
            greedy_for.append("the first")
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    greedy_for = []
    monkeypatch.setattr(worker.counting, "count", greedy)
    lines = told(Pass.EXAMINE, NAMES[:2])
    assert not of(lines, "outcome")
    first, second = of(lines, "examined")
    assert (first["contender"], first["verdict"]) == (NAMES[0], "")
    assert first["verdict_reason"].startswith("out of memory while it was counted: OutOfMemoryError: CUDA out of")
    assert (second["contender"], second["verdict"]) == (NAMES[1], "agrees")


def test_nothing_is_in_float64_before_all_are_counted(monkeypatch):
    happened = []
    count, copy = worker.counting.count, worker.correctness._in_float64
    monkeypatch.setattr(worker.counting, "count", lambda *given: happened.append("counted") or count(*given))
    monkeypatch.setattr(worker.correctness, "_in_float64", lambda *given: happened.append("copied") or copy(*given))
    told(Pass.EXAMINE, NAMES[:2])
    assert happened == ["counted", "counted", "copied"]


def test_what_was_checked_before_is_not_checked_again(monkeypatch):
    monkeypatch.setattr(worker.correctness, "of_check", lambda *_: pytest.fail("checked again"))
    (line,) = of(told(Pass.EXAMINE, ("gradcam",), verdicts={"gradcam": ["breaks a promise", "one"]}), "examined")
    assert (line["verdict"], line["verdict_reason"]) == ("breaks a promise", "one")


def test_memory_is_that_of_the_call(monkeypatch):
    held = []
    monkeypatch.setattr(memory, "settable", lambda _device: True)
    monkeypatch.setattr(memory, "baseline", lambda _device: held.append("before") or 7)
    monkeypatch.setattr(memory, "peak", lambda _device, before: len(held) * 100 + before)
    lines = of(told(Pass.MEMORY, NAMES[:2]), "memory")
    assert [(line["forward_peak_bytes"], line["peak_bytes"]) for line in lines] == [(107, 207), (107, 307)]


def test_memory_is_not_that_of_the_first_call(monkeypatch):
    calls = []
    once = racing.gradcam

    def greedy(*given):
        calls.append(torch.ones(32 * 2**20 // 4) if not calls else None)
        return once(*given)

    monkeypatch.setattr(racing, "gradcam", greedy)
    (line,) = of(told(Pass.MEMORY, ("racing:gradcam=gradcam",)), "memory")
    assert len(calls) == 2
    assert line["peak_bytes"] is None or line["peak_bytes"] < 8 * 2**20


def test_a_library_that_prints_is_not_heard(capfd):
    told(Pass.TIME, ("racing:loud=gradcam",), rounds=1)
    assert "loud!" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("changed", "dtype", "channels_last"),
    [
        ({}, torch.float32, False),
        ({"dtype": "bfloat16"}, torch.bfloat16, False),
        ({"channels_last": True}, torch.float32, True),
    ],
)
def test_the_case_is_built_as_it_says(changed, dtype, channels_last):
    scene = worker.build(replace(CASE, batch=2, **changed))
    images, weight = scene.problem.images, scene.problem.model.stem.weight
    assert images.shape == (2, 3, 48, 48)
    assert images.dtype == weight.dtype == dtype
    for tensor in (images, weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert scene.problem.layer == "last_act"
    assert scene.forward().is_inference()
    assert not scene.problem.model.training


def test_images_come_from_the_seed_and_differ_within_a_batch():
    first, again = (worker.pictures(replace(CASE, batch=2), 3) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, worker.pictures(replace(CASE, batch=2, seed=1), 3))


def test_the_weights_are_those_that_were_named():
    given, random = (worker.build(replace(CASE, weights=weights, seed=3)) for weights in (None, "random"))
    wanted = models.load("racing:net", None, 3).module
    assert torch.equal(given.problem.model.stem.weight, wanted.stem.weight)
    assert random.problem.layer == given.problem.layer
