"""The most memory held at a time, against tensors of known size."""

from __future__ import annotations

import gc

import pytest
import torch

from camzoo.timing import memory

CPU = torch.device("cpu")
MIB = 2**20

needs_reset = pytest.mark.skipif(memory.baseline(CPU) is None, reason="this system does not tell the resident peak")


def held_by(work):
    gc.collect()  # what other tests have left must not be given back during the work
    before = memory.baseline(CPU)
    work()
    return memory.peak(CPU, before)


@needs_reset
def test_what_was_held_for_a_while_is_seen():
    def work():
        torch.ones(64 * MIB // 4)  # written to, and gone at once

    assert 60 * MIB < held_by(work) < 80 * MIB


@needs_reset
def test_it_is_the_most_at_a_time_and_not_the_sum():
    def work():
        for _ in range(4):
            torch.ones(48 * MIB // 4)

    assert 44 * MIB < held_by(work) < 80 * MIB


@needs_reset
def test_nothing_is_next_to_nothing():
    assert held_by(lambda: None) < 4 * MIB


@needs_reset
def test_an_earlier_peak_is_forgotten():
    held_by(lambda: torch.ones(64 * MIB // 4))
    assert held_by(lambda: None) < 4 * MIB


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
