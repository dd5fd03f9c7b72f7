"""Random numbers that depend on a seed and on what they are for, and on nothing else.

Not on the batch mates, the order of calls, the chunk size or the device: each draw has a generator of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from camzoo.grids import Array


def generator(*keys: int) -> np.random.Generator:
    """A generator for one purpose, such as `(seed, channel)`."""
    return np.random.default_rng([key % 2**63 for key in keys])


def normal(like: Array, shape: tuple[int, ...], *keys: int) -> Array:
    """Standard normal numbers in the library, dtype and device of another array."""
    return as_array(like, generator(*keys).standard_normal(shape, dtype=np.float32))


def as_array(like: Array, values: np.ndarray[Any, Any]) -> Array:
    """Numbers of the host in the library, dtype and device of another array."""
    xp = array_namespace(like)
    return xp.astype(xp.asarray(values, device=like.device), like.dtype)
