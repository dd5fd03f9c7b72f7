"""The weights of the gradient methods and of EigenCAM, right and wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from camzoo.conformance.hypotheses.batch import Batch
from camzoo.conformance.hypotheses.endings import EPSILONS
from camzoo.oracles.grids import Floats

Weights = Callable[[Batch], Floats]
"""From the evidence to weights `(N, K)`, or `(N, K, h, w)` where each cell has its own."""

Wrong = tuple[str, Weights]
"""What is said of wrong weights, and they themselves."""


def ratio(above: Floats, below: Floats) -> Floats:
    """`above / below` with 0/0 = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where((above == 0) & (below == 0), 0.0, np.divide(above, below)))


def total(values: Floats) -> Floats:
    """`sum_ij` of `(N, K, h, w)`, with axes of length one in the place of the grid."""
    return np.asarray(values.sum(tuple(range(2, values.ndim)), keepdims=True))


# ---- Grad-CAM


def gradcam(batch: Batch) -> Floats:
    """`mean_ij G_k`."""
    return np.asarray(batch.G.mean(batch.cells))


def _pooled(b: Batch, axis: int) -> Floats:
    return np.broadcast_to(b.G.mean(axis, keepdims=True), b.G.shape)


GRADCAM: tuple[Wrong, ...] = (
    ("sums of the gradient over the cells, not means", lambda b: b.G.sum(b.cells)),
    ("the largest gradient of each channel, not the mean", lambda b: b.G.max(b.cells)),
    ("medians over the cells, not means", lambda b: np.median(b.G, b.cells)),
    ("means over the channels, not over the cells: the wrong axis", lambda b: _pooled(b, 1)),
    ("means over the rows alone", lambda b: _pooled(b, -2)),
    ("means over the columns alone", lambda b: _pooled(b, -1)),
    ("the root mean squares of the gradient", lambda b: np.sqrt((b.G**2).mean(b.cells))),
    (
        "means over the positive gradients alone",
        lambda b: ratio((b.G * (b.G > 0)).sum(b.cells), (b.G > 0).sum(b.cells)),
    ),
)


# ---- Grad-CAM++


def gradcam_plus_plus(batch: Batch) -> Floats:
    """`sum_ij alpha relu(G)`, `alpha = G^2 / (2 G^2 + (sum_ij A) G^3)`."""
    return _of_alpha(batch, _alpha(batch.G, total(batch.A)))


def _alpha(G: Floats, a: Floats, two: float = 2.0, epsilon: float = 0.0) -> Floats:
    return ratio(G**2, two * G**2 + a * G**3 + epsilon)


def _of_alpha(b: Batch, alpha: Floats) -> Floats:
    return np.asarray(np.where(b.G > 0, alpha * b.G, 0.0).sum(b.cells))


def _normalised_alpha(b: Batch) -> Floats:
    alpha = np.where(b.G > 0, _alpha(b.G, total(b.A)), 0.0)
    return _of_alpha(b, ratio(alpha, total(alpha)))


def _raised(b: Batch) -> Floats:
    explained = np.array([b.y[n, c] for n, c in enumerate(b.c)])
    return np.asarray(np.exp(explained)[:, None] * gradcam_plus_plus(b))


def _padded(epsilon: float) -> Wrong:
    reason = f"those of alphas with {epsilon:g} added to the denominator"
    return reason, lambda b: _of_alpha(b, _alpha(b.G, total(b.A), epsilon=epsilon))


PLUS_PLUS: tuple[Wrong, ...] = (
    ("sum_ij alpha G: the gradient is not rectified", lambda b: (_alpha(b.G, total(b.A)) * b.G).sum(b.cells)),
    ("sum_ij alpha |G|", lambda b: (_alpha(b.G, total(b.A)) * np.abs(b.G)).sum(b.cells)),
    ("sum_ij alpha: they are not multiplied by the gradient", lambda b: _alpha(b.G, total(b.A)).sum(b.cells)),
    ("those of alpha = G^2: it is not divided", lambda b: _of_alpha(b, b.G**2)),
    ("those of alpha = G^2 / (G^2 + ...): the 2 is missing", lambda b: _of_alpha(b, _alpha(b.G, total(b.A), 1.0))),
    (
        "those of alphas whose denominator has sum_ij A G^3, not (sum_ij A) G^3",
        lambda b: _of_alpha(b, ratio(b.G**2, 2 * b.G**2 + total(b.A * b.G**3))),
    ),
    ("those of alphas whose denominator has A, not its sum over the cells", lambda b: _of_alpha(b, _alpha(b.G, b.A))),
    (
        "those of alphas whose denominator has the mean of A, not its sum",
        lambda b: _of_alpha(b, _alpha(b.G, b.A.mean(b.cells, keepdims=True))),
    ),
    (
        "those of alphas whose denominator sums A over the channels too",
        lambda b: _of_alpha(b, _alpha(b.G, total(b.A).sum(1, keepdims=True))),
    ),
    (
        "those of alphas whose denominator sums A over the batch too",
        lambda b: _of_alpha(b, _alpha(b.G, total(b.A).sum(0, keepdims=True))),
    ),
    (
        "those of alphas whose denominator has G^2, not G^3",
        lambda b: _of_alpha(b, ratio(b.G**2, 2 * b.G**2 + total(b.A) * b.G**2)),
    ),
    ("means of alpha relu(G) over the cells, not sums", lambda b: gradcam_plus_plus(b) / np.prod(b.A.shape[2:])),
    ("those of alphas divided by their sum over the positive gradients", _normalised_alpha),
    ("multiplied by exp(S), a factor of its own for each image", _raised),
    *map(_padded, EPSILONS),
)


