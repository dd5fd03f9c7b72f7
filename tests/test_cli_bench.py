"""`camzoo bench` from the command line: what is asked for, what is shown, exit codes and bad requests."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from camzoo import cli
from camzoo.timing import bench, record
from camzoo.timing.samples import NOT_REACHED, Case, Counts, Outcome, Row, Run, Sample, Scope

CASE = Case("racing:net", layer="last_act", size=48)


def row(name, cost, case=CASE, **given):
    """A row whose cost in forward passes is around a number."""
    noise = np.random.default_rng(0).normal(1, 0.01, (3, 10))
    samples = tuple(Sample(p, r, cost * 0.01 * float(noise[p, r]), (0.01, 0.01)) for p in range(3) for r in range(10))
    values = {"verdict": "agrees", "counts": Counts(1, 1, 1, 1, 2, 100, 9, 9), "peak_bytes": 2**20, "distance": 1e-6}
    method, _, backend = name.partition("@")
    return Row(case, name, method, backend or "camzoo", Outcome.OK, first=(0.5,), samples=samples, **values | given)


ROWS = (
    row("gradcam", 1.1),
    row("gradcam@captum", 2.2),
    row("layercam", 3.0, verdict="differs, new", verdict_reason="a <b>[red]wrong[/] map"),
    Row(CASE, "scorecam", "scorecam", "camzoo", Outcome.OUT_OF_MEMORY, "too much"),
)
RUN = Run(ROWS, "camzoo bench", {"cores": 2})


def called(*words):
    """The exit code of a command line."""
    try:
        cli.main()
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture
def camzoo(monkeypatch, capsys):
    """A command line: its exit code, and what it says."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["camzoo", "bench", *map(str, words)])
        code = called()
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def asked(monkeypatch):
    """The requests that were made, each answered by a run of the case."""
    requests = []

    def answer(request, folder, *, resume, command, progress):
        requests.append((request, folder, resume, command))
        progress(0, 2, "the case: time", "gradcam")
        folder.mkdir(exist_ok=True)
        record.save(RUN, folder / record.FILE)
        return RUN

    monkeypatch.setattr(bench, "bench", answer)
    return requests


def test_the_table_has_places_figures_and_reasons(camzoo, asked, tmp_path):
    code, out, err = camzoo("--model", "racing:net", "--size", 48, "--out", tmp_path / "out")
    assert code == 1  # one is out of memory
    lines = {
        line.split()[1] if line.split()[0].isdigit() else line.split()[0]: line for line in out.splitlines() if line
    }
    assert lines["gradcam"].split()[0] == "1"
    assert lines["gradcam@captum"].split()[0] == "2"
    assert "1.1" in lines["gradcam"]
    assert "1+1" in lines["gradcam"]
    assert "1.00 MiB" in lines["gradcam"]
    assert not lines["layercam"].strip()[0].isdigit()
    assert "differs, new: a <b>[red]wrong[/] map" in out
    assert "out of memory: too much" in lines["scorecam"]
    assert "the case: time" in err


def test_too_few_samples_are_shown_without_a_place_or_an_interval(camzoo, tmp_path, monkeypatch):
    few = row("layercam", 1.0)
    run = Run((row("gradcam", 1.1), replace(few, samples=few.samples[:5])), "camzoo bench", {})
    monkeypatch.setattr(bench, "bench", lambda *_a, **_k: record.save(run, tmp_path / "bench.json") and run)
    _, out, _ = camzoo("--model", "racing:net", "--out", tmp_path)
    line = next(line for line in out.splitlines() if "layercam" in line)
    assert line.split()[0] == "layercam"
    assert "too few samples to rank: 5 in 1 process" in line
    assert "[" not in line


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.OK, 0), (Outcome.NOT_OFFERED, 0), (Outcome.NOT_INSTALLED, 0), (Outcome.FAILED, 1)],
)
def test_it_ends_with_1_where_a_contender_failed(outcome, code, camzoo, tmp_path, monkeypatch):
    run = Run((row("gradcam", 1.1), replace(row("layercam", 1.0), outcome=outcome)), "camzoo bench", {})
    monkeypatch.setattr(bench, "bench", lambda *_a, **_k: record.save(run, tmp_path / "bench.json") and run)
    assert camzoo("--model", "racing:net", "--out", tmp_path)[0] == code


def test_calls_that_never_became_alike_are_told(camzoo, tmp_path, monkeypatch):
    rows = [row("gradcam", 1.1, alike=(True,) * 3), row("layercam", 1.0, alike=(True, False, True))]
    run = Run((*rows, row("fem", 1.0)), "camzoo bench", {})
    monkeypatch.setattr(bench, "bench", lambda *_a, **_k: record.save(run, tmp_path / "bench.json") and run)
    _, out, _ = camzoo("--model", "racing:net", "--out", tmp_path)
    assert "calls never became alike before the clock ran in 1 of 2 rows: layercam\n" in out


