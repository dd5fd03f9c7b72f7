"""A control: the same everywhere."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.types import Capture


def uniform(capture: Capture) -> Array:
    """The same everywhere, to compare with: a map that says nothing.

    `M_ij = 1`. Being constant, it has no NORMALISED stage worth the name: min-max gives zeros, and that is reported.

    Args:
        capture: activations, of which only shape, dtype and device are read.

    Returns:
        The RAW map `(N, h, w)`, all ones.
    """
    activations = capture.activations
    xp = array_namespace(activations)
    shape = (activations.shape[0], *activations.shape[2:])
    return xp.ones(shape, dtype=activations.dtype, device=activations.device)
