"""ShapleyCAM."""

from __future__ import annotations

from dataclasses import replace

from camzoo.grids import Array
from camzoo.methods.gradcam import gradcam
from camzoo.types import Capture


def shapleycam(capture: Capture) -> Array:
    """ShapleyCAM: channels weighted by the second-order Shapley value of their activations.

    `w_k = mean_ij (G - (H A) / 2)_kij` and `M = sum_k w_k A_k`

    with `A (N, K, h, w)` the activations, `G = dS/dA`, and `H A` the Hessian of the score times the activations, by one
    more backward pass: `d/dA <G, A>` with the second `A` held fixed. Where the model after the layer is piecewise
    linear `H` is zero, and this is Grad-CAM. The paper explains `y_c + log softmax(y)_c`; here `S` is the target.

    Args:
        capture: activations, gradients and the Hessian product.

    Returns:
        The RAW map `(N, h, w)`.

    Source:
        Cai, CAMs as Shapley value-based explainers, 2025, arXiv 2501.06261.
    """
    return gradcam(replace(capture, gradients=capture.gradients - capture.hessian_product / 2))
