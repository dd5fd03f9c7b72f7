"""LeGrad."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array, rectify
from camzoo.methods._patches import patch_map
from camzoo.types import Capture


def legrad(capture: Capture) -> Array:
    """LeGrad: where more attention would raise the score, averaged over blocks, heads and queries.

    `E_lj = 1/(heads t) sum_hi relu(D_lhij)` and `M_j = 1/L sum_l E_lj` at the patches `j`

    with `D_l = ds_l/dB_l (N, heads, t, t)` the derivative of the score read off block `l` by the attention
    probabilities of block `l`, from queries `i` to keys `j`.

    Args:
        capture: attention gradients of every block, and the grid and prefix of a layer with the same tokens.

    Returns:
        The RAW map `(N, h, w)`, zero or more.

    Raises:
        RequestError: the layer's grid is not that of the tokens.

    Source:
        Bousselham et al., LeGrad, ICCV 2025, arXiv 2404.03214, section 3.

    Departures:
        All blocks are averaged, as in the paper; the authors' code takes the last ones only. Scaling to 0..1 belongs
        to a later stage.
    """
    xp = array_namespace(*capture.attention_gradients)
    blocks = [xp.mean(rectify(gradient), axis=(1, 2)) for gradient in capture.attention_gradients]
    return patch_map(capture, sum(blocks[1:], start=blocks[0]) / len(blocks))