# ---- XGrad-CAM


def xgradcam(batch: Batch) -> Floats:
    """`sum_ij G A / sum_ij A`."""
    return ratio((batch.G * batch.A).sum(batch.cells), batch.A.sum(batch.cells))


def _over(b: Batch, below: Floats) -> Floats:
    return ratio((b.G * b.A).sum(b.cells), below)


def _softened(epsilon: float) -> Wrong:
    return (
        f"those with {epsilon:g} added to the sum of A",
        lambda b: _over(b, b.A.sum(b.cells) + epsilon),
    )


XGRADCAM: tuple[Wrong, ...] = (
    ("sum_ij G A: they are not divided by the sum of A", lambda b: (b.G * b.A).sum(b.cells)),
    ("mean_ij G A: they are not divided by the sum of A", lambda b: (b.G * b.A).mean(b.cells)),
    ("divided by the mean of A, not its sum", lambda b: _over(b, b.A.mean(b.cells))),
    ("divided by the sum of |A|", lambda b: _over(b, np.abs(b.A).sum(b.cells))),
    ("divided by the largest A", lambda b: _over(b, b.A.max(b.cells))),
    ("divided by the sum of A over all channels", lambda b: _over(b, b.A.sum((1, *b.cells))[:, None])),
    ("divided by the sum of A over the batch", lambda b: _over(b, b.A.sum((0, *b.cells))[None])),
    ("divided by the sum of G", lambda b: _over(b, b.G.sum(b.cells))),
    ("those of the rectified product", lambda b: ratio(np.maximum(b.G * b.A, 0).sum(b.cells), b.A.sum(b.cells))),
    *map(_softened, EPSILONS),
)


# ---- LayerCAM and HiResCAM


def layercam(batch: Batch) -> Floats:
    """`relu(G)`, each cell its own."""
    return np.maximum(batch.G, 0)


def hirescam(batch: Batch) -> Floats:
    """`G`, each cell its own."""
    return batch.G


LAYERCAM: tuple[Wrong, ...] = (
    ("the gradients themselves: they are not rectified", hirescam),
    ("the rectified mean gradients, one for each channel", lambda b: np.maximum(gradcam(b), 0)),
    ("the means of the rectified gradients, one for each channel", lambda b: layercam(b).mean(b.cells)),
    ("the sums of the rectified gradients, one for each channel", lambda b: layercam(b).sum(b.cells)),
    ("one wherever the gradient is positive", lambda b: np.where(b.G > 0, 1.0, 0.0)),
)


# ---- EigenCAM


def rows(A: Floats) -> Floats:
    """`X (n, K)`: one row for each cell of one image's `A (K, h, w)`."""
    return np.asarray(A.reshape(len(A), -1).T)


def signed(X: Floats, w: Floats, A: Floats) -> Floats:
    """`w` or `-w`: the one with which `X w` correlates with the energy `sum_k A_k^2`."""
    energy = (rows(A) ** 2).sum(1)
    return np.asarray(w * (-1.0 if (X @ w) @ (energy - energy.mean()) < 0 else 1.0))


def eigencam(batch: Batch) -> Floats:
    """The first right singular vector of each image's `X (n, K)`."""
    return _vectors(batch, lambda X: X)


def _vectors(b: Batch, prepare: Callable[[Floats], Floats], which: int = 0) -> Floats:
    """Singular vectors of the matrices as they are prepared."""
    found = []
    for A in b.A:
        _, _, V = np.linalg.svd(prepare(rows(A)), full_matrices=False)
        found.append(signed(rows(A), V[which], A))
    return np.array(found)


def _unit(b: Batch) -> Floats:
    """So that the map is the left singular vector itself."""
    sigma = np.array([np.linalg.svd(rows(A), compute_uv=False)[0] for A in b.A])
    return np.asarray(eigencam(b) / sigma[:, None])


