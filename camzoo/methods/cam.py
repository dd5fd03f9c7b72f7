"""CAM."""

from __future__ import annotations

from camzoo.errors import NotOffered
from camzoo.grids import Array
from camzoo.methods._arrays import weighted_sum
from camzoo.methods._scores import asked
from camzoo.types import Capture


def cam(capture: Capture) -> Array:
    """CAM: channels weighted as the classifier weighs them.

    `M = sum_k W_ck A_k`

    with `A (N, K, h, w)` the activations of the layer before global average pooling and `W (classes, K)` the weights of
    the one linear layer after it. With such a head Grad-CAM, HiResCAM and XGrad-CAM are this map over `h * w`.

    Args:
        capture: activations and the model to ask for its head.

    Returns:
        The RAW map `(N, h, w)`, whose mean over the grid is the score less its bias.

    Raises:
        NotOffered: what comes after the layer is not global average pooling and one linear layer.

    Source:
        Zhou et al., Learning deep features for discriminative localization, CVPR 2016, arXiv 1512.04150, equation 2.
    """
    head = asked(capture).head()
    if head is None:
        raise NotOffered("cam needs global average pooling and one linear layer after the layer; gradcam needs neither")
    return weighted_sum(head, capture.activations)
