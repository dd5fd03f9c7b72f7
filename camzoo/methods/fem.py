"""FEM, feature-based explanation method."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._arrays import flat, weighted_sum
from camzoo.types import Capture


def fem(capture: Capture, *, k_sigma: float = 2.0) -> Array:
    """FEM: how many channels are unusually strong in a cell, each counted by its mean; no class is asked for.

    `M_ij = sum_k mu_k [A_kij >= mu_k + 2 sigma_k]`

    with `A (N, K, h, w)` the activations of the layer, `mu_k` and `sigma_k` the mean and the population standard
    deviation of channel `k` over the grid. A constant channel has `sigma = 0` and is marked everywhere.

    Args:
        capture: activations.
        k_sigma: how many standard deviations above the mean is unusual.

    Returns:
        The RAW map `(N, h, w)`, zero or more where the activations are.

    Source:
        Fuad et al., Features understanding in 3D CNNs for actions recognition in video, IPTA 2020.
    """
    activations = flat(capture.activations)
    xp = array_namespace(activations)
    mean = xp.mean(activations, axis=-1, keepdims=True)
    deviation = xp.sqrt(xp.mean((activations - mean) ** 2, axis=-1, keepdims=True))
    constant = xp.max(activations, axis=-1, keepdims=True) == xp.min(activations, axis=-1, keepdims=True)
    marked = (
        activations >= mean + k_sigma * deviation
    ) | constant  # rounding in the mean of a constant must not matter
    marks = xp.reshape(xp.astype(marked, activations.dtype), capture.activations.shape)
    return weighted_sum(mean[:, :, 0], marks)
