"""The methods: one pure function a file, and the table that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from camzoo.errors import unknown
from camzoo.grids import Array
from camzoo.methods.gradcam import gradcam
from camzoo.types import Capture


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table.

    Attributes:
        name: the canonical name.
        function: from evidence to RAW maps `(N, h, w)`.
        gradients: whether it needs them.
        options: names of the keyword options of the function.
    """

    name: str
    function: Callable[..., Array]
    gradients: bool = True
    options: tuple[str, ...] = ()


TABLE: tuple[Method, ...] = (Method("gradcam", gradcam),)

__all__ = ["TABLE", "Capture", "Method", "find", "gradcam"]


def find(name: str) -> Method:
    """The method of a name.

    Raises:
        RequestError: there is none; the closest names are in the message.
    """
    for method in TABLE:
        if method.name == name:
            return method
    raise unknown("method", name, [method.name for method in TABLE])
