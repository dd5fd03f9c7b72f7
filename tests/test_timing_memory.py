"""The most memory held at a time, against tensors of known size."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from camzoo.timing import bench, memory

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
    assert memory.peak(CPU, None) is None


def test_where_the_system_has_no_such_mark_nothing_is_made_up(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert memory.baseline(CPU) is None


def test_traced_counts_the_tensors_of_a_call_to_the_byte(capfd):
    kept = torch.ones(100)

    def work():
        for _ in range(3):
            torch.ones(MIB // 4) + torch.ones(MIB // 4)  # three at a time
        kept.add_(kept)

    assert memory.traced(work) == 3 * MIB
    assert memory.traced(lambda: kept.add_(kept)) == 0
    assert capfd.readouterr().err == ""
