"""Methods at the resolution of the input, on a small network that is run and differentiated by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from camzoo.oracles.grids import Floats, normalise, rectify, resize


class Conv(NamedTuple):
    """Stride 1 and zero padding that keeps the size: `weight (out, in, k, k)`, k odd, `bias (out,)`."""

    weight: Floats
    bias: Floats


class Linear(NamedTuple):
    """`weight (out, in)`, `bias (out,)`, of the values in row-major order."""

    weight: Floats
    bias: Floats


class Relu(NamedTuple):
    """`max(z, 0)`."""


class Pool(NamedTuple):
    """Global average pooling: `(K, h, w)` to `(K,)`."""


Layer = Conv | Linear | Relu | Pool
ReluRule = Callable[[Floats, Floats], Floats]


def plain_rule(z: Floats, g: Floats) -> Floats:
    """The derivative: what came from above where the input was positive."""
    return np.where(z > 0, g, 0.0)


def guided_rule(z: Floats, g: Floats) -> Floats:
    """Guided backpropagation: positive gradients at positive inputs: Springenberg 2015, 1412.6806."""
    return np.where((z > 0) & (g > 0), g, 0.0)


def deconvolution_rule(_z: Floats, g: Floats) -> Floats:
    """Deconvolution: positive gradients, whatever the input was: Zeiler and Fergus 2014, 1311.2901."""
    return np.where(g > 0, g, 0.0)


def _touched(layer: Conv, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every product of a convolution: channel out, channel in, then row and column out, in, and of the kernel."""
    outs, ins, k, _ = layer.weight.shape
    _, height, width = shape
    found: list[tuple[int, ...]] = []
    for o, i, y, x, dy, dx in np.ndindex(outs, ins, height, width, k, k):
        yy, xx = y + dy - k // 2, x + dx - k // 2
        if 0 <= yy < height and 0 <= xx < width:
            found.append((o, i, y, x, yy, xx, dy, dx))
    return found


def apply(layer: Layer, z: Floats) -> Floats:
    """One layer forwards."""
    match layer:
        case Conv(weight, bias):
            out = np.zeros((len(weight), *z.shape[1:])) + bias[:, None, None]
            for o, i, y, x, yy, xx, dy, dx in _touched(layer, z.shape):
                out[o, y, x] += weight[o, i, dy, dx] * z[i, yy, xx]
            return out
        case Linear(weight, bias):
            return np.array([(row * z.ravel()).sum() for row in weight]) + bias
        case Relu():
            return rectify(z)
        case Pool():
            return np.array([one.sum() / one.size for one in z])


def pull(layer: Layer, z: Floats, g: Floats, rule: ReluRule) -> Floats:
    """One layer backwards: the gradient by its input z, given the gradient g by its output."""
    match layer:
        case Conv(weight, _):
            back = np.zeros_like(z)
            for o, i, y, x, yy, xx, dy, dx in _touched(layer, z.shape):
                back[i, yy, xx] += weight[o, i, dy, dx] * g[o, y, x]
            return back
        case Linear(weight, _):
            return sum((g[o] * weight[o] for o in range(len(g))), np.zeros(z.size)).reshape(z.shape)
        case Relu():
            return rule(z, g)
        case Pool():
            return np.array([np.full(one.shape, g[k] / one.size) for k, one in enumerate(z)])


def forward(net: Sequence[Layer], x: Floats) -> list[Floats]:
    """The input of every layer in turn, and last the scores."""
    values = [x]
    for layer in net:
        values.append(apply(layer, values[-1]))
    return values


def backward(net: Sequence[Layer], values: Sequence[Floats], c: int, rule: ReluRule = plain_rule) -> list[Floats]:
    """The gradient of score c by each entry of `forward`'s list."""
    gradients = [np.eye(len(values[-1]))[c]]
    for layer, z in zip(reversed(net), reversed(values[:-1]), strict=True):
        gradients.append(pull(layer, z, gradients[-1], rule))
    return gradients[::-1]


def guided_backprop(net: Sequence[Layer], x: Floats, c: int) -> Floats:
    """The guided gradient `(C, H, W)` of score c by the input; the map is its signed sum over the colours."""
    return backward(net, forward(net, x), c, guided_rule)[0]


def deconvolution(net: Sequence[Layer], x: Floats, c: int) -> Floats:
    """The deconvolution signal `(C, H, W)`; the map is its signed sum over the colours."""
    return backward(net, forward(net, x), c, deconvolution_rule)[0]


def colours_summed(signal: Floats) -> Floats:
    """`(C, H, W)` to `(H, W)`."""
    return sum((one for one in signal), np.zeros(signal.shape[1:]))


def guided_gradcam(guided: Floats, gradcam: Floats) -> Floats:
    """`guided * up(relu(gradcam))`, summed over the colours: Selvaraju 2017, 1610.02391; on the pixels `(H, W)`."""
    window = resize(rectify(gradcam), guided.shape[1:])
    return colours_summed(np.array([one * window for one in guided]))


def bias_gradients(net: Sequence[Layer], x: Floats, c: int) -> list[Floats]:
    """`b * dS/db` of each convolution `(K, h, w)`, spread over the cells, and of each linear layer `(out,)`."""
    gradients = backward(net, forward(net, x), c)
    terms = []
    for layer, g in zip(net, gradients[1:], strict=True):
        if isinstance(layer, Conv):
            terms.append(layer.bias[:, None, None] * g)
        elif isinstance(layer, Linear):
            terms.append(layer.bias * g)
    return terms


def completeness_gap(net: Sequence[Layer], x: Floats, c: int) -> float:
    """`S - sum(x * dS/dx) - sum b dS/db`: zero for a piecewise linear network: Srinivas 2019, 1905.00780."""
    values = forward(net, x)
    gradient = backward(net, values, c)[0]
    biases = sum(float(term.sum()) for term in bias_gradients(net, x, c))
    return float(values[-1][c] - (x * gradient).sum() - biases)


def fullgrad(x: Floats, gradient: Floats, terms: Sequence[Floats], rescale: str = "channel") -> Floats:
    """`psi(x * dS/dx) + sum_layers sum_channels psi(b * dS/db)`: Srinivas 2019, 1905.00780; on the pixels `(H, W)`.

    `psi(M) = up(mm(|M|))`: absolute value, min-max, bilinear, channel by channel. With `rescale="layer"`, as in the
    authors' code, the channels of one layer share their min and max. `terms` are the bias-gradient maps `(K, h, w)`;
    those without a grid have no place in a map.
    """
    result = np.zeros(x.shape[1:])
    for signal in [x * gradient, *(term for term in terms if term.ndim == x.ndim)]:
        size = np.abs(signal)
        scaled = normalise(size) if rescale == "layer" else np.array([normalise(one) for one in size])
        for one in scaled:
            result += resize(one, x.shape[1:])
    return result
