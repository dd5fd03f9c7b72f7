"""Arithmetic that several methods share: channels, ratios, and the leading direction of a small Gram matrix.

Grids are flattened to their `n = h*w` (or `d*h*w`) cells, so that volumes are treated as images are. Nothing here
looks at values on the host: the branches of a definition are computed side by side and chosen by `where`.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from camzoo.grids import Array


def flat(array: Array) -> Array:
    """Activations or gradients `(N, K, h, w)` with their cells in one axis: `(N, K, n)`."""
    xp = array_namespace(array)
    return xp.reshape(array, (*array.shape[:2], -1))


def on_grid(cells: Array, like: Array) -> Array:
    """Maps `(N, n)` on the grid of activations `(N, K, h, w)`: `(N, h, w)`."""
    xp = array_namespace(cells)
    return xp.reshape(cells, (like.shape[0], *like.shape[2:]))


def weighted_sum(weights: Array, activations: Array) -> Array:
    """`M = sum_k w_k A_k`: one product of matrices for each image, nothing of the size of `A` is made.

    Args:
        weights: one for each channel, `(N, K)`.
        activations: `(N, K, h, w)`.

    Returns:
        Maps `(N, h, w)`.
    """
    xp = array_namespace(weights, activations)
    return on_grid(xp.matmul(weights[:, None, :], flat(activations)), activations)


def ratio(above: Array, below: Array) -> Array:
    """`above / below` with 0/0 = 0; anything else over 0 is infinite, so that it is seen."""
    xp = array_namespace(above, below)
    return above / xp.where((above == 0) & (below == 0), 1.0, below)


def at_least_single(array: Array) -> Array:
    """The array, in float32 if it comes in half precision: no library has eigenvectors in float16 or bfloat16."""
    xp = array_namespace(array)
    return xp.astype(array, xp.float32) if xp.finfo(array.dtype).bits < 32 else array


def tolerance(array: Array) -> float:
    """What counts as rounding in comparisons of the array's dtype: 100 machine epsilons."""
    xp = array_namespace(array)
    return 100 * float(xp.finfo(array.dtype).eps)


def leading_projection(values: Array, centred: bool) -> Array:
    """`X v_1`, the projection of the cells on the first right singular vector of `X`, the cells by channels.

    It is computed as `sigma_1 u_1`, from the smaller of `X X^T (n, n)` and `X^T X (K, K)`. Sign and ties are those of
    `along_energy`, with the energy of each cell `e_i = sum_k X_ik^2` before centring.

    Args:
        values: `X^T` for each image, as activations `(N, K, h, w)`; half precision is computed in float32.
        centred: whether the mean over the cells is taken off each channel.

    Returns:
        Maps `(N, h, w)` in the dtype of the values; all NaN where a value is not finite.
    """
    xp = array_namespace(values)
    channels = at_least_single(flat(values))
    energy = xp.sum(channels * channels, axis=1)
    if centred:
        channels = channels - xp.mean(channels, axis=-1, keepdims=True)
    cells = xp.matrix_transpose(channels)
    if cells.shape[1] <= cells.shape[2]:
        largest, space = leading_space(xp.matmul(cells, channels))
    else:
        largest, space = leading_space(xp.matmul(channels, cells))
        space = xp.matmul(cells, space)
        space = ratio(space, xp.linalg.vector_norm(space, axis=1, keepdims=True))
    projection = xp.sqrt(largest)[:, None] * along_energy(space, energy)
    return on_grid(xp.astype(projection, values.dtype), values)


def leading_space(gram: Array) -> tuple[Array, Array]:
    """The largest eigenvalue of symmetric matrices, and the eigenvectors that share it to within rounding.

    Args:
        gram: `(N, m, m)`.

    Returns:
        The eigenvalue `lam_1 (N,)`, NaN where the matrix is not finite, and the eigenvectors as columns `(N, m, m)` in
        ascending order, those with `lam < lam_1 (1 - 100 eps)` replaced by zeros.
    """
    xp = array_namespace(gram)
    size = xp.max(xp.abs(gram), axis=(1, 2), keepdims=True)
    scaled = xp.where(xp.isfinite(size), ratio(gram, size), 0.0)  # LAPACK refuses NaN
    values, vectors = xp.linalg.eigh(scaled)
    largest = values[:, -1:]
    leads = values >= largest * (1 - tolerance(gram))
    return largest[:, 0] * size[:, 0, 0], xp.where(leads[:, None, :], vectors, 0.0)


def along_energy(space: Array, energy: Array) -> Array:
    """The unit vector of a space of maps that correlates best with the energy of the cells.

    `u ~ U U^T e'` with `e' = e - mean(e)`. With one vector in the space this is that vector, with the sign whose
    Pearson correlation with the energy is not negative; with more, where singular values tie, it is unique all the
    same. So the mirrored image gives the mirrored map. Where `|U^T e'| <= 100 eps |e|`, the vector of ones stands in
    for `e'` (the map sums to more than zero); where that is orthogonal too, it is the last column of the space, its
    first entry of at least half the largest size made positive.

    Args:
        space: `U (N, n, r)`, orthonormal columns in ascending order, or zeros.
        energy: `e (N, n)`.

    Returns:
        `u (N, n)`.
    """
    xp = array_namespace(space, energy)
    energy = ratio(energy, xp.max(energy, axis=-1, keepdims=True))  # squares of small energies underflow
    direction = _signed(xp, space[:, :, -1])
    for guide, scale in ((xp.ones_like(energy),) * 2, (energy - xp.mean(energy, axis=-1, keepdims=True), energy)):
        coefficients = xp.matmul(guide[:, None, :], space)
        projected = xp.matmul(space, xp.matrix_transpose(coefficients))[:, :, 0]
        length = xp.linalg.vector_norm(coefficients, axis=-1)
        seen = length > tolerance(space) * xp.linalg.vector_norm(scale, axis=-1, keepdims=True)
        direction = xp.where(seen, ratio(projected, length), direction)
    return direction


def _signed(xp: Any, vectors: Array) -> Array:
    """Vectors `(N, n)` with the sign that makes the first entry of at least half the largest size positive."""
    sizes = xp.abs(vectors)
    large = sizes >= xp.max(sizes, axis=-1, keepdims=True) / 2
    first = xp.argmax(xp.astype(large, xp.int32), axis=-1)[:, None]
    places = xp.arange(vectors.shape[1], device=vectors.device)[None, :]
    pivot = xp.sum(xp.where(places == first, vectors, 0.0), axis=-1, keepdims=True)
    return xp.where(pivot < 0, -vectors, vectors)
