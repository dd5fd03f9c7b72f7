"""Attributions from gradients along a path, from noise, and from the scores of images with some patches hidden.

`x (C, H, W)` is the image, `b` a baseline of its shape, `S` the score. Where a map is wanted, `(H, W)`, channels are
added up unless it is said otherwise. `patches (H, W)` holds the number of each pixel's patch, from 0; a coalition is
a tuple of M zeros and ones, one for each patch, and `value` gives the score when the patches at zero are hidden.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from camzoo.oracles.grids import Floats

Score = Callable[[Floats], float]
Slope = Callable[[Floats], Floats]
Coalition = tuple[int, ...]
Value = Callable[[Coalition], float]
Patches = NDArray[np.int64]


def summed(values: Floats) -> Floats:
    """`(C, H, W)` to `(H, W)`: the sum over channels."""
    return sum((one for one in values), np.zeros(values.shape[1:]))


def largest(values: Floats) -> Floats:
    """`(C, H, W)` to `(H, W)`: the largest absolute value of the channels."""
    result = np.zeros(values.shape[1:])
    for cell in np.ndindex(result.shape):
        result[cell] = max(abs(float(one[cell])) for one in values)
    return result


# ---- along a path


def gauss_legendre(n: int) -> tuple[Floats, Floats]:
    """Nodes and weights `(n,)` on 0..1, ascending, exact for polynomials of degree 2n - 1.

    The nodes are the zeros of the Legendre polynomial P_n, found by Newton's method; `w = 2 / ((1 - t^2) P_n'(t)^2)`
    on -1..1.
    """
    nodes, weights = np.zeros(n), np.zeros(n)
    for i in range(n):
        t = math.cos(math.pi * (i + 0.75) / (n + 0.5))
        for _ in range(100):
            value, slope = legendre(n, t)
            t -= value / slope
            if abs(value / slope) < 1e-15:
                break
        _, slope = legendre(n, t)
        nodes[n - 1 - i], weights[n - 1 - i] = (1 + t) / 2, 1 / ((1 - t**2) * slope**2)
    return nodes, weights


def legendre(n: int, t: float) -> tuple[float, float]:
    """`P_n(t)` and `P_n'(t)` by the recurrence `k P_k = (2k - 1) t P_{k-1} - (k - 1) P_{k-2}`."""
    before, now = 1.0, t
    for k in range(2, n + 1):
        before, now = now, ((2 * k - 1) * t * now - (k - 1) * before) / k
    return now, n * (before - t * now) / (1 - t**2)


Rule = tuple[Floats, Floats]
"""Nodes on 0..1 and their weights."""


def integrated_gradients(x: Floats, b: Floats, slope: Slope, rule: Rule) -> Floats:
    """`(x - b) * int_0^1 dS/dx(b + t (x - b)) dt`: Sundararajan 2017, 1703.01365, eq. 1; shape of x, not summed."""
    total = sum((w * slope(b + t * (x - b)) for t, w in zip(*rule, strict=True)), np.zeros_like(x))
    return np.asarray((x - b) * total)


def internal_influence(x: Floats, b: Floats, layer_slope: Slope, rule: Rule) -> Floats:
    """`int_0^1 dS/dA(b + t (x - b)) dt`: Leino 2018, 1802.03788, the images on the line from b to x alike."""
    parts = [w * layer_slope(b + t * (x - b)) for t, w in zip(*rule, strict=True)]
    return np.asarray(sum(parts[1:], start=parts[0]))


def conductance(x: Floats, b: Floats, layer_slope: Slope, layer_speed: Slope, rule: Rule) -> Floats:
    """`sum_i (x_i - b_i) int dS/dA dA/dx_i dt`: Dhamdhere 2018, 1805.12233; of each unit of the layer.

    Args:
        x: the image.
        b: the baseline.
        layer_slope: `dS/dA` at an image.
        layer_speed: `sum_i (x_i - b_i) dA/dx_i` at an image: how fast A changes along the path.
        rule: nodes and weights.
    """
    places = [b + t * (x - b) for t in rule[0]]
    parts = [w * layer_slope(place) * layer_speed(place) for place, w in zip(places, rule[1], strict=True)]
    return np.asarray(sum(parts[1:], start=parts[0]))


def expected_gradients(pairs: Iterable[tuple[Floats, Floats]]) -> Floats:
    """`E (x - b) * dS/dx(b + t (x - b))` over baselines b and t uniform: Erion 2021, 1906.10670.

    Args:
        pairs: for each draw `x - b` and the slope.
    """
    return mean([difference * slope for difference, slope in pairs])


def mean(terms: Sequence[Floats]) -> Floats:
    """The mean of arrays of one shape."""
    return np.asarray(sum(terms[1:], start=terms[0]) / len(terms))


# ---- under noise


def smoothgrad(slopes: Sequence[Floats]) -> Floats:
    """The mean of the gradients of noisy images: Smilkov 2017, 1706.03825."""
    return mean(slopes)


def smoothgrad_squared(slopes: Sequence[Floats]) -> Floats:
    """The mean of their squares: Hooker 2019, 1806.10758."""
    return mean([one**2 for one in slopes])


def vargrad(slopes: Sequence[Floats]) -> Floats:
    """Their variance, over n: Adebayo 2018, 1810.03292."""
    centre = mean(slopes)
    return mean([(one - centre) ** 2 for one in slopes])


# ---- patches


