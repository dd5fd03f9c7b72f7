"""RefineCAM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import mul

from camzoo.grids import Array
from camzoo.methods._base import layer_maps, shown
from camzoo.types import Capture


def refinecam(capture: Capture, *, base: str = "gradcam++", layers: Sequence[str] | None = None) -> Array:
    """RefineCAM: the product of one method's maps over several layers, from coarse to fine.

    `M = prod_l minmax(up(relu(L_l)))`

    with `L_l` the RAW map of the base method at layer `l`, and `up` bilinear to the images' `(H, W)`.

    Args:
        capture: images and the model to ask.
        base: the method.
        layers: dotted names; where not given the last layer of each grid size, down to the layer that is explained
            (`camzoo.layers.stages`).

    Returns:
        The RAW map `(N, H, W)` on the image's pixels, in 0..1.

    Source:
        Domeniconi et al., RefineCAM, 2026, arXiv 2605.14641.
    """
    size = tuple(capture.images.shape[2:])
    return reduce(mul, [shown(maps, size) for maps in layer_maps(capture, base, layers)])
