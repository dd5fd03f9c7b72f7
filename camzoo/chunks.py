"""The one rule for running many inputs: as many at a time as memory allows, fewer when it was too many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Answer = TypeVar("Answer")

MOST = {"cpu": 16, "cuda": 256}
SHARE = 0.25
"""The share of the free memory that one chunk may take."""
GUESS = 4 * 2**30
"""Free memory in bytes where the system does not tell."""
MEMINFO = Path("/proc/meminfo")

_WORDS = ("not enough memory", "can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def run(compute: Callable[[int, int], torch.Tensor], count: int, size: int) -> torch.Tensor:
    """What `compute(start, stop)` gives for `count` inputs, chunk by chunk, in order.

    A chunk that is out of memory is halved and tried again; the chunks after it are as small. What was computed
    before is kept.

    Args:
        compute: gives the results `(stop - start, ...)` of a range of inputs.
        count: how many inputs there are.
        size: how many to take at a time at first.

    Raises:
        torch.OutOfMemoryError: a single input is too many.
    """
    parts: list[torch.Tensor] = []
    done, size = 0, max(1, min(size, count))
    while done < count:
        try:
            parts.append(compute(done, min(done + size, count)))
            done += size
            continue
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size = (size + 1) // 2
        # Not before the error is gone, which holds on to what was computed.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return torch.cat(parts)


def fitting(bytes_each: int, device: torch.device) -> int:
    """How many inputs to take at a time: what fits into a share of the free memory, up to a most that still pays.

    Args:
        bytes_each: what one input needs on its way through the model.
        device: where it runs.
    """
    return max(1, min(MOST.get(device.type, 32), int(SHARE * free(device)) // max(1, bytes_each)))


def laid_out(ask: Callable[[torch.Tensor], Answer], images: torch.Tensor) -> tuple[torch.Tensor, Answer]:
    """Inputs in the memory format that is fast for many of them, channels last, and what a model says of them.

    A model that flattens what it has by `view` does not take that format: it is asked again as they were given.

    Args:
        ask: runs the model.
        images: `(N, C, H, W)`; those of other dimensions are left as they are.
    """
    fast = images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
    try:
        return fast, ask(fast)
    except RuntimeError as error:
        if "view size is not compatible" not in str(error):
            raise
        return images, ask(images)


def free(device: torch.device) -> int:
    """Free memory of a device, in bytes; a guess where the system does not tell.

    What Linux keeps of files that were read is free as soon as it is wanted, but not counted as free pages: chunks that
    follow those shrink on a machine that has merely read much.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # Windows, macOS
        return GUESS


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: PyTorch's own class on a GPU, a plain RuntimeError elsewhere."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in _WORDS)
