"""A control: noise."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.types import Capture


def random(capture: Capture) -> Array:
    """Noise, to compare with: what looks no better than this explains nothing.

    `M_ij ~ uniform(0, 1)`, independent for each cell.

    A fresh generator for each image is seeded with the capture's seed, so an image's map depends on the seed and the
    grid alone, never on its batch mates: images of one seed and grid get the same noise.

    Args:
        capture: activations, of which only shape, dtype and device are read, and the seed.

    Returns:
        The RAW map `(N, h, w)` in `[0, 1)`, equal for arrays of every library.
    """
    activations = capture.activations
    xp = array_namespace(activations)
    noise = np.random.default_rng(capture.seed).random(tuple(activations.shape[2:]))
    values = xp.asarray(noise, dtype=activations.dtype, device=activations.device)
    return xp.broadcast_to(values, (activations.shape[0], *values.shape))
