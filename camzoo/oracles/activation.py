"""Methods from the activations `A (K, h, w)` alone (SegEigenCAM also takes the gradients)."""

from __future__ import annotations

import math

import numpy as np

from camzoo.oracles.grids import Floats

# Eigenvalues are known to a few eps of the largest: what is nearer than this counts as equal.
TOLERANCE = 100 * float(np.finfo(np.float64).eps)


def cells_by_channels(A: Floats) -> Floats:
    """The matrix `X (n, K)`: one row for each cell of the grid in row-major order."""
    return np.array([[A[k][cell] for k in range(len(A))] for cell in np.ndindex(A.shape[1:])])


def energy(A: Floats) -> Floats:
    """`e_i = sum_k A_k[i]^2`, one number for each cell."""
    return np.array([sum(A[k][cell] ** 2 for k in range(len(A))) for cell in np.ndindex(A.shape[1:])])


def oriented(space: Floats, weight: Floats) -> Floats:
    """The unit vector of a space that correlates best with the energy: the sign convention, and the answer for ties.

    Args:
        space: orthonormal columns `(n, r)`; r is 1 unless the leading eigenvalue is tied.
        weight: the energy `(n,)` before its mean is subtracted.

    Returns:
        `U c / |c|` with `c = U^T (e - mean e)`. Where c vanishes (a constant energy), ones take the place of
        `e - mean e`; where that vanishes too, the first column, its first entry of at least half the largest size
        positive.
    """
    n = len(weight)
    for guide, size in ((weight - weight.mean(), np.linalg.norm(weight)), (np.ones(n), math.sqrt(n))):
        c = space.T @ guide
        if np.linalg.norm(c) > TOLERANCE * size:
            return np.asarray(space @ c / np.linalg.norm(c))
    first = space[:, 0]
    large = np.abs(first) >= np.abs(first).max() / 2
    return np.asarray(first * np.sign(first[large][0]))


def leading_projection(A: Floats, centred: bool) -> Floats:
    """`X v_1` by a full singular value decomposition, signed by `oriented`."""
    if np.isnan(A).any():
        return np.full(A.shape[1:], np.nan)
    X = cells_by_channels(A)
    if centred:
        X = X - X.mean(axis=0)
    U, sigma, _ = np.linalg.svd(X, full_matrices=False)
    if sigma[0] == 0:
        return np.zeros(A.shape[1:])
    tied = sigma**2 >= sigma[0] ** 2 * (1 - TOLERANCE)
    return np.asarray((sigma[0] * oriented(U[:, tied], energy(A))).reshape(A.shape[1:]))


def eigencam(A: Floats, centred: bool = False) -> Floats:
    """`X v_1`, `X (n, K)` cells by channels, `v_1` its first right singular vector: Muhammad 2020, 2008.00299.

    Not centred, as in the paper; `centred=True` subtracts the mean of each channel first (what pytorch-grad-cam
    does). The paper leaves the sign open: here the map whose correlation with the energy `sum_k A_k^2` (of the values
    before centring) is not negative, so a mirrored image gives the mirrored map. Of tied directions, the one that
    correlates best with the energy (see `oriented`). All zero: zeros. NaN anywhere: NaN everywhere.
    """
    return leading_projection(A, centred)


def segeigencam(A: Floats, G: Floats, centred: bool = True) -> Floats:
    """EigenCAM of `|G| * A`, turned so that its peak is positive: Chung and Ying 2025, doi 10.3390/app15137562.

    Eq. 10: `B = |G| * A`. Eq. 11 and 12: `m = X v_1` of B, columns centred as in the reference implementation in
    pytorch-grad-cam. Eq. 13: `-m` where `|min m| > |max m|`. On equality the sign of `eigencam` stays.
    """
    m = leading_projection(np.abs(G) * A, centred)
    return -m if abs(m.min()) > abs(m.max()) else m


def kernel_value(x: Floats, y: Floats, kernel: str, gamma: float, coef0: float, degree: int) -> float:
    """One entry of the kernel matrix."""
    if kernel == "rbf":
        return math.exp(-gamma * float(((x - y) ** 2).sum()))
    product = float((x * y).sum())
    if kernel == "sigmoid":
        return math.tanh(gamma * product + coef0)
    if kernel == "poly":
        return (gamma * product + coef0) ** degree
    assert kernel == "linear"
    return product


