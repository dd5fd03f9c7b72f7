"""The most memory held at a time, against tensors of known size."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from camzoo.timing import bench, memory, worker
from camzoo.timing.samples import Case

CPU = torch.device("cpu")
MIB = 2**20

needs_reset = pytest.mark.skipif(memory.baseline(CPU) is None, reason="this system does not tell the resident peak")
OWN_PROCESS = """
import json
import torch
from camzoo.timing import memory

MIB, CPU = 2**20, torch.device("cpu")

def held_by(work):
    before = memory.baseline(CPU)
    work()
    return memory.peak(CPU, before) / MIB

def one_after_another():
    for _ in range(4):
        torch.ones(48 * MIB // 4)

torch.ones(1)
print(json.dumps({
    "one": held_by(lambda: torch.ones(64 * MIB // 4)),
    "nothing after it": held_by(lambda: None),
    "one after another": held_by(one_after_another),
    "together": held_by(lambda: [torch.ones(16 * MIB // 4) for _ in range(4)]),
}))
"""


ALONE = """
import json, pathlib
from camzoo.timing import memory, worker
from camzoo.timing.samples import Case

memory.CLEAR = pathlib.Path("/nowhere/clear_refs")
names = ("racing:hungry=gradcam", "gradcam")
plan = worker.Plan(worker.Pass.MEMORY, Case("racing:net", layer="last_act", size=48), names, names)
lines = []
worker.run(plan, lines.append)
print(json.dumps(lines))
"""


@pytest.fixture(scope="module")
def held():
    """MiB, as the bench weighs: in a process of its own, that gives back at once what it frees.

    In this one a tensor may be put where others have been, which takes no more memory than is there.
    """
    around = os.environ | {"MALLOC_MMAP_THRESHOLD_": bench.GIVEN_BACK}
    run = subprocess.run([sys.executable, "-c", OWN_PROCESS], env=around, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@needs_reset
def test_what_was_held_for_a_while_is_seen(held):
    assert 60 < held["one"] < 80


@needs_reset
def test_an_earlier_peak_is_forgotten_and_nothing_is_next_to_nothing(held):
    assert held["nothing after it"] < 4


@needs_reset
def test_it_is_the_most_at_a_time_and_not_the_sum(held):
    assert 44 < held["one after another"] < 80
    assert 60 < held["together"] < 80


def test_where_the_system_does_not_tell_nothing_is_made_up(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear_refs")
    assert memory.baseline(CPU) is None
    assert not memory.settable(CPU)
    assert memory.settable(torch.device("cuda"))
    assert memory.peak(CPU, None) is None


def test_where_the_system_has_no_such_mark_nothing_is_made_up(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert memory.baseline(CPU) is None


@pytest.mark.parametrize("device", ["mps", "xpu", "meta"])
def test_what_the_process_holds_is_not_told_as_the_memory_of_another_device(device):
    elsewhere = torch.device(device)
    assert memory.settable(elsewhere)  # one process for all, since none is weighed
    assert memory.baseline(elsewhere) is None
    assert memory.peak(elsewhere, memory.baseline(elsewhere)) is None


def test_on_another_device_the_bench_says_that_memory_was_not_measured(monkeypatch):
    monkeypatch.setattr(memory, "baseline", functools.partial(elsewhere, memory.baseline))
    monkeypatch.setattr(memory, "settable", functools.partial(elsewhere, memory.settable))
    plan = worker.Plan(worker.Pass.MEMORY, Case("racing:net", layer="last_act", size=48), ("gradcam",), ("gradcam",))
    lines = []
    worker.run(plan, lines.append)
    assert lines[-1] == {"kind": "memory", "contender": "gradcam", "peak_bytes": None, "forward_peak_bytes": None}


def elsewhere(function, _device):
    """A function as it is asked on a Mac's GPU."""
    return function(torch.device("mps"))


def test_on_a_gpu_the_allocator_tells_the_peak_beyond_what_was_held(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: done.append(("synchronize", device)))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: done.append(("reset", device)))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: done.append(("held", device)) or 500)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: done.append(("most", device)) or 1700)
    gpu = torch.device("cuda", 1)
    before = memory.baseline(gpu)
    assert before == 500
    assert memory.peak(gpu, before) == 1200
    names = ["synchronize", "reset", "held", "synchronize", "most"]  # nothing is read before the GPU is done
    assert done == [(name, gpu) for name in names]


@pytest.mark.slow
def test_where_the_peak_cannot_be_set_back_a_fresh_process_weighs_one_contender():
    around = os.environ | {"MALLOC_MMAP_THRESHOLD_": bench.GIVEN_BACK, "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run([sys.executable, "-c", ALONE], env=around, capture_output=True, text=True, check=True)
    lines = json.loads(run.stdout)
    assert [line["kind"] for line in lines] == ["at", "memory"]
    assert lines[1]["contender"] == "racing:hungry=gradcam"
    assert 60 < (lines[1]["peak_bytes"] - (lines[1]["forward_peak_bytes"] or 0)) / MIB < 100


def test_the_highest_mark_is_told_also_where_proc_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    found = memory.highest()
    assert found is None or found > 50 * MIB  # Python and PyTorch alone take more
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.highest() is None
    assert memory.above(found) is None


def test_what_fits_into_an_earlier_peak_is_not_told_as_nothing(monkeypatch):
    monkeypatch.setattr(memory, "highest", lambda: 700)
    assert memory.above(500) == 200
    assert memory.above(700) is None
    assert memory.above(None) is None


def test_traced_counts_the_tensors_of_a_call_to_the_byte(capfd):
    kept = torch.ones(100)

    def work():
        for _ in range(3):
            torch.ones(MIB // 4) + torch.ones(MIB // 4)  # three at a time
        kept.add_(kept)

    assert memory.traced(work) == 3 * MIB
    assert memory.traced(lambda: kept.add_(kept)) == 0
    assert capfd.readouterr().err == ""
