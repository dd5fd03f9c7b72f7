"""The clock: what is inside the timed region, and when a contender is warm."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch

from camzoo.timing import clock

CPU = torch.device("cpu")


@pytest.fixture
def now(monkeypatch):
    """A clock that moves when a test says so."""
    hands = [0.0]
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: hands[0]))
    return hands


def test_the_time_of_a_call_is_what_passed_in_it(now):
    def work():
        now[0] += 2.5

    assert clock.timed(work, CPU) == clock.Timing(2.5, None)


def test_the_device_is_waited_for_on_both_sides(now, monkeypatch):
    order = []

    def wait(_device):
        order.append("wait")
        now[0] += 1.0

    monkeypatch.setattr(clock, "synchronise", wait)
    timing = clock.timed(lambda: order.append("work"), CPU)
    assert order == ["wait", "work", "wait"]
    assert timing.seconds == 1.0  # the second wait is part of the work, the first is not


def test_the_result_is_let_go_after_the_clock_was_read(now):
    class Slow:
        def __del__(self):
            now[0] += 5.0

    assert clock.timed(Slow, CPU).seconds == 0.0
    assert now[0] == 5.0


class Cuda:
    """Stands in for `torch.cuda`: what it was asked for, in order; a wait lets the clock move by a second."""

    def __init__(self, hands):
        self.hands, self.order = hands, []

    def synchronize(self, device):
        self.order.append(("wait", device))
        self.hands[0] += 1.0

    def current_stream(self, device):
        return f"the stream of {device}"

    def Event(self, enable_timing):
        assert enable_timing
        return Event(self)


class Event:
    """Stands in for a CUDA event; a quarter of a second lies between two."""

    def __init__(self, cuda):
        self.cuda = cuda

    def record(self, stream=None):
        self.cuda.order.append(("event", stream))

    def elapsed_time(self, _end):
        return 250.0  # milliseconds


def test_events_are_on_the_stream_of_the_device_and_inside_the_waits(now, monkeypatch):
    device, cuda = torch.device("cuda:1"), Cuda(now)
    monkeypatch.setattr(clock.torch, "cuda", cuda)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: cuda.order.append(("clock", now[0])) or now[0])
    timing = clock.timed(lambda: cuda.order.append(("work", None)), device)
    event = ("event", "the stream of cuda:1")
    assert cuda.order == [
        ("wait", device),
        ("clock", 1.0),
        event,
        ("work", None),
        event,
        ("wait", device),
        ("clock", 2.0),
    ]
    assert timing == clock.Timing(1.0, 0.25)


def warm(seconds, **limits):
    calls = iter(seconds)
    return clock.steady(lambda: next(calls), **limits)


def test_calls_that_are_alike_at_once_take_six_after_the_first():
    assert warm([0.5] + [0.1] * 20) == (0.5, 6, True)


def test_calls_go_on_while_they_get_faster():
    falling = [0.5, 0.4, 0.3, 0.2, 0.15, 0.12, 0.1]
    first, calls, alike = warm(falling + [0.1] * 20, patience=100)
    assert first == 0.5
    assert calls > 6
    assert alike


def test_one_odd_call_does_not_keep_it_cold():
    assert warm([0.5, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1]) == (0.5, 6, True)


def test_calls_that_never_settle_end():
    assert warm([2.0**-number for number in range(30)], most=9, patience=100) == (1.0, 9, False)


def test_a_slow_contender_is_called_once():
    assert warm([60.0, 60.0]) == (60.0, 0, False)


@pytest.mark.parametrize(("seconds", "calls"), [(0.4, 6), (0.6, 6), (0.8, 6), (1.0, 2), (2.0, 1), (3.0, 0)])
def test_the_calls_of_a_judgement_are_made_where_twice_the_patience_holds_them(seconds, calls):
    """Calls that could not be judged within it are not made longer for that."""
    assert warm([seconds] * 20) == (seconds, calls, calls == 6)


def test_patience_is_for_a_judgement_and_not_for_more_calls():
    assert warm([0.6 - 0.05 * number for number in range(9)]) == (0.6, 6, False)


def test_a_call_stands_between_two_of_its_unit(now):
    order = []

    def unit():
        order.append("unit")
        now[0] += 1.0 if len(order) == 1 else 3.0

    def work():
        order.append(("work", gc.isenabled()))
        now[0] += 5.0

    assert clock.between(lambda: clock.timed(work, CPU), unit, CPU) == (clock.Timing(5.0), (1.0, 3.0))
    assert order == ["unit", ("work", False), "unit"]
    assert gc.isenabled()


def test_calls_take_turns_in_random_order_and_the_collector_is_as_it_was(monkeypatch):
    order = []
    monkeypatch.setattr(clock.gc, "collect", lambda: order.append("collect"))
    calls = {name: (lambda name=name: order.append(name) or (name, gc.isenabled())) for name in "abc"}
    taken = clock.in_turns(calls, 6)
    assert taken == {name: [(name, False)] * 6 for name in "abc"}
    rounds = [order[at : at + 4] for at in range(0, 24, 4)]
    assert {each[0] for each in rounds} == {"collect"}
    assert all(sorted(each[1:]) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    assert gc.isenabled()


def test_the_collector_comes_back_also_after_an_exception():
    with pytest.raises(ZeroDivisionError):
        clock.in_turns({"broken": lambda: 1 // 0}, 1)
    assert gc.isenabled()
