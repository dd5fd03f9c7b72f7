"""What the methods for transformers share: from a value for each token to a map on the grid of patches."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from camzoo.errors import RequestError
from camzoo.grids import Array
from camzoo.types import Capture


def patch_map(capture: Capture, tokens: Array) -> Array:
    """The values of the patch tokens, row by row on the grid: `(N, t)` to `(N, h, w)`.

    Raises:
        RequestError: the layer's grid is not that of the tokens.
    """
    xp = array_namespace(tokens)
    count, found = tokens.shape
    shape = tuple(capture.activations.shape[2:])
    if found != capture.prefix + math.prod(shape):
        raise RequestError(
            f"attention goes over {found} tokens, and the layer has {capture.prefix} prefix tokens and a grid of "
            f"{' x '.join(map(str, shape))}: name a layer inside the transformer's blocks"
        )
    return xp.reshape(tokens[:, capture.prefix :], (count, *shape))
