"""The methods: one pure function a file, and the table that names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from camzoo.errors import unknown
from camzoo.grids import Array
from camzoo.methods.gradcam import gradcam
from camzoo.types import Capture, Evidence, Resolution


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table.

    Attributes:
        name: the canonical name.
        function: from evidence, and keyword options, to RAW maps `(N, h, w)`.
        needs: the evidence that it reads beside the activations.
        resolution: whether the maps lie on the layer's grid or on the image's pixels.
    """

    name: str
    function: Callable[..., Array]
    needs: frozenset[Evidence] = frozenset()
    resolution: Resolution = Resolution.LAYER

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the function's keyword options."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


GRADIENTS = frozenset({Evidence.GRADIENTS})

TABLE: tuple[Method, ...] = (Method("gradcam", gradcam, GRADIENTS),)

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
