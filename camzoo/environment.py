"""What a result was made with: versions, machine, device."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from typing import Any

import torch

DISTRIBUTIONS = (
    "camzoo",
    "torch",
    "torchvision",
    "numpy",
    "grad-cam",
    "captum",
    "torchcam",
    "timm",
    "pyarrow",
    "scikit-image",
)


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, machine and device, as plain values that JSON can hold. No name of a user or host is in it."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": {name: found for name in DISTRIBUTIONS if (found := _version(name))},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
