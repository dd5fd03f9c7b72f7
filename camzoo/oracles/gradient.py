"""Methods from the activations `A (K, h, w)` and the gradients `G (K, h, w)` of one layer."""

from __future__ import annotations

import numpy as np

from camzoo.oracles.activation import leading_projection
from camzoo.oracles.grids import Floats


def ratio(above: float, below: float) -> float:
    """`above / below` with 0/0 = 0; anything else over zero is infinite."""
    if below == 0:
        return 0.0 if above == 0 else above * np.inf
    return above / below


def weighted_sum(weights: Floats, A: Floats) -> Floats:
    """`sum_k w_k A_k`."""
    result = np.zeros(A.shape[1:])
    for k in range(A.shape[0]):
        for cell in np.ndindex(A.shape[1:]):
            result[cell] += weights[k] * A[k][cell]
    return result


def gradcam(A: Floats, G: Floats) -> Floats:
    """`sum_k (mean_ij G_k) A_k`: Selvaraju 2017, 1610.02391, eq. 1 and 2, before the ReLU."""
    weights = np.array([sum(G[k][cell] for cell in np.ndindex(G.shape[1:])) / G[k].size for k in range(len(G))])
    return weighted_sum(weights, A)


def counterfactual_gradcam(A: Floats, G: Floats) -> Floats:
    """`sum_k (mean_ij -G_k) A_k`: Selvaraju 2017, 1610.02391, eq. 3: what would lower the score."""
    return gradcam(A, -G)


def gradcam_plus_plus(A: Floats, G: Floats, alpha: str = "paper") -> Floats:
    """`sum_k [sum_ij alpha_k relu(G_k)] A_k`: Chattopadhay 2018, 1710.11063, with the alpha of eq. 19.

    `alpha = G^2 / (2 G^2 + (sum_ab A_k) G^3)`, exact, 0/0 = 0. Cells with G <= 0 add exactly 0, whatever alpha is.
    The score is `exp(S)` in the paper; its factor is common to all channels and is left out.

    `alpha="authors"`, as in the authors' code: a denominator of zero is replaced by one, and the alphas of a channel
    are divided by their sum over the cells with positive gradient (by one where that sum is zero).
    """
    weights = np.zeros(len(A))
    for k in range(len(A)):
        total = float(A[k].sum())
        positive = [cell for cell in np.ndindex(A.shape[1:]) if not G[k][cell] <= 0]  # NaN stays
        alphas = {cell: _alpha(float(G[k][cell]), total, alpha) for cell in positive}
        if alpha == "authors":
            mass = sum(alphas.values())
            alphas = {cell: value / (mass if mass != 0 else 1.0) for cell, value in alphas.items()}
        weights[k] = sum(alphas[cell] * G[k][cell] for cell in positive)
    return weighted_sum(weights, A)


def _alpha(gradient: float, total: float, alpha: str) -> float:
    below = 2 * gradient**2 + total * gradient**3
    if alpha == "authors" and below == 0:
        return gradient**2
    return ratio(gradient**2, below)


def hirescam(A: Floats, G: Floats) -> Floats:
    """`sum_k G_k * A_k`: Draelos and Carin 2020, 2011.08891."""
    result = np.zeros(A.shape[1:])
    for k in range(len(A)):
        for cell in np.ndindex(A.shape[1:]):
            result[cell] += G[k][cell] * A[k][cell]
    return result


def gradcam_elementwise(A: Floats, G: Floats) -> Floats:
    """`sum_k relu(G_k * A_k)`: pytorch-grad-cam's GradCAMElementWise; no paper."""
    result = np.zeros(A.shape[1:])
    for k in range(len(A)):
        for cell in np.ndindex(A.shape[1:]):
            result[cell] += max(G[k][cell] * A[k][cell], 0.0)
    return result


def xgradcam(A: Floats, G: Floats) -> Floats:
    """`sum_k [sum_ij G_k A_k / sum_ij A_k] A_k`: Fu 2020, 2008.02312. A dead channel has weight 0/0 = 0."""
    weights = np.zeros(len(A))
    for k in range(len(A)):
        product = sum(G[k][cell] * A[k][cell] for cell in np.ndindex(A.shape[1:]))
        weights[k] = ratio(float(product), float(A[k].sum()))
    return weighted_sum(weights, A)


def layercam(A: Floats, G: Floats) -> Floats:
    """`sum_k relu(G_k) * A_k`: Jiang 2021, TIP 30, before the ReLU."""
    result = np.zeros(A.shape[1:])
    for k in range(len(A)):
        for cell in np.ndindex(A.shape[1:]):
            result[cell] += max(G[k][cell], 0.0) * A[k][cell]
    return result


def eigengradcam(A: Floats, G: Floats, centred: bool = False) -> Floats:
    """EigenCAM (see `activation.eigencam`) of `G * A`; the energy that fixes the sign is that of `G * A` as well."""
    return leading_projection(G * A, centred)