def test_the_time_on_a_device_is_told_where_there_is_any(camzoo, tmp_path, monkeypatch):
    larger = row("gradcam", 1.1, replace(CASE, batch=8))
    on_device = replace(larger, samples=tuple(replace(each, device_seconds=0.0321) for each in larger.samples))
    run = Run((row("gradcam", 1.1), on_device), "camzoo bench", {})
    monkeypatch.setattr(bench, "bench", lambda *_a, **_k: record.save(run, tmp_path / "bench.json") and run)
    _, out, _ = camzoo("--model", "racing:net", "--out", tmp_path)
    first, second = out.split(larger.case.name)
    assert "device time" not in first
    assert "device time" in second
    assert "32.1 ms" in second


def test_figures_and_files_are_named_and_there(camzoo, asked, tmp_path):
    _, out, _ = camzoo("--model", "racing:net", "--out", tmp_path / "out")
    for name in ("cost.png", "memory.png", "pareto.png", "bench.json"):
        assert str(tmp_path / "out" / name) in out
        assert (tmp_path / "out" / name).stat().st_size > 500
    assert "scaling.png" not in out


def test_every_combination_is_a_case(camzoo, asked, tmp_path):
    words = ("--model", "racing:net", "--model", "resnet18", "--weights", "random", "--layer", "x", "--batch", "1,8")
    words += ("--size", "48,64", "--dtype", "float32,bf16", "--scope", "both", "--channels-last", "--seed", "3")
    camzoo(*words, "--out", tmp_path / "out")
    ((request, *_),) = asked
    assert len(request.cases) == 2 * 2 * 2 * 2 * 2
    assert request.cases[0] == Case(
        "racing:net", "random", "x", 1, 48, "float32", "cpu", Scope.MAP, seed=3, channels_last=True
    )
    assert {case.dtype for case in request.cases} == {"float32", "bfloat16"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--processes", 1), True),
        (("--rounds", 1), True),
        (("--rounds", 2), False),
        (("--quick",), False),
        (("--plan", "--processes", 1), False),
    ],
)
def test_too_few_samples_for_places_are_said_before_the_run(words, said, camzoo, asked, tmp_path):
    _, _, err = camzoo("--model", "racing:net", "--out", tmp_path / "out", *words)
    assert err.startswith("camzoo: too few samples for places (") == said
    assert len(err.splitlines()) == 1 + said


def test_what_is_asked_for_is_passed_on(camzoo, asked, tmp_path):
    own = (
        "--methods",
        "gradcam",
        "--own",
        "racing:gradcam=gradcam",
        "--rounds",
        7,
        "--processes",
        2,
        "--check",
        "full",
    )
    camzoo("--model", "racing:net", *own, "--resume", "--out", tmp_path / "my out")
    ((request, folder, resume, command),) = asked
    assert request.names == ("gradcam", "racing:gradcam=gradcam")
    assert (request.rounds, request.processes, request.full_check) == (7, 2, True)
    assert (folder, resume) == (tmp_path / "my out", True)
    assert command.startswith("camzoo bench --model racing:net --methods gradcam --own")
    assert f"'{tmp_path / 'my out'}'" in command
    assert "--resume" not in command


def test_quick_is_a_dozen_contenders_of_the_default_model(camzoo, asked, tmp_path):
    camzoo("--quick", "--out", tmp_path / "out")
    ((request, *_),) = asked
    assert 8 <= len(request.names) <= 12
    assert {"gradcam", "gradcam@captum", "gradcam@torchcam", "gradcam@pytorch-grad-cam"} <= set(request.names)
    assert [case.model for case in request.cases] == ["efficientnet-lite0"]
    assert request.rounds < bench.ROUNDS


def test_a_plan_says_what_many_images_cost(camzoo, asked, tmp_path):
    _, out, _ = camzoo("--model", "racing:net", "--plan", "--images", 1000, "--out", tmp_path / "out")
    assert "gradcam: 1,000 images cost" in out
    assert "scorecam: out of memory" in out


def saved(path, *rows, **environment):
    return record.save(Run(rows, "camzoo bench", {"cores": 2, **environment}), path / "bench.json").parent


@pytest.mark.parametrize(("cost", "code", "word"), [(1.0, 0, "tie"), (1.2, 1, "slower"), (0.8, 0, "faster")])
def test_comparing_ends_with_1_where_something_has_become_slower(cost, code, word, camzoo, tmp_path):
    old, new = saved(tmp_path / "old", row("gradcam", 1.0)), saved(tmp_path / "new", row("gradcam", cost))
    found, out, _ = camzoo("--compare", old, new)
    assert found == code
    assert f"gradcam: {word}" in out
    assert "the smallest slowdown of one row that is found nine times in ten at this noise is" in out


