"""Closed forms where the head is global average pooling and one linear layer: `y_c = sum_k W_ck mean_ij(A_k) + b_c`."""

from __future__ import annotations

import numpy as np

from camzoo.oracles.grids import Floats


def logits(A: Floats, W: Floats, b: Floats) -> Floats:
    """The scores `(classes,)` of activations `A (K, h, w)`; `W (classes, K)`, `b (classes,)`."""
    return np.array([sum(W[c, k] * A[k].mean() for k in range(len(A))) + b[c] for c in range(len(W))])


def cam(A: Floats, W: Floats, c: int) -> Floats:
    """`sum_k W_ck A_k`: Zhou 2016, 1512.04150, eq. 2."""
    result = np.zeros(A.shape[1:])
    for k in range(len(A)):
        for cell in np.ndindex(A.shape[1:]):
            result[cell] += W[c, k] * A[k][cell]
    return result


def gradient(A: Floats, W: Floats, c: int) -> Floats:
    """`dy_c/dA_k = W_ck / n` at each of the n cells. So Grad-CAM, HiResCAM and XGrad-CAM are all `cam / n`."""
    return np.array([np.full(A.shape[1:], W[c, k] / A[k].size) for k in range(len(A))])


def hessian_vector(A: Floats) -> Floats:
    """`H A = 0`: the logit is linear in A. So ShapleyCAM is Grad-CAM."""
    return np.zeros_like(A)


def ablation_drops(A: Floats, W: Floats, c: int) -> Floats:
    """`S - S_k = W_ck mean_ij(A_k)` for each channel k: the bias drops out."""
    return np.array([W[c, k] * A[k].mean() for k in range(len(A))])


def ablationcam(A: Floats, W: Floats, b: Floats, c: int) -> Floats:
    """`sum_k W_ck mean(A_k) / |S| A_k`: Ablation-CAM in closed form, one forward pass instead of K."""
    drops = ablation_drops(A, W, c)
    return cam(A, (drops / abs(logits(A, W, b)[c]))[None], 0)


def concept_scores(Q: Floats, W: Floats, b: Floats) -> Floats:
    """`Q W^T + b`: which classes each concept of a deep feature factorisation speaks for, `(r, classes)`."""
    return np.array([[float((W[c] * q).sum()) + b[c] for c in range(len(W))] for q in Q])
