"""Two runs side by side: a planted slowdown is found, no change is none, and nothing is hidden."""

from __future__ import annotations

import re

import pytest
from synthetic import ENVIRONMENT, failed, row, run

from camzoo.timing import comparing
from camzoo.timing.comparing import Kind
from camzoo.timing.samples import NOT_REACHED, Case, Outcome

SEEDS = 150


def only(old, new) -> comparing.Change:
    (change,) = comparing.compare(run(old), run(new))
    return change


def kinds(slowdown: float, **noise) -> list[Kind]:
    """What is said of many pairs of runs, the second slower by a factor."""
    return [
        only(row(seed=2 * seed, cost=1.1, **noise), row(seed=2 * seed + 1, cost=1.1 * slowdown, **noise)).kind
        for seed in range(SEEDS)
    ]


def test_no_change_is_a_tie() -> None:
    found = kinds(1.0)
    assert found.count(Kind.TIE) == SEEDS, f"{SEEDS - found.count(Kind.TIE)} false alarms in {SEEDS}"


def test_no_change_is_a_tie_where_processes_differ_much() -> None:
    """Processes 2 % apart, rounds 1 %: what an interval of three processes can hardly know."""
    found = kinds(1.0, between=0.02, within=0.01)
    assert found.count(Kind.TIE) >= 0.98 * SEEDS


def test_ten_per_cent_more_is_found() -> None:
    found = kinds(1.10)
    assert found.count(Kind.REGRESSION) >= 0.95 * SEEDS
    assert set(found) <= {Kind.REGRESSION, Kind.TIE}


def test_ten_per_cent_less_is_found() -> None:
    found = kinds(1 / 1.10)
    assert found.count(Kind.IMPROVEMENT) >= 0.95 * SEEDS


def test_two_per_cent_is_no_change_however_sure() -> None:
    change = only(row(between=0, within=1e-4), row(cost=1.122, between=0, within=1e-4, seed=1))
    assert change.kind is Kind.TIE
    assert change.ratio.low > 1


def test_a_slower_machine_is_no_regression() -> None:
    """The unit is a forward pass of the same round."""
    assert only(row(forward=0.05), row(forward=0.08, seed=1)).kind is Kind.TIE


def test_a_regression_fails_a_comparison_and_says_by_how_much() -> None:
    change = only(row(), row(cost=2.2, seed=1))
    assert change.worse
    assert change.ratio.middle == pytest.approx(2.0, rel=0.05)
    assert re.fullmatch(r"resnet50 1x224 float32 cpu array: gradcam: slower \S+ \[\S+, \S+\]", str(change))
    assert not only(row(), row(cost=0.5, seed=1)).worse


WRONG = {"verdict": "differs, new", "verdict_reason": "unexplained"}
UNREACHED = failed("gradcam", Outcome.FAILED, NOT_REACHED)


def broken(seed: int, cost: float = 1.1):
    """A row that ran out of memory amid its rounds."""
    return row(seed=seed, cost=cost, outcome=Outcome.OUT_OF_MEMORY, reason="44 GiB")


