"""Attention rollout."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array
from camzoo.methods._patches import patch_map
from camzoo.types import Capture


def attention_rollout(capture: Capture) -> Array:
    """Attention rollout: how much of each patch reaches the class token through all blocks.

    `T_l = (mean_heads B_l + I) / 2`, rows scaled to sum one, `R = T_L ... T_2 T_1`, and `M = R_0` at the patches

    with `B_l (N, heads, t, t)` the attention probabilities of block `l`, and row 0 that of the class token. A model
    without prefix tokens has no such row: the mean over all rows is taken. No class is explained: the map is the same
    for every score.

    Args:
        capture: attention of every block, and the grid and prefix of a layer with the same tokens.

    Returns:
        The RAW map `(N, h, w)`, in 0..1; with the share of the prefix tokens it sums to one.

    Raises:
        RequestError: the layer's grid is not that of the tokens.

    Source:
        Abnar and Zuidema, Quantifying attention flow in transformers, ACL 2020, arXiv 2005.00928, equation 1 and
        section 3.
    """
    xp = array_namespace(*capture.attention)
    count, _, tokens, _ = capture.attention[0].shape
    identity = xp.eye(tokens, dtype=capture.attention[0].dtype, device=capture.attention[0].device)
    start = identity[:1, :] if capture.prefix else xp.mean(identity, axis=0, keepdims=True)
    rows = xp.broadcast_to(start, (count, 1, tokens))
    for attention in reversed(capture.attention):  # one row of the product is all that is read
        step = 0.5 * xp.mean(attention, axis=1) + 0.5 * identity
        rows = xp.matmul(rows, step / xp.sum(step, axis=-1, keepdims=True))
    return patch_map(capture, rows[:, 0, :])