def kpcacam(
    A: Floats, kernel: str = "sigmoid", gamma: float | None = None, coef0: float = 1.0, degree: int = 3
) -> Floats:
    """First component of a kernel PCA over the cells: Karmani 2024, 2410.00267.

    `X (n, K)`: cells by channels, each column centred (as the reference implementation does; it changes the sigmoid and
    the polynomial kernel, not the Gaussian one). `Q_ij = kernel(X_i, X_j)` with gamma = 1/K, coef0 = 1, degree = 3
    unless given. `C = Q - JQ - QJ + JQJ`, J all 1/n. With the algebraically largest eigenvalue `l` and its vector `u`:
    `m = sqrt(l) u`, signed as in `eigencam` by the energy of A. No positive eigenvalue: zeros.
    """
    if np.isnan(A).any():
        return np.full(A.shape[1:], np.nan)
    X = cells_by_channels(A)
    n, K = X.shape
    X = X - X.mean(axis=0)
    scale = 1.0 / K if gamma is None else gamma
    Q = np.array([[kernel_value(X[i], X[j], kernel, scale, coef0, degree) for j in range(n)] for i in range(n)])
    J = np.full((n, n), 1.0 / n)
    values, vectors = np.linalg.eigh(Q - J @ Q - Q @ J + J @ Q @ J)
    if values[-1] <= TOLERANCE * np.abs(Q).max():
        return np.zeros(A.shape[1:])
    tied = values >= values[-1] * (1 - TOLERANCE)
    return np.asarray((math.sqrt(values[-1]) * oriented(vectors[:, tied], energy(A))).reshape(A.shape[1:]))


def fem(A: Floats, k_sigma: float = 2.0) -> Floats:
    """`sum_k mu_k [A_k >= mu_k + 2 sigma_k]`: Fuad 2020, IPTA; sigma is that of the population.

    A constant channel has sigma 0, and so is marked everywhere, whatever rounding says. (pytorch-grad-cam's FEM is
    another formula: it weighs A_k by the share of marked cells.)
    """
    result = np.zeros(A.shape[1:])
    for k in range(len(A)):
        mean = A[k].sum() / A[k].size
        sigma = math.sqrt(((A[k] - mean) ** 2).sum() / A[k].size)
        constant = A[k].min() == A[k].max()
        for cell in np.ndindex(A.shape[1:]):
            if constant or A[k][cell] >= mean + k_sigma * sigma:
                result[cell] += mean
    return result


def reconstruction_error(X: Floats, P: Floats, Q: Floats) -> float:
    """`|X - P Q|` in the Frobenius norm."""
    return float(np.sqrt(((X - P @ Q) ** 2).sum()))


def multiplicative_updates(X: Floats, P: Floats, Q: Floats, iterations: int) -> tuple[Floats, Floats]:
    """Lee and Seung's updates of `X ~ P Q` for the squared error, 0/0 = 0; the error never rises."""
    for _ in range(iterations):
        below = P.T @ P @ Q
        Q = Q * np.divide(P.T @ X, below, out=np.zeros_like(Q), where=below != 0)
        below = P @ Q @ Q.T
        P = P * np.divide(X @ Q.T, below, out=np.zeros_like(P), where=below != 0)
    return P, Q


def dff_flaws(X: Floats, P: Floats, Q: Floats, start: tuple[Floats, Floats], iterations: int) -> list[str]:
    """What is wrong with a deep feature factorisation: Collins 2018, 1806.10206. Empty if nothing is.

    A non-negative factorisation is not unique, so what defines it is checked. `X (n, K)` holds the activations of one
    image, cells by channels, negative ones set to zero; `P (n, r)` the component maps, `Q (r, K)` the concepts.

    Args:
        X: what was factorised.
        P: the maps found.
        Q: the concepts found.
        start: the maps and concepts from which the search began.
        iterations: the error may not be above that of so many multiplicative updates from the same start.
    """
    flaws = []
    if P.shape[0] != X.shape[0] or Q.shape[1] != X.shape[1] or P.shape[1] != Q.shape[0]:
        return [f"shapes {P.shape} and {Q.shape} do not factorise {X.shape}"]
    if not (np.isfinite(P).all() and np.isfinite(Q).all()):
        return ["not finite"]
    if (P < 0).any() or (Q < 0).any():
        flaws.append("negative entries")
    allowed = reconstruction_error(X, *multiplicative_updates(X, *start, iterations))
    found = reconstruction_error(X, P, Q)
    # The room is for rounding only: both errors carry about eps * |X|.
    if found > allowed + 1e-12 * float(np.linalg.norm(X)):
        flaws.append(f"error {found} is above {allowed}")
    return flaws
