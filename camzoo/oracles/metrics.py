"""Faithfulness of a map, one image at a time: what the model says of the image once the map has had its way with it.

`x (C, H, W)` is an image as the model takes it, `M (H, W)` a map in 0..1 on its pixels, and `score` the model: from an
image to the probability of the class that was predicted for the whole image. Pixels are changed in the order of the
list `order`, most important first; where the map has ties, that list decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from camzoo.oracles.grids import Floats

Score = Callable[[Floats], float]
Order = Sequence[tuple[int, int]]

NEIGHBOURS = {
    (-1, -1): 1 / 12,
    (-1, 0): 1 / 6,
    (-1, 1): 1 / 12,
    (0, -1): 1 / 6,
    (0, 1): 1 / 6,
    (1, -1): 1 / 12,
    (1, 0): 1 / 6,
    (1, 1): 1 / 12,
}
"""How much a pixel resembles each of its eight neighbours: Rong et al. 2022, section 4.2."""


# ---- one masked image


def seen_through(x: Floats, M: Floats) -> Floats:
    """The explanation map `E = M * x`, each colour alike."""
    result = np.empty(x.shape)
    for c, i, j in np.ndindex(x.shape):
        result[c, i, j] = M[i, j] * x[c, i, j]
    return result


def average_drop(score: Score, x: Floats, M: Floats) -> float:
    """`max(0, Y - O) / Y`, one term of Chattopadhay 2018, 1710.11063, section 5.1 (i)."""
    Y, O = score(x), score(seen_through(x, M))  # noqa: E741
    return max(0.0, Y - O) / Y


def increase(score: Score, x: Floats, M: Floats) -> float:
    """`1` if `Y < O`, else `0`: one term of Chattopadhay 2018, section 5.1 (ii)."""
    return 1.0 if score(x) < score(seen_through(x, M)) else 0.0


def average_gain(score: Score, x: Floats, M: Floats) -> float:
    """`max(0, O - Y) / (1 - Y)`, one term of Zhang 2023, Opti-CAM, 2301.07002, equation for AG."""
    Y, O = score(x), score(seen_through(x, M))  # noqa: E741
    return max(0.0, O - Y) / (1.0 - Y)


# ---- insertion and deletion


def rise_kernel(length: int = 11, sigma: float = 5.0) -> Floats:
    """A Gaussian of a point in the middle of a square, cut at four sigma and folded back at the square's edge.

    This is what the RISE authors blur with: SciPy's filter, run on a picture of 11 x 11 pixels, so that what would
    fall outside comes back mirrored, and the weights are far flatter than a Gaussian's.
    """
    radius = int(4 * sigma + 0.5)
    bell = [math.exp(-(t**2) / (2 * sigma**2)) for t in range(-radius, radius + 1)]
    line = np.zeros(length)
    for t, weight in zip(range(-radius, radius + 1), bell, strict=True):
        place = length // 2 + t
        while not 0 <= place < length:  # ... c b a | a b c ... | ... c b a
            place = -1 - place if place < 0 else 2 * length - 1 - place
        line[place] += weight / sum(bell)
    return np.outer(line, line)


def blurred(x: Floats, kernel: Floats) -> Floats:
    """Each colour under the kernel, with zeros beyond the border."""
    C, H, W = x.shape
    half = len(kernel) // 2
    result = np.zeros(x.shape)
    for c, i, j in np.ndindex(C, H, W):
        for a, b in np.ndindex(kernel.shape):
            u, v = i + a - half, j + b - half
            if 0 <= u < H and 0 <= v < W:
                result[c, i, j] += kernel[a, b] * x[c, u, v]
    return result


def mean_colour(x: Floats) -> Floats:
    """Each colour's mean, everywhere."""
    result = np.empty(x.shape)
    for c in range(len(x)):
        result[c] = sum(x[c].ravel()) / x[c].size
    return result


def curve(score: Score, start: Floats, finish: Floats, order: Order, step: int) -> list[float]:
    """RISE's game: score, replace the next `step` pixels of `start` by those of `finish`, score, ... to the end.

    Petsiuk 2018, 1806.07421, algorithms 1 and 2 of the supplement, as one: deletion goes from the image to nothing,
    insertion from its blurred copy to the image.
    """
    picture = start.copy()
    scores = [score(picture)]
    for done in range(0, len(order), step):
        for i, j in order[done : done + step]:
            picture[:, i, j] = finish[:, i, j]
        scores.append(score(picture))
    return scores


