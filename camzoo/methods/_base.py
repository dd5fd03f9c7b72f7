"""What the methods share that are built on another method, named by `base`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camzoo.errors import NotOffered
from camzoo.grids import Array, normalise, rectify, resize
from camzoo.methods._scores import asked
from camzoo.types import Capture, Evidence, Resolution

RETAKEN = frozenset(Evidence) - {
    Evidence.ATTENTION,
    Evidence.ATTENTION_GRADIENTS,
    Evidence.GUIDED,
    Evidence.BIASES,
}
"""The evidence that a further capture can give."""


def base_map(capture: Capture, base: str, *, images: Array = None, slopes: Any = None) -> Array:
    """The RAW map of another method from a further capture: of altered images, or of another score.

    Args:
        capture: with the model to ask.
        base: name of the method.
        images: altered ones, `(N, C, H, W)`.
        slopes: of the other score, a linear function of the outputs: `(N, classes)`; or what gives them from the
            outputs, the score that is explained and its class.

    Raises:
        RequestError: there is no such method.
        NotOffered: it needs evidence that a further capture cannot give.
    """
    method = _base(base)
    maps: Array = method.function(asked(capture).retake(method.needs, images=images, slopes=slopes))
    return maps


def layer_maps(capture: Capture, base: str, layers: Sequence[str] | None) -> list[Array]:
    """The RAW maps of a method at several layers, from shallow to deep.

    Args:
        capture: with the model to ask.
        base: name of the method; one whose maps lie on the layer's grid.
        layers: dotted names; where not given the last layer of each grid size, down to the capture's own.

    Raises:
        RequestError: there is no such method.
        NotOffered: it needs evidence that a further capture cannot give, or its maps do not depend on a layer.
    """
    from camzoo.methods import find

    if find(base).resolution is Resolution.IMAGE:
        raise NotOffered(f"{base} gives maps of the image, not of a layer: there is nothing to fuse")
    method = _base(base)
    ask = asked(capture)
    return [method.function(stage) for stage in ask.retake_at(layers or ask.stages(), method.needs)]


def _base(name: str) -> Any:
    from camzoo.methods import find  # the table has this module's callers in it

    method = find(name)
    if not method.needs <= RETAKEN:
        raise NotOffered(f"{name} cannot be the base of another method: it needs {', '.join(sorted(method.needs))}")
    return method


def shown(maps: Array, size: tuple[int, ...]) -> Array:
    """`minmax(up(relu(L)))`: rectified, enlarged, and then scaled to 0..1."""
    return normalise(resize(rectify(maps), size))
