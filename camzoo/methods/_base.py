"""What the methods share that are built on another method, named by `base`."""

from __future__ import annotations

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


def base_map(
    capture: Capture, base: str, *, images: Array = None, layer: str | None = None, slopes: Array = None
) -> Array:
    """The RAW map of another method from a further capture: of altered images, another layer or another score.

    Raises:
        RequestError: there is no such method.
        NotOffered: it needs evidence that a further capture cannot give.
    """
    from camzoo.methods import find  # the table has this module's callers in it

    method = find(base)
    if not method.needs <= RETAKEN:
        raise NotOffered(f"{base} cannot be the base of another method: it needs {', '.join(sorted(method.needs))}")
    maps: Array = method.function(asked(capture).retake(method.needs, images=images, layer=layer, slopes=slopes))
    return maps


def layer_maps(capture: Capture, base: str, layers: tuple[str, ...] | list[str] | None) -> list[Array]:
    """The RAW maps of a method at several layers, from shallow to deep.

    Args:
        capture: with the model to ask.
        base: name of the method; one whose maps lie on the layer's grid.
        layers: dotted names; where not given the last layer of each grid size, down to the capture's own.

    Raises:
        NotOffered: the method's maps do not depend on a layer.
    """
    from camzoo.methods import find

    if find(base).resolution is Resolution.IMAGE:
        raise NotOffered(f"{base} gives maps of the image, not of a layer: there is nothing to fuse")
    return [base_map(capture, base, layer=layer) for layer in layers or asked(capture).stages()]


def shown(maps: Array, size: tuple[int, ...]) -> Array:
    """`minmax(up(relu(L)))`: rectified, enlarged, and then scaled to 0..1."""
    return normalise(resize(rectify(maps), size))
