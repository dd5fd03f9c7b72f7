"""Lets a module be called, so that `camzoo.methods` can be both the formulas and their list."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(module: ModuleType, function: Callable[[], Any]) -> None:
    """Makes `module()` call a function; the module stays what it is, its attributes and imports included."""
    namespace = {"__call__": lambda _self: function(), "__doc__": module.__doc__}
    module.__class__ = type("CallableModule", (ModuleType,), namespace)