def _scaled(b: Batch) -> Floats:
    sigma = np.array([np.linalg.svd(rows(A), compute_uv=False)[0] for A in b.A])
    return np.asarray(eigencam(b) * sigma[:, None])


def _shared(b: Batch) -> Floats:
    """One vector for the whole batch."""
    _, _, V = np.linalg.svd(np.concatenate([rows(A) for A in b.A]), full_matrices=False)
    return np.array([signed(rows(A), V[0], A) for A in b.A])


def centred(X: Floats) -> Floats:
    """The columns less their mean."""
    return np.asarray(X - X.mean(0))


EIGENCAM: tuple[Wrong, ...] = (
    ("the second singular vector, not the first", lambda b: _vectors(b, lambda X: X, 1)),
    ("the last singular vector, not the first", lambda b: _vectors(b, lambda X: X, -1)),
    ("the first singular vector of the centred matrix", lambda b: _vectors(b, centred)),
    ("the first singular vector of the whole batch's matrix", _shared),
    ("divided by the singular value: the map is the left singular vector", _unit),
    ("multiplied by the singular value", _scaled),
    ("one for every channel", lambda b: np.ones(b.A.shape[:2])),
    ("the means of the activations", lambda b: b.A.mean(b.cells)),
)


def _projected(prepare: Callable[[Floats], Floats]) -> Weights:
    """RAW maps, not weights: the prepared matrix is projected on its own singular vector."""

    def raw(b: Batch) -> Floats:
        maps = []
        for A in b.A:
            X = prepare(rows(A))
            _, _, V = np.linalg.svd(X, full_matrices=False)
            maps.append((X @ signed(X, V[0], A)).reshape(A.shape[1:]))
        return np.array(maps)

    return raw


def _projected_together(b: Batch) -> Floats:
    """The same, with the matrices of the whole batch centred together."""
    matrices = [rows(A) for A in b.A]
    mean = np.concatenate(matrices).mean(0)
    _, _, V = np.linalg.svd(np.concatenate(matrices) - mean, full_matrices=False)
    maps = [(X - mean) @ signed(X - mean, V[0], A) for X, A in zip(matrices, b.A, strict=True)]
    return np.array(maps).reshape(len(b.A), *b.A.shape[2:])


PROJECTIONS: tuple[Wrong, ...] = (
    ("the matrix is centred, channel by channel, before its singular vector is taken", _projected(centred)),
    (
        "the matrix is centred along the wrong axis, cell by cell, before its singular vector is taken",
        _projected(lambda X: X - X.mean(1, keepdims=True)),
    ),
    (
        "the channels are scaled to mean 0 and deviation 1 before the singular vector is taken",
        _projected(lambda X: ratio(centred(X), X.std(0))),
    ),
    ("the matrix is centred by its mean over cells and channels", _projected(lambda X: X - X.mean())),
    ("the matrix of the whole batch is centred, and its singular vector is shared", _projected_together),
)
"""What is centred is projected as well, so these are RAW maps of their own; they part at the weights."""


# ---- every method


def _softmax(w: Floats, axis: int) -> Floats:
    odds = np.exp(w - w.max(axis, keepdims=True))
    return np.asarray(odds / odds.sum(axis, keepdims=True))


def _shared_by_batch(w: Floats) -> Floats:
    return np.broadcast_to(w.mean(0, keepdims=True), w.shape)


CHANGED: tuple[tuple[str, Callable[[Floats], Floats]], ...] = (
    ("means over the whole batch", _shared_by_batch),
    ("sums over the whole batch", lambda w: np.broadcast_to(w.sum(0, keepdims=True), w.shape)),
    ("those of the first image for every image", lambda w: np.broadcast_to(w[:1], w.shape)),
    ("rectified", lambda w: np.maximum(w, 0)),
    ("taken by their absolute value", np.abs),
    ("squared", np.square),
    ("put through a softmax over the channels", lambda w: _softmax(w, 1)),
    ("put through a softmax over the batch: the wrong axis", lambda w: _softmax(w, 0)),
    ("divided by their sum over the channels", lambda w: ratio(w, w.sum(1, keepdims=True))),
    ("divided by the sum of their absolute values", lambda w: ratio(w, np.abs(w).sum(1, keepdims=True))),
    ("divided by their length", lambda w: ratio(w, np.sqrt((w**2).sum(1, keepdims=True)))),
    ("divided by the largest of them", lambda w: ratio(w, w.max(1, keepdims=True))),
    ("divided by the number of channels", lambda w: w / w.shape[1]),
    ("those of the channels in the opposite order", lambda w: w[:, ::-1]),
)
"""Changes of the right weights, of whatever method."""
