"""Deep feature factorisation."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from camzoo.errors import RequestError
from camzoo.grids import Array, rectify
from camzoo.methods._arrays import at_least_single, flat, ratio
from camzoo.types import Capture


def dff(capture: Capture, *, components: int = 4, component: int | None = None, steps: int = 50) -> Array:
    """Deep feature factorisation: the map of the concept that speaks most for the target.

    `X ~ P Q` with `P (n, r)` and `Q (r, K)` zero or more, and `M = P_c` with `c = argmax_r <G, P_r Q_r>`, the
    component's part of the score to first order

    with `X (n, K)` the cells of the grid by the channels of `A (N, K, h, w)`, clipped at zero, and
    `G = dS/dA (N, K, h, w)`.

    Args:
        capture: activations and gradients, and the seed of the start.
        components: how many concepts, `r`.
        component: the number of another one, from 0, in the order of `factorise`.
        steps: of the factorisation.

    Returns:
        The RAW map `(N, h, w)`, zero or more, in units of the activations, the concept having length one.

    Raises:
        RequestError: no components, or no component of that number.

    Source:
        Collins et al., Deep Feature Factorization for Concept Discovery, ECCV 2018, arXiv 1806.10206. There several
        images are factorised together and no component is chosen; here each image is by itself, so that batch mates do
        not matter.
    """
    if component is not None and not 0 <= component < components:
        raise RequestError(f"there is no component {component} of {components}; the first is 0")
    maps, concepts = factorise(capture.activations, components, capture.seed, steps)
    if component is not None:
        return maps[:, component, ...]
    xp = array_namespace(maps)
    chosen = xp.argmax(contributions(maps, concepts, capture.gradients), axis=1)
    numbers = xp.arange(components, device=chosen.device)
    is_chosen = numbers[None, :] == chosen[:, None]
    return xp.sum(xp.where(is_chosen[(...,) + (None,) * (maps.ndim - 2)], maps, 0.0), axis=1)


def factorise(activations: Array, components: int = 4, seed: int = 0, steps: int = 50) -> tuple[Array, Array]:
    """Non-negative factors of the activations of each image: where concepts are, and what they are made of.

    `min |X - P Q|^2` over `P, Q >= 0`, from noise, the same for each image, so that batch mates do not matter.
    Multiplicative updates share the cells out among the concepts; hierarchical alternating least squares then
    converge much faster: each row of `Q` and column of `P` in turn is set to its best value, all others held fixed.
    Neither ever raises the error. Half precision is computed in float32.

    Args:
        activations: `A (N, K, h, w)`; values below zero are taken as zero.
        components: how many concepts, `r`.
        seed: of the start.
        steps: how many of each kind; 0 gives the start.

    Returns:
        Maps `P (N, r, h, w)` and concepts `Q (N, r, K)` of Euclidean length one (zero if unused), the largest
        `sum_ij P_r` first.

    Raises:
        RequestError: fewer than one component.

    Source:
        Lee and Seung, Algorithms for non-negative matrix factorization, NeurIPS 2000, theorem 1; Cichocki and Phan,
        Fast local algorithms for large scale nonnegative matrix and tensor factorizations, IEICE E92-A, 2009.
    """
    if components < 1:
        raise RequestError(f"a factorisation needs at least 1 component, not {components}")
    xp = array_namespace(activations)
    channels = rectify(at_least_single(flat(activations)))  # (N, K, n)
    cells = xp.matrix_transpose(channels)
    maps, concepts = _start(channels, components, seed)
    for step in (_multiplied, _improved):
        for _ in range(steps):
            concepts = step(concepts, maps, cells)
            maps = step(maps, concepts, channels)
    length = xp.linalg.vector_norm(concepts, axis=2, keepdims=True)
    maps, concepts = maps * length, ratio(concepts, length)
    order = xp.argsort(xp.sum(maps, axis=2, keepdims=True), axis=1, descending=True)
    maps, concepts = (xp.take_along_axis(factor, order, axis=1) for factor in (maps, concepts))
    maps, concepts = (xp.astype(factor, activations.dtype) for factor in (maps, concepts))
    return xp.reshape(maps, (*maps.shape[:2], *activations.shape[2:])), concepts


def contributions(maps: Array, concepts: Array, gradients: Array) -> Array:
    """How much each component adds to a score, to first order: `<G, P_r Q_r>`.

    Args:
        maps: `P (N, r, h, w)`.
        concepts: `Q (N, r, K)`.
        gradients: `G = dS/dA (N, K, h, w)`, of the class or other score in question.

    Returns:
        `(N, r)`, in units of the score. For a class score from pooling and a linear head the sum over `r` is the score
        of the factorised activations less the bias.
    """
    xp = array_namespace(maps, concepts, gradients)
    return xp.sum(flat(maps) * xp.matmul(concepts, flat(gradients)), axis=-1)


def concept_scores(concepts: Array, weights: Array, bias: Array | None = None) -> Array:
    """The class scores that a linear head gives to each concept alone: `Q W^T + b`, which classes it speaks for.

    Args:
        concepts: `Q (N, r, K)`.
        weights: of the head, `W (classes, K)`.
        bias: of the head, `b (classes,)`.

    Returns:
        `(N, r, classes)`.
    """
    xp = array_namespace(concepts, weights)
    scores = xp.matmul(concepts, xp.matrix_transpose(weights))
    return scores if bias is None else scores + bias


def _start(channels: Array, components: int, seed: int) -> tuple[Array, Array]:
    """Noise `(N, r, n)` and `(N, r, K)` whose product has about the mean of the activations `(N, K, n)`."""
    xp = array_namespace(channels)
    _, width, cells = channels.shape
    generator = np.random.default_rng(seed)
    scale = xp.sqrt(xp.mean(channels, axis=(1, 2), keepdims=True) * (4 / components))
    noise = (generator.random((components, length)) for length in (cells, width))
    maps, concepts = (scale * xp.asarray(n, dtype=channels.dtype, device=channels.device) for n in noise)
    return maps, concepts


def _multiplied(factor: Array, other: Array, array: Array) -> Array:
    """One factor of `array (N, b, a) ~ other^T factor`, `(N, r, b)` and `(N, r, a)`, by one multiplicative update."""
    xp = array_namespace(factor, other, array)
    gram = xp.matmul(other, xp.matrix_transpose(other))
    return factor * ratio(xp.matmul(other, array), xp.matmul(gram, factor))


def _improved(factor: Array, other: Array, array: Array) -> Array:
    """The same by least squares, row after row."""
    xp = array_namespace(factor, other, array)
    gram = xp.matmul(other, xp.matrix_transpose(other))
    squares = xp.linalg.diagonal(gram)[:, :, None]
    wanted, gram = ratio(xp.matmul(other, array), squares), ratio(gram, squares)
    rows = [factor[:, r, :] for r in range(factor.shape[1])]
    for r in range(len(rows)):
        present = xp.matmul(gram[:, r : r + 1, :], xp.stack(rows, axis=1))[:, 0, :]
        rows[r] = rectify(rows[r] + wanted[:, r, :] - present)
    return xp.stack(rows, axis=1)
