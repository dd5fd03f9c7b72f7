"""Comparisons rehearsed at a planted noise: how often they are right, and what a slowdown takes to be found."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from synthetic import failed, row, run

from camzoo.timing import rehearsal
from camzoo.timing.samples import Outcome


def test_a_comparison_is_rehearsed_at_the_noise_of_a_run() -> None:
    rows = [row(f"gradcam{number}", seed=number, between=0.01, within=0.03) for number in range(30)]
    rates = rehearsal.rehearsed(run(*rows, failed("x", Outcome.FAILED)), pairs=150)
    assert rates.pairs == 150
    assert rates.processes == pytest.approx(0.01, rel=0.35)
    assert rates.rounds == pytest.approx(0.031, rel=0.15)
    assert rates.false_alarms <= 1
    assert rates.noticed >= 0.95 * 150
    assert rates.overlaps >= 0.95 * 150


def test_a_rehearsal_shows_when_a_comparison_is_not_to_be_trusted() -> None:
    """Must fail: rounds that are alike in processes 10 % apart."""
    rows = [row(f"gradcam{number}", seed=number, between=0.1, within=0.005) for number in range(30)]
    rates = rehearsal.rehearsed(run(*rows), pairs=100)
    assert rates.processes > 0.05
    assert rates.noticed < 50


def test_there_is_nothing_to_rehearse_without_ranked_rows_of_two_processes() -> None:
    assert rehearsal.rehearsed(run(failed("x", Outcome.FAILED))) is None
    assert rehearsal.rehearsed(run(row(processes=1))) is None
    assert rehearsal.rehearsed(run(replace(row(), verdict="differs, new"))) is None


def noisy(**noise):
    return run(*(row(f"gradcam{number}", seed=number, **noise) for number in range(20)))


def test_the_smallest_slowdown_is_found_nine_times_in_ten() -> None:
    few = rehearsal.rehearsed(noisy(rounds=2), pairs=100)
    assert few.smallest > 1.10
    assert few.noticed < 90  # of 10 %
    again = rehearsal.rehearsed(noisy(rounds=2), few.smallest * 1.0001, pairs=100)
    assert again.noticed == 90


def test_more_rounds_find_less_and_processes_that_differ_hide_more() -> None:
    quiet, loud = noisy(rounds=5), noisy(rounds=5, between=0.03)
    found = [rehearsal.rehearsed(quiet, pairs=40, shape=shape).smallest for shape in ((2, 3), (15, 3), (60, 3))]
    assert found == sorted(found, reverse=True)
    assert rehearsal.rehearsed(loud, pairs=40, shape=(15, 3)).smallest > found[1]


def test_what_a_tenth_takes() -> None:
    assert rehearsal.enough(noisy(rounds=5, between=0, within=0.01), pairs=30) == rehearsal.SHAPES[0]
    rounds, processes = rehearsal.enough(noisy(rounds=5), pairs=30)
    assert rounds > 5
    assert processes == 3
    assert rehearsal.enough(noisy(between=0.2), pairs=10) is None


def test_it_is_told_in_one_line(monkeypatch) -> None:
    monkeypatch.setattr(rehearsal, "enough", functools.partial(rehearsal.enough, pairs=10))
    few, loud = (rehearsal.sensitivity(each) for each in (noisy(rounds=2), noisy(between=0.2)))
    assert few.startswith("the smallest slowdown of one row that is found nine times in ten at this noise is ")
    assert "10% would take" in few
    assert "10% would take more than 30 rounds in 10 processes" in loud
    assert "not known" in rehearsal.sensitivity(run(row(processes=1)))
