"""Methods from the attention of a vision transformer: `(layers, heads, tokens, tokens)`, rows are queries."""

from __future__ import annotations

import numpy as np

from camzoo.oracles.grids import Floats


def on_grid(tokens: Floats, prefix: int, grid: tuple[int, int]) -> Floats:
    """Drops the `prefix` first tokens (class and register tokens) and lays the rest out row by row."""
    patches = tokens[prefix:]
    assert len(patches) == grid[0] * grid[1]
    return np.array([[patches[i * grid[1] + j] for j in range(grid[1])] for i in range(grid[0])])


def rollout(attention: Floats, grid: tuple[int, int], prefix: int = 1) -> Floats:
    """Attention rollout: Abnar and Zuidema 2020, 2005.00928.

    `T_l = mean_heads(A_l)/2 + I/2`, rows divided by their sum; `R = T_L ... T_1`. The map is the row of the class token
    (token 0) over the patches; without a prefix token, the mean of all rows.
    """
    layers, heads, tokens, _ = attention.shape
    R = np.eye(tokens)
    for layer in range(layers):
        T = sum((attention[layer, head] for head in range(heads)), np.zeros((tokens, tokens))) / heads
        T = 0.5 * T + 0.5 * np.eye(tokens)
        T = np.array([row / row.sum() for row in T])
        R = T @ R
    return on_grid(R[0] if prefix > 0 else R.mean(axis=0), prefix, grid)


def legrad(gradients: Floats, grid: tuple[int, int], prefix: int = 1, first_layer: int = 0) -> Floats:
    """LeGrad: Bousselham 2024, 2404.03214, before the min-max.

    `gradients[l] = d s_l / d A_l (heads, tokens, tokens)`, A_l the softmax probabilities of block l, and
    `s_l = head(pool(norm(Z_l)))_c` the score read off the tokens Z_l after block l with the model's own last norm,
    pooling and head: each layer has a score of its own. `E_l[j] = mean over heads h and queries i of relu(.)_hij`; the
    map is the mean of E_l over the layers from `first_layer` on (all in the paper, the last two in the authors' code).
    """
    layers, heads, tokens, _ = gradients.shape
    total = np.zeros(tokens)
    for layer in range(first_layer, layers):
        for j in range(tokens):
            positive = (max(gradients[layer, h, i, j], 0.0) for h in range(heads) for i in range(tokens))
            total[j] += sum(positive) / (heads * tokens)
    return on_grid(total / (layers - first_layer), prefix, grid)