CASES = {
    "out of memory now": (
        row(),
        failed("gradcam", Outcome.OUT_OF_MEMORY, "44 GiB"),
        Kind.LOST,
        "out of memory: 44 GiB",
    ),
    "failed before": (failed("gradcam", Outcome.FAILED, "no"), row(), Kind.FOUND, "was failed: no"),
    "wrong now": (row(), row(seed=1, **WRONG), Kind.LOST, "'agrees', and says 'differs, new'"),
    "wrong before": (row(**WRONG), row(seed=1), Kind.TIE, "'differs, new', and says 'agrees'"),
    "not checked now": (row(), row(verdict="", seed=1), Kind.TIE, "'agrees', and says 'nothing'"),
    "wrong in both": (row(**WRONG), row(seed=1, cost=3, **WRONG), Kind.REGRESSION, ""),
    "never there": (
        failed("gradcam", Outcome.NOT_OFFERED),
        failed("gradcam", Outcome.NOT_OFFERED, "x"),
        Kind.NEITHER,
        "not offered: x",
    ),
    "noisy": (row(within=0.4), row(cost=3, seed=1), Kind.NOISY, "% of the median"),
    "out of memory in both, after some samples": (broken(0), broken(1, 3), Kind.NEITHER, "out of memory: 44 GiB"),
    "noisy, and wrong before": (row(within=0.4, **WRONG), row(cost=3, seed=1), Kind.NOISY, "% of the median"),
    "noisy, and wrong now": (row(), row(within=0.4, seed=1, **WRONG), Kind.LOST, "and says 'differs, new'"),
    "one sample": (row(processes=1, rounds=1), row(cost=3), Kind.FEW, "1 in 1 process in the old run"),
    "one process now": (row(), row(processes=1, cost=3), Kind.FEW, "15 in 1 process in the new run"),
    "not reached now": (row(), UNREACHED, Kind.NOT_REACHED, "the new run ended before it was timed"),
    "not reached before": (UNREACHED, row(), Kind.NOT_REACHED, "the old run ended before it was timed"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_else_can_become_of_a_row(name) -> None:
    old, new, kind, why = CASES[name]
    change = only(old, new)
    assert change.kind is kind
    assert why in change.why
    assert change.worse is (kind in (Kind.LOST, Kind.REGRESSION))


def test_there_is_a_ratio_only_where_both_runs_measured_to_the_end() -> None:
    assert only(row(), broken(1)).ratio is None
    assert only(broken(0), broken(1)).ratio is None


def test_a_changed_verdict_is_told_beside_the_noise() -> None:
    change = only(row(within=0.4, **WRONG), row(seed=1))
    assert change.why.startswith("the check said 'differs, new', and says 'agrees'; the interquartile range is ")


def test_an_interrupted_run_is_named() -> None:
    whole, cut = run(row()), run(row(), finished=False)
    assert comparing.unfinished(whole, whole) == []
    for old, new, sides in ((cut, whole, ["old"]), (whole, cut, ["new"]), (cut, cut, ["old", "new"])):
        lines = comparing.unfinished(old, new)
        assert [line.partition(" run was interrupted")[0].removeprefix("the ") for line in lines] == sides


def test_rows_that_are_missing_on_one_side_are_named() -> None:
    elsewhere = Case("resnet50", weights="random", batch=8)
    changes = comparing.compare(run(row("a"), row("b")), run(row("b", seed=1), row("c"), row("a", case=elsewhere)))
    assert [(each.contender, each.case.batch, each.kind) for each in changes] == [
        ("b", 1, Kind.TIE),
        ("c", 1, Kind.ONLY_NEW),
        ("a", 8, Kind.ONLY_NEW),
        ("a", 1, Kind.ONLY_OLD),
    ]


def test_what_the_runs_were_made_with_is_told_but_for_what_always_differs() -> None:
    changed = {
        "cores": 64,
        "date": "2027-01-01",
        "load_before": [9.0],
        "gpu": {"name": "X"},
        "versions": {"torch": "10"},
    }
    told = comparing.differences(run(), run(environment=ENVIRONMENT | changed))
    assert told == [
        "cores: 2 before, 64 now",
        "versions.camzoo: 0.1.0 before, not told now",
        "versions.torch: 9.9 before, 10 now",
        "gpu.name: not told before, X now",
    ]
    assert comparing.differences(run(), run()) == []


def test_two_runs_of_the_same_overlap_and_of_other_work_do_not() -> None:
    names = ["gradcam", "gradcam@captum", "gradcam@torchcam", "layercam", "layercam@torchcam"]
    costs = [1.1, 3.0, 2.5, 1.1, 2.9]

    def again(seed: int, factor: float = 1.0):
        rows = [
            row(name, cost * (factor if "@" in name else 1), seed=seed + at)
            for at, (name, cost) in enumerate(zip(names, costs, strict=True))
        ]
        return run(*rows, failed("scorecam", Outcome.OUT_OF_MEMORY))

    agreed = [comparing.overlap(again(10 * seed), again(10 * seed + 5)) for seed in range(20)]
    assert all(both == 4 for _, both in agreed)  # the first own row has nothing to be held against
    assert sum(agree for agree, _ in agreed) >= 0.95 * 80
    assert comparing.overlap(again(0), again(5, factor=1.5)) == (1, 4)


def test_a_row_is_held_against_the_own_one_of_its_method() -> None:
    rows = [row("eigencam"), row("gradcam"), row("gradcam@captum"), row("fem@torchcam")]
    own = [comparing.reference(each, rows) for each in rows]
    assert own == [None, rows[0], rows[1], None]
