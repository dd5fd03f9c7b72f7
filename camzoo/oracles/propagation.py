"""Rules that hand a score back through a chain of layers: DeepLIFT, LRP and deconvolution, run and undone by hand.

A chain is a list of layers, each with the value before it as `z`; for a grid that is `(K, h, w)`, for a vector `(K,)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from camzoo.oracles.grids import Floats

Pair = tuple[int, int]


class Conv(NamedTuple):
    """`weight (out, in, kh, kw)`, `bias (out,)`; zeros around the grid."""

    weight: Floats
    bias: Floats
    stride: Pair
    padding: Pair


class Scale(NamedTuple):
    """`factor_k z_k + shift_k`: batch normalisation once its statistics are fixed."""

    factor: Floats
    shift: Floats


class Linear(NamedTuple):
    """`weight (out, in)`, `bias (out,)`, of the values in row-major order."""

    weight: Floats
    bias: Floats


class Mean(NamedTuple):
    """Average of each channel: `(K, h, w)` to `(K, 1, 1)`."""


class Relu(NamedTuple):
    """`max(z, 0)`."""


class Softplus(NamedTuple):
    """`log(1 + exp(z))`, and z itself above 20, as PyTorch has it."""


class MaxPool(NamedTuple):
    """Largest value of each window; nothing around the grid is larger than anything on it."""

    size: Pair
    stride: Pair
    padding: Pair


Affine = Conv | Scale | Linear | Mean
Pointwise = Relu | Softplus
Layer = Affine | Pointwise | MaxPool
Places = list[tuple[tuple[int, ...], tuple[int, ...]]]


# ---- forwards


def apply(layer: Layer, z: Floats) -> Floats:
    """One layer forwards."""
    match layer:
        case Conv(weight, bias, _, _):
            out = np.zeros((len(weight), *_grid(layer, z.shape))) + bias[:, None, None]
            for tap, seen, there in _taps(layer, z.shape):
                for o, i in np.ndindex(weight.shape[:2]):
                    out[(o, *there)] += weight[(o, i, *tap)] * z[(i, *seen)]
            return out
        case Scale(factor, shift):
            return np.array([a * one + b for a, b, one in zip(factor, shift, z, strict=True)])
        case Linear(weight, bias):
            return np.array([(row * z.ravel()).sum() for row in weight]) + bias
        case Mean():
            return np.array([[[one.sum() / one.size]] for one in z])
        case Relu():
            return np.where(z > 0, z, 0.0)
        case Softplus():
            return np.where(z > 20, z, np.logaddexp(z, 0.0))
        case MaxPool():
            out = np.empty((len(z), *(_length(*axis) for axis in zip(z.shape[1:], *layer, strict=True))))
            for cell, winner in winners(layer, z):
                out[cell] = z[winner]
            return out


def forward(chain: Sequence[Layer], x: Floats) -> list[Floats]:
    """The input of every layer in turn, and last the scores."""
    values = [x]
    for layer in chain:
        values.append(apply(layer, values[-1]))
    return values


def winners(layer: MaxPool, z: Floats) -> Places:
    """For each cell of a max pooling's output `(k, y, x)`, the cell of its input that is taken: the first largest."""
    spans = [_spans(*axis) for axis in zip(z.shape[1:], *layer, strict=True)]
    found: Places = []
    for k, y, x in np.ndindex(len(z), len(spans[0]), len(spans[1])):
        rows, columns = spans[0][y], spans[1][x]
        window = z[k, rows.start : rows.stop, columns.start : columns.stop]
        row, column = divmod(int(window.argmax()), window.shape[1])
        found.append(((k, y, x), (k, rows.start + row, columns.start + column)))
    return found


# ---- backwards


def transposed(layer: Affine, z: Floats, g: Floats) -> Floats:
    """What a layer without a kink hands back: `W^T g`."""
    match layer:
        case Conv(weight, _, _, _):
            back = np.zeros_like(z)
            for tap, seen, there in _taps(layer, z.shape):
                for o, i in np.ndindex(weight.shape[:2]):
                    back[(i, *seen)] += weight[(o, i, *tap)] * g[(o, *there)]
            return back
        case Scale(factor, _):
            return np.array([a * one for a, one in zip(factor, g, strict=True)])
        case Linear(weight, _):
            return sum((g[o] * weight[o] for o in range(len(g))), np.zeros(z.size)).reshape(z.shape)
        case Mean():
            return np.array([np.full(one.shape, float(g[k, 0, 0]) / one.size) for k, one in enumerate(z)])


def slope(layer: Pointwise, z: Floats) -> Floats:
    """The derivative of an activation."""
    return np.where(z > 0, 1.0, 0.0) if isinstance(layer, Relu) else np.where(z > 20, 1.0, 1 / (1 + np.exp(-z)))


def routed(layer: MaxPool, z: Floats, g: Floats) -> Floats:
    """The derivative of a max pooling: all to the cell that was taken."""
    back = np.zeros_like(z)
    for cell, winner in winners(layer, z):
        back[winner] += g[cell]
    return back


Rule = Callable[[Pointwise, Floats, Floats], Floats]


def plain(layer: Pointwise, z: Floats, g: Floats) -> Floats:
    """The chain rule."""
    return g * slope(layer, z)


def rectified(layer: Pointwise, z: Floats, g: Floats) -> Floats:
    """Deconvolution at a ReLU: positive signals, whatever its input was: Zeiler and Fergus 2014, 1311.2901."""
    return np.where(g > 0, g, 0.0) if isinstance(layer, Relu) else plain(layer, z, g)


