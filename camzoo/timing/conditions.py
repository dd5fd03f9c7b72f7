"""Under what conditions a benchmark was run: machine, load, clocks, versions, flags."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from camzoo.environment import environment

CPUINFO = Path("/proc/cpuinfo")

BY_ITSELF = ("date", "load", "before", "during", "after", "scenario")
"""What differs from one run to the next on one machine: names in an environment that begin so."""
MEASURED = ("camzoo", "adapters", "benchmarks/*.py")
"""The code that is measured, in a checkout."""

GPU = ("name", "driver_version", "power.limit")
GPU_NOW = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_throttle_reasons.active")
UNTOLD = "not told by nvidia-smi"

COLLECTION = "the garbage collector is off while a call and the passes beside it are timed, and runs between rounds"


def fixed(device: torch.device) -> dict[str, Any]:
    """What stays as it is during a run, as plain values that JSON can hold. No name of a user or host is in it."""
    return environment(device) | {
        "cpu": cpu(),
        "gpu": _nvidia(GPU, device),
        "flags": flags(),
        "commit": commit(),
        "garbage collection": COLLECTION,
    }


def now(device: torch.device) -> dict[str, Any]:
    """What changes during a run: load, and the clocks, temperature, power and throttling of a GPU."""
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else []
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"date": date, "load": load, "gpu": _nvidia(GPU_NOW, device)}


def cpu() -> str:
    """The CPU's model."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def flags() -> dict[str, Any]:
    """The switches of PyTorch that change what the same code costs."""
    return {
        "matmul precision": torch.get_float32_matmul_precision(),
        "tf32 in convolutions": torch.backends.cudnn.allow_tf32,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "onednn": torch.backends.mkldnn.enabled,
    }


def commit() -> str:
    """The commit of a checkout; "" where camzoo is installed without one.

    Where the code that is measured was changed it has a mark, and the change as a digest.
    """
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return ""
    name = _said("git", "-C", str(folder), "describe", "--always", "--tags")
    changes = _said("git", "-C", str(folder), "diff", "HEAD", "--", *MEASURED)
    return f"{name}-dirty-{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else name


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What two environments do not have alike, one line each: "versions.torch: 2.9 before, 2.10 now"."""
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        f"{name}: {old.get(name, 'not told')} before, {new.get(name, 'not told')} now"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every entry with its dotted name, but for those that differ by themselves."""
    for name, value in values.items():
        if name.startswith(BY_ITSELF):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _nvidia(names: tuple[str, ...], device: torch.device) -> dict[str, str]:
    """What nvidia-smi says of a CUDA device, field by field: asked for all at once, it refuses all for one."""
    if device.type != "cuda":
        return {}
    which = f"--id=GPU-{torch.cuda.get_device_properties(device).uuid}"
    return {name: _field(_said("nvidia-smi", which, f"--query-gpu={name}", "--format=csv")) for name in names}


def _field(told: str) -> str:
    """The value of one field, which stands below its name; a complaint stands alone."""
    _name, _, value = told.partition("\n")
    return value.strip() or UNTOLD


def _said(*command: str) -> str:
    """What a program says; "" where it is not there or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
