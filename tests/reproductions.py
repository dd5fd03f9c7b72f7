"""Runs a reproduction of docs/findings in this process: its library is imported here already, which takes seconds."""

from __future__ import annotations

import contextlib
import io
import runpy
import warnings
from pathlib import Path

import torch


def run_here(script: Path) -> tuple[int, str]:
    """The exit code of a script, and what it prints."""
    printed = io.StringIO()
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            return int(ended.code or 0), printed.getvalue()
    return 0, printed.getvalue()