def backward(chain: Sequence[Layer], values: Sequence[Floats], c: int, rule: Rule = plain) -> list[Floats]:
    """The signal that reaches each entry of `forward`'s list when score c hands back a one."""
    signals = [np.eye(len(values[-1]))[c]]
    for layer, z in zip(reversed(chain), reversed(values[:-1]), strict=True):
        g = signals[-1]
        match layer:
            case Relu() | Softplus():
                signals.append(rule(layer, z, g))
            case MaxPool():
                signals.append(routed(layer, z, g))
            case _:
                signals.append(transposed(layer, z, g))
    return signals[::-1]


# ---- DeepLIFT


def deeplift(chain: Sequence[Layer], x: Floats, baseline: Floats, c: int) -> list[Floats]:
    """`m * (z - z')` at each entry of `forward`'s list: Shrikumar 2017, 1704.02685, with the rescale rule.

    The multiplier m of a linear layer is its weight and that of an activation `dz_out / dz_in`; they follow the
    chain rule (eq. 3), and the sum of any entry is `S(x) - S(x')` (eq. 1). Max pooling, of which the paper does
    not speak, is passed as in SHAP: the step from the reference up to the larger of the two outputs is credited to
    the cell that wins in x, and the step from there to the output to the cell that wins in x'. Where a difference
    is zero the multiplier is the derivative.
    """
    here, there = forward(chain, x), forward(chain, baseline)
    multiplier = np.eye(len(here[-1]))[c]
    found = [multiplier * (here[-1] - there[-1])]
    for at in reversed(range(len(chain))):
        layer, z, reference = chain[at], here[at], there[at]
        match layer:
            case Relu() | Softplus():
                multiplier = multiplier * _quotient(here[at + 1] - there[at + 1], z - reference, slope(layer, z))
            case MaxPool():
                credit = pooled_credit(layer, z, reference, multiplier)
                multiplier = _quotient(credit, z - reference, routed(layer, z, multiplier))
            case _:
                multiplier = transposed(layer, z, multiplier)
        found.append(multiplier * (z - reference))
    return found[::-1]


def pooled_credit(layer: MaxPool, z: Floats, reference: Floats, multiplier: Floats) -> Floats:
    """What each input of a max pooling adds: overlapping windows add up."""
    credit = np.zeros_like(z)
    for (cell, taken), (_, replaced) in zip(winners(layer, z), winners(layer, reference), strict=True):
        top = max(z[taken], reference[replaced])
        credit[taken] += multiplier[cell] * (top - reference[replaced])
        credit[replaced] += multiplier[cell] * (z[taken] - top)
    return credit


def _quotient(above: Floats, below: Floats, instead: Floats) -> Floats:
    return np.where(below == 0, instead, np.divide(above, below, out=np.zeros_like(above), where=below != 0))


# ---- LRP


def lrp(chain: Sequence[Layer], x: Floats, c: int, epsilon: float = 1e-9) -> list[Floats]:
    """The relevance of each entry of `forward`'s list: Bach 2015, PLoS ONE 10(7), eq. 58, the epsilon rule.

    `R_i = sum_j a_i w_ij R_j / (z_j + epsilon sign z_j)`, sign 0 = 1, from `R = S` at the class. The bias keeps its
    share; activations pass relevance as it is; of a max pooling's window the largest takes all.
    """
    values = forward(chain, x)
    R = np.eye(len(values[-1]))[c] * values[-1]
    found = [R]
    for layer, a, z in zip(reversed(chain), reversed(values[:-1]), reversed(values[1:]), strict=True):
        if not isinstance(layer, (Relu, Softplus)):
            share = R / (z + np.where(z < 0, -epsilon, epsilon))
            R = a * (routed(layer, a, share) if isinstance(layer, MaxPool) else transposed(layer, a, share))
        found.append(R)
    return found[::-1]


# ---- places on a grid


def _length(old: int, size: int, stride: int, padding: int) -> int:
    return (old + 2 * padding - size) // stride + 1


def _grid(layer: Conv, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = zip(shape[1:], layer.weight.shape[2:], layer.stride, layer.padding, strict=True)
    return tuple(_length(*axis) for axis in axes)


def _spans(old: int, size: int, stride: int, padding: int) -> list[range]:
    """The cells of each window along one axis."""
    starts = [position * stride - padding for position in range(_length(old, size, stride, padding))]
    return [range(max(start, 0), min(start + size, old)) for start in starts]


def _taps(layer: Conv, shape: tuple[int, ...]) -> Iterator[tuple[Pair, tuple[slice, ...], tuple[slice, ...]]]:
    """For each entry of the kernel, the cells of the input that it reads and those of the output that it adds to."""
    grid = _grid(layer, shape)
    for tap in np.ndindex(layer.weight.shape[2:]):
        seen, there = [], []
        for at, old, new, stride, padding in zip(tap, shape[1:], grid, layer.stride, layer.padding, strict=True):
            first = max(0, math.ceil((padding - at) / stride))
            last = min(new - 1, (old - 1 + padding - at) // stride)
            begin = first * stride + at - padding
            seen.append(slice(begin, begin + (last - first) * stride + 1, stride))
            there.append(slice(first, last + 1))
        yield (tap[0], tap[1]), tuple(seen), tuple(there)
