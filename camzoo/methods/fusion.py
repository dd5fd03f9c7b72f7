"""Fusion of one method's maps over several layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

from array_api_compat import array_namespace

from camzoo.grids import Array, rectify, resize, spatial_axes
from camzoo.methods._base import layer_maps, shown
from camzoo.types import Capture

_GAMMA = 2.0  # of LayerCAM's tanh


def fusion(
    capture: Capture,
    *,
    base: str = "gradcam",
    how: Literal["mean", "max", "layercam"] = "mean",
    layers: Sequence[str] | None = None,
) -> Array:
    """The maps of one method at several layers, fused into one.

    "mean" and "max": `M = mean_l` or `max_l` of `minmax(up(relu(L_l)))`. "layercam", LayerCAM's own with `base` set to
    it: `M = max_l up(R_l)`, `R_l = relu(L_l) / max relu(L_l)`, and `tanh(2 R_l)` in its place for every layer but the
    deepest.

    with `L_l` the RAW map of the base method at layer `l`, and `up` bilinear to the images' `(H, W)`.

    Args:
        capture: images and the model to ask.
        base: the method.
        how: one of the three.
        layers: dotted names, from shallow to deep; where not given the last layer of each grid size, down to the
            layer that is explained.

    Returns:
        The RAW map `(N, H, W)` on the image's pixels, in 0..1.

    Source:
        "layercam": Jiang et al., LayerCAM, IEEE TIP 2021, equation 9. The others are common practice.
    """
    maps = layer_maps(capture, base, layers)
    size = tuple(capture.images.shape[2:])
    if how == "layercam":
        return _largest([resize(_peaked(one, at < len(maps) - 1), size) for at, one in enumerate(maps)])
    scaled = [shown(one, size) for one in maps]
    return _largest(scaled) if how == "max" else sum(scaled[1:], start=scaled[0]) / len(scaled)


def _peaked(maps: Array, shallow: bool) -> Array:
    """Rectified maps over their largest value; lifted by a tanh for shallow layers, whose values are few and small."""
    xp = array_namespace(maps)
    positive = rectify(maps)
    top = xp.max(positive, axis=spatial_axes(positive), keepdims=True)
    scaled = positive / xp.where(top == 0, xp.ones_like(top), top)
    return xp.tanh(_GAMMA * scaled) if shallow else scaled


def _largest(maps: list[Array]) -> Array:
    xp = array_namespace(*maps)
    return reduce(xp.maximum, maps)
