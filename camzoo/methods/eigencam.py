"""EigenCAM."""

from __future__ import annotations

from camzoo.grids import Array
from camzoo.methods._arrays import leading_projection
from camzoo.types import Capture


def eigencam(capture: Capture, *, centred: bool = False) -> Array:
    """EigenCAM: the activations projected on their first principal direction; no class is asked for.

    `M = X v_1 = sigma_1 u_1`, with `X (n, K)` the cells of the grid by the channels of `A (N, K, h, w)` and `v_1 (K,)`
    its first right singular vector, for each image alone.

    `u_1` is an eigenvector of `X X^T (n, n)`, or comes from `X^T X (K, K)` where that is smaller. Its sign is the one
    whose correlation with the energy of the cells, `e_i = sum_k X_ik^2`, is not negative; where the first singular
    values tie (to 100 eps in their squares), it is the direction of their space that correlates best with `e`. float16
    and bfloat16 are computed in float32.

    Args:
        capture: activations.
        centred: take the mean over the cells off each channel first. That is another map, common in software.

    Returns:
        The RAW map `(N, h, w)`, signed, in units of the activations. Zero activations give zeros; an activation that is
        not finite makes the whole map NaN.

    Source:
        Muhammad and Yeasin, Eigen-CAM, IJCNN 2020, arXiv 2008.00299. The paper names no sign.
    """
    return leading_projection(capture.activations, centred)
