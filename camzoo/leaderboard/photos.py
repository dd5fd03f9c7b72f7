"""The photos of an evaluation, if they are still where they were: small pictures, and the command that shows maps."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from camzoo import images
from camzoo.errors import CamzooError
from camzoo.evaluation import opening, reading
from camzoo.evaluation.batch import OWN
from camzoo.evaluation.data import Item

SIDE, QUALITY = 144, 78
"""Longer side of a small picture in pixels, and how it is kept as a JPEG."""


def found(manifest: Mapping[str, Any]) -> dict[str, Item]:
    """The images of a data set by name, looked up where the manifest says; none where it is gone or was not told."""
    origin = manifest.get("origin") or {}
    if not origin.get("data"):
        return {}
    try:
        data = opening.open_data(origin["data"], origin.get("photos"))
    except CamzooError:  # moved, deleted or on another machine: names are all that is left
        return {}
    return {item.name: item for item in data.items}


def small(item: Item | None) -> str:
    """A photo as the address of a small JPEG that is in it; "" where it cannot be read, or is no photo."""
    if item is None:
        return ""
    try:
        photo = item.read()
    except Exception:  # as in the evaluation itself, where the reason is told
        return ""
    if not hasattr(photo, "thumbnail"):  # the tensor that a model takes
        return ""
    picture, buffer = photo.convert("RGB"), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(buffer, format="jpeg", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def command(manifest: Mapping[str, Any], item: Item | None, target: int) -> str:
    """The `camzoo compare` that shows the maps of an image; "" where the photo is no file that is known."""
    path = None if item is None else _path(item)
    if path is None:
        return ""
    asked, origin = manifest["question"], manifest.get("origin") or {}
    methods = [each for each in asked["methods"] if not reading.is_control(each) and not each.endswith(f"@{OWN}")]
    line = ["camzoo", "compare", str(path), "--methods", ",".join(methods), *model(origin)]
    return shlex.join([*line, "--layer", asked["layer"], "--target", str(target), "--seed", str(asked["seed"])])


def model(origin: Mapping[str, Any]) -> list[str]:
    """The model as the command line takes it."""
    return [word for name in ("model", "weights") if origin.get(name) for word in (f"--{name}", str(origin[name]))]


def _path(item: Item) -> Path | None:
    """Of an image that is read from a file."""
    read = item.read
    return Path(read.args[0]) if isinstance(read, partial) and read.func is images.read else None
