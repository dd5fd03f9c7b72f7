"""Takes the time of one call, the device synchronised on both sides; and warms up until calls are alike.

`torch.utils.benchmark.Timer` is not built on: it sets the number of threads to one, runs every statement twice before
`timeit(1)`, and gives means of blocks, where every single call is kept here and paired with the forward passes beside
it.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

T = TypeVar("T")

ALIKE = 0.05
"""By how much the medians of three calls and of the three before may differ once a contender is warm."""
JUDGED = 6
"""So many calls are judged."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of one call.

    Attributes:
        seconds: wall clock, the device synchronised on both sides.
        device_seconds: by CUDA events, on a CUDA device.
    """

    seconds: float
    device_seconds: float | None = None


def synchronise(device: torch.device) -> None:
    """Waits until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(work: Callable[[], Any], device: torch.device) -> Timing:
    """The time of one call. What it gives is let go after the clock was read."""
    # The stream is that of the device, which need not be the current one: an event takes the current device's unasked.
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
    count = 0 if stream is None else 2
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count)]  # type: ignore[no-untyped-call]
    synchronise(device)
    began = time.perf_counter()
    for event in events[:1]:
        event.record(stream)
    result = work()
    for event in events[1:]:
        event.record(stream)
    synchronise(device)
    seconds = time.perf_counter() - began
    del result
    return Timing(seconds, events[0].elapsed_time(events[1]) / 1000 if events else None)


def between(
    call: Callable[[], Timing], unit: Callable[[], Any], device: torch.device
) -> tuple[Timing, tuple[float, float]]:
    """A timed call between two calls of a unit, with the seconds of both: what slows one down slows all three.

    Garbage is not collected in the meantime.
    """
    with _uncollected():
        before = timed(unit, device).seconds
        timing = call()
        after = timed(unit, device).seconds
    return timing, (before, after)


def in_turns(calls: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each call gives in every round; they take turns in random order, and garbage is collected between rounds."""
    taken: dict[str, list[T]] = {name: [] for name in calls}
    for number in range(rounds):
        gc.collect()
        with _uncollected():
            for name in random.Random(number).sample(list(calls), len(calls)):
                taken[name].append(calls[name]())
    return taken


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without collections of garbage, if there were any before."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def steady(call: Callable[[], float], most: int = 12, patience: float = 3.0) -> tuple[float, int, bool]:
    """Calls until the medians of the last three calls and of the three before are within 5 %.

    That takes six calls after the first. Where `patience` ends before them, they are made nevertheless if at the pace
    of the last call they end within twice as many seconds, as those of 0.8 s do. Slower ones are never judged.

    Args:
        call: makes one call on the timed path, and gives its seconds.
        most: how many calls to make after the first.
        patience: seconds after which no further call is made, but for those that a judgement needs.

    Returns:
        The seconds of the very first call, the number of calls after it, and whether they became alike.
    """
    seconds = [call()]
    while len(seconds) <= most and not _alike(seconds[1:]) and _affordable(seconds, patience):
        seconds.append(call())
    return seconds[0], len(seconds) - 1, _alike(seconds[1:])


def _affordable(seconds: list[float], patience: float) -> bool:
    lacking = JUDGED - len(seconds[1:])
    return sum(seconds) < patience or (lacking > 0 and sum(seconds) + lacking * seconds[-1] < 2 * patience)


def _alike(seconds: list[float]) -> bool:
    if len(seconds) < JUDGED:
        return False
    before, last = statistics.median(seconds[-6:-3]), statistics.median(seconds[-3:])
    return abs(last - before) <= ALIKE * before
