"""Runs a reproduction of docs/findings in this process: its library is imported here already, which takes seconds."""

from __future__ import annotations

import contextlib
import importlib
import io
import runpy
import sys
import warnings
from pathlib import Path
from typing import Literal

import torch


def run_here(script: Path, warned: Literal["ignore", "error"] = "ignore") -> tuple[int, str]:
    """The exit code of a script, and what it prints."""
    printed = io.StringIO()
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter(warned)
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            return int(ended.code or 0), printed.getvalue()
    return 0, printed.getvalue()


@contextlib.contextmanager
def in_place_of(library: str, folder: Path):
    """Within this block a library is imported anew, from its copy in a folder."""

    def imported() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] == library]

    own = {name: sys.modules.pop(name) for name in imported()}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
        assert Path(sys.modules[library].__file__).is_relative_to(folder)
    finally:
        sys.path.remove(str(folder))
        for name in imported():
            del sys.modules[name]
        sys.modules.update(own)
