"""LayerCAM."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array, rectify
from camzoo.types import Capture


def layercam(capture: Capture) -> Array:
    """LayerCAM: every activation times its own gradient where that is positive.

    `M_ij = sum_k relu(G_kij) A_kij`

    with `A (N, K, h, w)` the activations of the layer and `G = dS/dA (N, K, h, w)`.

    Args:
        capture: activations and gradients.

    Returns:
        The RAW map `(N, h, w)`, zero or more where the activations are. The scaling by `tanh` of shallow layers belongs
        to the fusion of several layers.

    Source:
        Jiang et al., LayerCAM, IEEE Transactions on Image Processing 30, 2021, doi 10.1109/TIP.2021.3089943,
        equations 5 to 7.
    """
    activations, gradients = capture.activations, capture.gradients
    xp = array_namespace(activations, gradients)
    return xp.sum(rectify(gradients) * activations, axis=1)
