"""The most memory held at a time: PyTorch's allocator on a GPU, the resident set of the process on a CPU.

Of other devices nothing is told: what the process holds is not what the device holds, and the allocator of MPS keeps no
peak.

Where the mark of the resident peak cannot be set back, what is weighed needs a process of its own: see `highest`.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK, NOW = "VmHWM", "VmRSS"


def settable(device: torch.device) -> bool:
    """Sets the mark of the peak back, and says whether that is possible: one process can then weigh several calls.

    That is asked of a CPU alone; elsewhere no call needs a process of its own.
    """
    if device.type != "cpu":
        return True
    try:
        CLEAR.write_text("5")
        return _resident(NOW) > 0
    except OSError:
        return False


def baseline(device: torch.device) -> int | None:
    """Bytes held now; from here on the peak is watched. None where the system or the device does not tell.

    On a CPU the mark is reset through `clear_refs`. Memory that the process freed and its allocator kept is held: what
    fits into it is not seen, so that the first call of a kind tells most.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return _resident(NOW) if device.type == "cpu" and settable(device) else None


def peak(device: torch.device, before: int | None) -> int | None:
    """The most bytes held since `baseline` beyond what was held then."""
    if before is None:
        return None
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    return max(0, _resident(PEAK) - before)


def highest() -> int | None:
    """The most bytes that this process has ever held on a CPU, its program and libraries included.

    As /proc tells it; else by `getrusage`, which on Linux may begin at what the parent process held. None where neither
    is there.
    """
    try:
        return _resident(PEAK)
    except OSError:
        try:
            import resource
        except ImportError:  # Windows has none
            return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def above(mark: int | None) -> int | None:
    """By how much `highest` has grown since a mark. None where it has not: what was held fitted into a peak before."""
    most = highest()
    return most - mark if most is not None and mark is not None and most > mark else None


def traced(work: Callable[[], object]) -> int:
    """The most bytes that tensors on a CPU hold at a time during a call, beyond what they held before.

    Summed up from every event of PyTorch's allocator: exact, and the same in every run. The call takes longer by the
    profiler that listens.
    """
    listening = [torch.profiler.ProfilerActivity.CPU]
    profiled = torch.profiler.profile(activities=listening, profile_memory=True)
    with _hushed():
        profiled.start()
    try:
        work()
    finally:
        with _hushed():
            profiled.stop()
    recorded: Any = profiled.profiler
    events = sorted(recorded.kineto_results.events(), key=lambda event: event.start_ns())
    changes = [int(event.nbytes()) for event in events if event.name() == "[memory]"]
    return max(itertools.accumulate(changes, initial=0))


@contextmanager
def _hushed() -> Iterator[None]:
    """Without stderr for a moment: the profiler says there that it starts and ends, where Python cannot stop it."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _resident(mark: str) -> int:
    for line in STATUS.read_text().splitlines():
        name, _, size = line.partition(":")
        if name == mark:
            return 1024 * int(size.split()[0])
    raise OSError(f"{STATUS} has no {mark}")
