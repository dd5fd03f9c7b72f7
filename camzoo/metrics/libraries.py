"""Finds what metrics borrow from other libraries, by the entry-point group `camzoo.metrics`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

from camzoo.errors import NotInstalled, unknown

GROUP = "camzoo.metrics"

LENT = {"infidelity": "captum", "sensitivity-max": "captum", "road-imputer": "pytorch-grad-cam"}
"""What is borrowed, and the extra whose library lends it."""


def borrowed(name: str) -> Callable[..., Any]:
    """A function of another library; its absence is told when it is called.

    Args:
        name: "infidelity", "sensitivity-max" or "road-imputer".

    Raises:
        RequestError: nothing of that name is borrowed.
        NotInstalled: camzoo is not installed, so that its entry points cannot be read; or, from the function that is
            given, the library is not.
    """
    if name not in LENT:
        raise unknown("borrowed function", name, LENT)
    entries = tuple(metadata.entry_points(group=GROUP, name=name))
    if not entries:
        raise NotInstalled(f"{name} is found by an entry point, which is read at install: pip install -e .")
    function = entries[0].load()

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            raise NotInstalled(f"{name} needs {error.name}: pip install 'camzoo[{LENT[name]}]'") from error

    return call
