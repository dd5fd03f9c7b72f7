"""A control: the middle of the image."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.types import Capture


def center(capture: Capture, *, sigma: float = 0.25) -> Array:
    """A Gaussian in the middle, to compare with: photographers put the object there.

    `M_ij = exp(-(y_i^2 + x_j^2) / (2 sigma^2))`

    with `y_i = (i + 1/2)/h - 1/2` and `x_j = (j + 1/2)/w - 1/2` the distance of the cell's centre from the middle, as
    a fraction of the grid. A volume has one term more.

    Args:
        capture: activations, of which only shape, dtype and device are read.
        sigma: width of the Gaussian, as a fraction of each side.

    Returns:
        The RAW map `(N, h, w)` in `(0, 1]`.
    """
    activations = capture.activations
    xp = array_namespace(activations)
    number, _, *grid = activations.shape
    values = xp.ones((number, *grid), dtype=activations.dtype, device=activations.device)
    for axis, length in enumerate(grid, start=1):
        cells = xp.arange(length, dtype=activations.dtype, device=activations.device)
        offsets = (cells + 0.5) / length - 0.5
        bell = xp.exp(-(offsets * offsets) / (2 * sigma * sigma))
        values = values * xp.reshape(bell, (length, *(1 for _ in grid[axis:])))
    return values