def test_what_an_interrupted_run_did_not_reach_is_not_lost(camzoo, tmp_path):
    old = saved(tmp_path / "old", row("gradcam", 1.0), row("layercam", 1.0))
    lost = Row(CASE, "layercam", "layercam", "camzoo", Outcome.FAILED, NOT_REACHED)
    new = Run((row("gradcam", 1.0), lost), "camzoo bench", {"cores": 2}, finished=False)
    code, out, _ = camzoo("--compare", old, record.save(new, tmp_path / "new" / "bench.json"))
    assert code == 0
    assert "the new run was interrupted" in out
    assert "layercam: not reached, the new run ended before it was timed" in out


def test_runs_that_have_nothing_in_common_are_not_compared(camzoo, tmp_path):
    old, new = saved(tmp_path / "old", row("gradcam", 1.0)), saved(tmp_path / "new", row("layercam", 1.0))
    code, out, err = camzoo("--compare", old, new)
    assert (code, out) == (2, "")
    assert "have nothing in common: no contender was asked about the same case in both" in err


def test_a_run_that_was_killed_is_told_how_to_go_on(camzoo, tmp_path):
    record.append(tmp_path / "old", {"kind": "run"})
    code, _, err = camzoo("--compare", tmp_path / "old", saved(tmp_path / "new", row("gradcam", 1.0)))
    assert code == 2
    assert "old holds a run that was ended before it was done: go on with --resume" in err


def test_other_machines_are_said(camzoo, tmp_path):
    old, new = (saved(tmp_path / name, row("gradcam", 1.0), cpu=name) for name in ("old", "new"))
    code, out, _ = camzoo("--compare", old, new)
    assert code == 0
    assert "not alike: cpu: old before, new now" in out


def test_ctrl_c_says_how_to_go_on(camzoo, monkeypatch, tmp_path):
    def interrupted(*_given, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "bench", interrupted)
    code, _, err = camzoo("--model", "racing:net", "--out", tmp_path / "out")
    assert code == 130
    assert err.strip().endswith(f"camzoo bench --model racing:net --out {tmp_path / 'out'} --resume")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "resnet81"), "did you mean resnet18"),
        (("--dtype", "float33"), "did you mean float32"),
        (("--scope", "mapp"), "did you mean map"),
        (("--check", "ful"), "did you mean full"),
        (("--batch", "0"), "--batch takes whole numbers above 0"),
        (("--batch", "1,,8"), "--batch takes whole numbers above 0"),
        (("--size", "big"), "--size takes whole numbers above 0"),
        (("--size", "\u00b2"), "--size takes whole numbers above 0"),
        (("--methods", "gradcan"), "did you mean gradcam"),
        (("--own", "racing:gradcam"), "racing:gradcam=gradcam"),
        (("--device", "gpu"), "no device 'gpu'"),
        (("--compare", "nowhere", "nothing"), "nowhere holds no benchmark"),
        (("--compare", "old", "new", "--channels-last", "--rounds", "9"), "leave out --channels-last, --rounds"),
        (("--resume",), "leave --resume out"),
    ],
)
def test_a_bad_request_is_one_line_and_leaves_nothing(words, said, camzoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = camzoo(*words)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_run_is_not_written_over(camzoo, tmp_path):
    (tmp_path / "samples.jsonl").write_text("")
    code, _, err = camzoo("--model", "racing:net", "--out", tmp_path)
    assert code == 2
    assert "go on with --resume" in err


@pytest.mark.parametrize(("load", "said"), [([3.0, 2.0, 1.0], True), ([0.2, 0.1, 0.0], False), ([], False)])
def test_a_busy_machine_is_said(load, said, camzoo, tmp_path, monkeypatch):
    run = Run(ROWS, "camzoo bench", {"cores": 2, "before": [{"load": load}]})
    monkeypatch.setattr(bench, "bench", lambda *_a, **_k: record.save(run, tmp_path / "bench.json") and run)
    _, out, _ = camzoo("--model", "racing:net", "--out", tmp_path)
    assert ("the machine was busy: a load of 3.0 on 2 cores" in out) == said


def test_a_row_of_another_case_has_a_table_of_its_own(camzoo, asked, tmp_path, monkeypatch):
    larger = replace(CASE, batch=8)
    run = Run((*ROWS, row("gradcam", 1.5, larger)), "camzoo bench", {})
    monkeypatch.setattr(bench, "bench", lambda *_a, **_k: record.save(run, tmp_path / "bench.json") and run)
    _, out, _ = camzoo("--model", "racing:net", "--out", tmp_path)
    assert CASE.name in out
    assert larger.name in out