def regular_patches(size: tuple[int, ...], cells: int) -> Patches:
    """A grid of at most `cells` patches along each axis, numbered row by row."""
    counts = [min(cells, length) for length in size]
    numbers = np.zeros(size, dtype=np.int64)
    for place in np.ndindex(size):
        for at, count, length in zip(place, counts, size, strict=True):
            numbers[place] = numbers[place] * count + at * count // length
    return numbers


def hidden(x: Floats, b: Floats, patches: Patches, kept: Coalition) -> Floats:
    """The image with the baseline in the place of the patches at zero."""
    result = x.copy()
    for place in np.ndindex(patches.shape):
        if not kept[patches[place]]:
            result[(slice(None), *place)] = b[(slice(None), *place)]
    return result


def painted(phi: Floats, patches: Patches) -> Floats:
    """Every pixel with the number of its patch."""
    result = np.zeros(patches.shape)
    for place in np.ndindex(patches.shape):
        result[place] = phi[patches[place]]
    return result


def ablation(value: Value, count: int) -> Floats:
    """`v(all) - v(all but i)` for each of `count` patches: Zeiler and Fergus 2014, 1311.2901."""
    whole = value((1,) * count)
    return np.array([whole - value(tuple(int(j != i) for j in range(count))) for i in range(count)])


def shapley(value: Value, count: int) -> Floats:
    """`phi_i = sum_S |S|! (M - |S| - 1)! / M! [v(S + i) - v(S)]`: Shapley 1953; exact."""
    phi = np.zeros(count)
    for kept in itertools.product((0, 1), repeat=count):
        weight = math.factorial(sum(kept)) * math.factorial(max(count - sum(kept) - 1, 0)) / math.factorial(count)
        for i in range(count):
            if not kept[i]:
                phi[i] += weight * (value((*kept[:i], 1, *kept[i + 1 :])) - value(kept))
    return phi


def shapley_sampling(value: Value, orders: Sequence[Sequence[int]]) -> Floats:
    """The mean, over orders in which the patches come back, of what each adds: Castro 2009, Comput. Oper. Res. 36."""
    phi = np.zeros(len(orders[0]))
    for order in orders:
        kept = [0] * len(order)
        before = value(tuple(kept))
        for i in order:
            kept[i] = 1
            after = value(tuple(kept))
            phi[i] += after - before
            before = after
    return phi / len(orders)


def shapley_kernel(kept: Coalition) -> float:
    """`(M - 1) / (C(M, k) k (M - k))` of a coalition of k: Lundberg 2017, 1705.07874, theorem 2.

    Infinite for none and for all.
    """
    count, k = len(kept), sum(kept)
    return math.inf if k in (0, count) else (count - 1) / (math.comb(count, k) * k * (count - k))


def kernelshap(value: Value, coalitions: Sequence[Coalition], weights: Sequence[float]) -> Floats:
    """`min sum_z w_z (v(z) - v(0) - sum_i phi_i z_i)^2` with `sum_i phi_i = v(1) - v(0)`: Lundberg 2017.

    The kernel's two infinite weights are the constraint. With all coalitions and the Shapley kernel for weights this
    gives the Shapley values; coalitions drawn from that kernel all weigh the same.

    Args:
        value: the score of a coalition.
        coalitions: those looked at; none or all of the patches have no part in the sum.
        weights: one for each.
    """
    count = len(coalitions[0])
    empty, total = value((0,) * count), value((1,) * count) - value((0,) * count)
    gram, right = np.zeros((count, count)), np.zeros(count)
    for kept, weight in zip(coalitions, weights, strict=True):
        if 0 < sum(kept) < count:
            z = np.array(kept, dtype=np.float64)
            gram += weight * np.outer(z, z)
            right += weight * (value(kept) - empty) * z
    # Lagrange: gram phi + multiplier = right, sum phi = total.
    system = np.block([[gram, np.ones((count, 1))], [np.ones((1, count)), np.zeros((1, 1))]])
    return np.asarray(np.linalg.solve(system, np.append(right, total))[:count])


def cosine_kernel(x: Floats, other: Floats, width: float = 1.0) -> float:
    """`exp(-D^2 / (2 width^2))` with the cosine distance `D = 1 - <x, other> / (|x| |other|)`."""
    norms = math.sqrt(float((x**2).sum())) * math.sqrt(float((other**2).sum()))
    distance = 1 - (float((x * other).sum()) / norms if norms else 0.0)
    return math.exp(-(distance**2) / (2 * width**2))


def lime(
    values: Sequence[float], coalitions: Sequence[Coalition], weights: Sequence[float], alpha: float = 0.01
) -> Floats:
    """`min sum_z w_z (v(z) - a - sum_i phi_i z_i)^2 / (2 sum_z w_z) + alpha |phi|_1`: Ribeiro 2016, 1602.04938.

    A lasso with an intercept a that is not penalised; one coefficient after another is set to the best, all others
    held fixed, until none changes.
    """
    w = np.array(weights) / sum(weights)
    Z, v = np.array(coalitions, dtype=np.float64), np.array(values)
    Z, v = Z - w @ Z, v - w @ v
    phi = np.zeros(Z.shape[1])
    for _ in range(10_000):
        before = phi.copy()
        for i in range(len(phi)):
            square = float((w * Z[:, i] ** 2).sum())
            pull = float((w * Z[:, i] * (v - Z @ phi + Z[:, i] * phi[i])).sum())
            phi[i] = math.copysign(max(abs(pull) - alpha, 0.0), pull) / square if square else 0.0
        if np.abs(phi - before).max() <= 1e-15 * np.abs(phi).max():
            break
    return phi