def authors_area(scores: Sequence[float]) -> float:
    """The authors' area under a curve: every step counts alike, also a last one with fewer pixels."""
    return (sum(scores) - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1)


def area(scores: Sequence[float], pixels: int, step: int) -> float:
    """The area under a curve over the share of pixels that was replaced, by trapezoids."""
    places, total = [*range(0, pixels, step), pixels], 0.0
    for k in range(len(places) - 1):
        total += (places[k + 1] - places[k]) / pixels * (scores[k] + scores[k + 1]) / 2
    return total


# ---- ROAD


def imputed(x: Floats, removed: set[tuple[int, int]]) -> Floats:
    """Every removed pixel is the weighted mean of its neighbours, removed ones among them: one linear system.

    `sum_n w_n (x_p - x_n) = 0` over the neighbours `n` of `p` that lie in the image: Rong 2022, 2202.00449, section
    4.2, without the noise.
    """
    C, H, W = x.shape
    unknown = sorted(removed)
    number = {pixel: k for k, pixel in enumerate(unknown)}
    A, b = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), C))
    for (i, j), k in number.items():
        for (di, dj), weight in NEIGHBOURS.items():
            u, v = i + di, j + dj
            if not (0 <= u < H and 0 <= v < W):
                continue
            A[k, k] += weight
            if (u, v) in number:
                A[k, number[u, v]] -= weight
            else:
                b[k] += weight * x[:, u, v]
    result = x.copy()
    for (i, j), colours in zip(unknown, np.linalg.solve(A, b), strict=True):
        result[:, i, j] = colours
    return result


def road(score: Score, x: Floats, order: Order, shares: Sequence[float]) -> float:
    """Half of how much more the model says when the least important pixels are gone than the most important ones."""
    total = 0.0
    for share in shares:
        gone = int(share * len(order) + 1e-9)
        most, least = set(order[:gone]), set(order[len(order) - gone :])
        total += (score(imputed(x, least)) - score(imputed(x, most))) / 2
    return total / len(shares)


# ---- composed


def pearson(one: Floats, other: Floats) -> float:
    """Pearson's correlation of two maps."""
    a, b = one.ravel(), other.ravel()
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    both = sum((p - mean_a) * (q - mean_b) for p, q in zip(a, b, strict=True))
    return float(both / math.sqrt(sum((p - mean_a) ** 2 for p in a) * sum((q - mean_b) ** 2 for q in b)))


def coherency(explain: Callable[[Floats], Floats], x: Floats, M: Floats) -> float:
    """`(1 + r(M, M(E))) / 2`: the map of what the map shows. Poppi 2021, 2104.10252, equation 2, brought to 0..1."""
    return (1 + pearson(M, explain(seen_through(x, M)))) / 2


def complexity(M: Floats) -> float:
    """`||M||_1` a pixel: Poppi 2021, equation 3."""
    return float(sum(abs(cell) for cell in M.ravel()) / M.size)


def entropy(M: Floats) -> float:
    """`-sum p ln p` of each pixel's share in the map: Bhatt 2020, 2005.00631, definition 5."""
    shares = [cell / sum(M.ravel()) for cell in M.ravel()]
    return -sum(p * math.log(p) for p in shares if p > 0)


def harmonic_mean(parts: Sequence[float]) -> float:
    """`n / sum 1/part`; nothing where a part is nothing."""
    return 0.0 if min(parts) == 0 else len(parts) / sum(1 / part for part in parts)


def adcc(coherency: float, complexity: float, drop: float) -> float:
    """Poppi 2021, equation 5."""
    return harmonic_mean([coherency, 1 - complexity, 1 - drop])


def arcc(coherency: float, complexity: float, road: float) -> float:
    """ADCC with ROAD, doubled and cut to 0..1, in place of the drop: 2605.14641."""
    return harmonic_mean([coherency, 1 - complexity, min(max(2 * road, 0.0), 1.0)])
