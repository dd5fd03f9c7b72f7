"""What many images would cost, from a few calls."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import failed, row, run

from camzoo.timing import planning
from camzoo.timing.samples import Case, Outcome, Sample


def test_calls_times_mean_seconds_and_the_first() -> None:
    samples = tuple(Sample(0, number, seconds, (1.0, 1.0)) for number, seconds in enumerate((1.0, 1.0, 4.0)))
    (plan,) = planning.plan(run(row(samples=samples, first=(9.0,), case=Case("net", batch=8))), 50_000)
    assert plan.calls == 6250
    assert plan.seconds.middle == pytest.approx(9 + 6250 * 2.0)  # the slow call is paid for: mean, not median
    assert plan.seconds.low < plan.seconds.middle < plan.seconds.high


def test_the_last_batch_is_a_call_too() -> None:
    (plan,) = planning.plan(run(row(case=Case("net", batch=8))), 17)
    assert plan.calls == 3


def test_the_interval_holds_what_it_will_cost() -> None:
    held = 0
    truth = 1000 * 1.1 * 0.05 * np.exp(0.03**2) * (0.95 + 0.05 * np.exp(0.4)) * np.exp(0.01**2 / 2)
    for seed in range(60):
        (plan,) = planning.plan(run(row(seed=seed, first=())), 1000)
        held += plan.seconds.covers(truth)
    assert held >= 52


def test_the_cheapest_first_and_nothing_left_out() -> None:
    rows = [
        failed("sscam", Outcome.OUT_OF_MEMORY, "44 GiB"),
        row("slow", 9.0),
        row("wrong", 1.0, verdict="differs, known", verdict_reason="centred"),
    ]
    plans = planning.plan(run(*rows))
    assert [plan.contender for plan in plans] == ["wrong", "slow", "sscam"]
    assert plans[0].why == "differs, known: centred"
    assert plans[2].seconds is None
    assert str(plans[2]) == "sscam: out of memory: 44 GiB"


def test_a_plan_is_one_line() -> None:
    samples = tuple(Sample(0, number, 0.36, (1.0, 1.0)) for number in range(3))
    (plan,) = planning.plan(run(row("scorecam", samples=samples, first=(), peak_bytes=2 * 1024**3)), 50_000)
    assert str(plan) == "scorecam: 50,000 images cost 5.00 h (5.00 h to 5.00 h), 2.00 GiB beyond the model"


def test_a_plan_needs_no_places() -> None:
    """A short calibration, of one process as well, says what it costs and not why it is not ranked."""
    (plan,) = planning.plan(run(row(processes=1, rounds=3)))
    assert plan.why == ""
    assert plan.seconds is not None
