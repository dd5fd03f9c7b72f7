"""KPCA-CAM."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from camzoo.errors import unknown
from camzoo.grids import Array
from camzoo.methods._arrays import along_energy, at_least_single, flat, leading_space, on_grid, tolerance
from camzoo.types import Capture

KERNELS = ("sigmoid", "rbf", "poly", "linear")


def kpcacam(
    capture: Capture,
    *,
    kernel: str = "sigmoid",
    gamma: float | None = None,
    coef0: float = 1.0,
    degree: int = 3,
) -> Array:
    """KPCA-CAM: the first kernel principal component of the activations; no class is asked for.

    `M = sqrt(lam_1) u_1`, with `lam_1, u_1` the largest eigenvalue and its vector of the centred kernel matrix
    `Q - J Q - Q J + J Q J`, `Q_ij = kernel(x_i, x_j) (n, n)`, `J = 1/n`, and `x_i (K,)` the channels of
    `A (N, K, h, w)` at cell `i`, less their mean over the cells.

    "sigmoid" is `tanh(gamma x.y + coef0)`, "rbf" `exp(-gamma |x-y|^2)`, "poly" `(gamma x.y + coef0)^degree`, "linear"
    `x.y`, which gives `eigencam(centred=True)`. Sign, ties and half precision are as in `eigencam`, with the energy of
    the activations before centring. Time grows with the cube of the number of cells.

    Args:
        capture: activations.
        kernel: "sigmoid", "rbf", "poly" or "linear".
        gamma: None for `1/K`.
        coef0: of "sigmoid" and "poly".
        degree: of "poly".

    Returns:
        The RAW map `(N, h, w)`, signed. Zeros where `lam_1 <= 100 eps max|Q|`, as when all cells are alike; an
        activation that is not finite makes the whole map NaN.

    Raises:
        RequestError: another kernel.

    Source:
        Karmani et al., KPCA-CAM, 2024, arXiv 2410.00267. That the columns are centred first is from its code; it
        matters to "sigmoid" and "poly".
    """
    xp = array_namespace(capture.activations)
    channels = at_least_single(flat(capture.activations))
    energy = xp.sum(channels * channels, axis=1)
    channels = channels - xp.mean(channels, axis=-1, keepdims=True)
    products = xp.matmul(xp.matrix_transpose(channels), channels)
    matrix = _kernel(xp, products, kernel, 1 / channels.shape[1] if gamma is None else gamma, coef0, degree)
    rows = xp.mean(matrix, axis=1, keepdims=True)
    means = xp.matrix_transpose(rows)
    largest, space = leading_space(matrix - rows - means + xp.mean(rows, axis=2, keepdims=True))
    nothing = largest <= tolerance(matrix) * xp.max(xp.abs(matrix), axis=(1, 2))
    component = xp.sqrt(xp.where(nothing, 0.0, largest))[:, None] * along_energy(space, energy)
    return on_grid(xp.astype(component, capture.activations.dtype), capture.activations)


def _kernel(xp: Any, products: Array, kernel: str, gamma: float, coef0: float, degree: int) -> Array:
    """The kernel of all pairs of cells, from their inner products `(N, n, n)`."""
    if kernel == "linear":
        return products
    if kernel == "sigmoid":
        return xp.tanh(gamma * products + coef0)
    if kernel == "poly":
        return (gamma * products + coef0) ** degree
    if kernel == "rbf":
        squares = xp.linalg.diagonal(products)
        distances = squares[:, :, None] + squares[:, None, :] - 2 * products
        return xp.exp(-gamma * xp.where(distances < 0, 0.0, distances))
    raise unknown("kernel", kernel, KERNELS)
