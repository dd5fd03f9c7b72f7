"""Maps that can be done on paper, by another way than that of the twins: what holds them, and everybody, to account.

Three arguments, each where the network allows it. *By hand*: a chain of affine layers and ReLUs is written out as
matrices, and run and differentiated without PyTorch. *Pooled*: average pooling and one linear layer make every gradient
a weight. *Linear*: without a rectifier or a bias the score is a sum over pixels.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from camzoo.conformance.evidence import Literal
from camzoo.conformance.inner import NoReference
from camzoo.conformance.reference import pooled_head
from camzoo.oracles import contrast, input, scores
from camzoo.oracles.grids import Floats, normalise, rectify, resize
from camzoo.oracles.input import Layer, Linear, Relu

MOST = 4096
"""Values in the largest image whose network is written out: a matrix has a row or column for each."""


def closed(method: str, evidence: Literal) -> dict[str, Floats]:
    """The RAW map of one image by every argument that applies, at the method's defaults.

    Args:
        method: canonical name.
        evidence: of the image.

    Returns:
        Maps by the name of the argument, "by hand", "pooled" or "linear"; none where none applies.
    """
    found: dict[str, Floats] = {}
    for argument, (premises, forms) in ARGUMENTS.items():
        if method in forms:
            with contextlib.suppress(NoReference):
                found[argument] = forms[method](premises(evidence))
    return found


# ---- by hand


@dataclass(frozen=True)
class ByHand:
    """A chain of affine layers and ReLUs as matrices, at one image.

    Attributes:
        x: the image, `(C, H, W)`.
        c: the class.
        layers: of the chain, over flattened values.
        shapes: of each layer's output.
        place: number of the layer that is explained.
    """

    x: Floats
    c: int
    layers: tuple[Layer, ...]
    shapes: tuple[tuple[int, ...], ...]
    place: int

    @cached_property
    def values(self) -> list[Floats]:
        """The image, and the output of each layer."""
        return input.forward(self.layers, self.x)

    @property
    def y(self) -> Floats:
        """The scores."""
        return self.values[-1]

    @property
    def A(self) -> Floats:
        """The output of the layer `(K, h, w)`."""
        return self.values[self.place + 1].reshape(self.shapes[self.place])

    @cached_property
    def G(self) -> Floats:
        """`dS/dA`."""
        return self.slope(self.c)

    def slope(self, d: int) -> Floats:
        """`dy_d/dA`."""
        return input.backward(self.layers, self.values, d)[self.place + 1].reshape(self.shapes[self.place])

    @cached_property
    def g(self) -> Floats:
        """`dS/dx`."""
        return input.backward(self.layers, self.values, self.c)[0]

    @property
    def terms(self) -> list[Floats]:
        """`b dS/db` of each affine layer, in the shape of its output."""
        shapes = [shape for layer, shape in zip(self.layers, self.shapes, strict=True) if isinstance(layer, Linear)]
        found = input.bias_gradients(self.layers, self.x, self.c)
        return [term.reshape(shape) for term, shape in zip(found, shapes, strict=True)]


AFFINE = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.Flatten)


def by_hand(evidence: Literal) -> ByHand:
    """The network as matrices.

    Raises:
        NoReference: it is no short chain of affine layers and ReLUs.
    """
    model = evidence.problem.model
    chain = dict(model.named_children()) if isinstance(model, nn.Sequential) else {}
    plain = all(type(module) in (*AFFINE, nn.ReLU) for module in chain.values())
    if not plain or evidence.problem.layer not in chain or evidence.x.size > MOST:
        raise NoReference("the network is no short chain of affine layers and ReLUs")
    layers: list[Layer] = []
    shapes = [evidence.x.shape]
    for module in chain.values():
        layer, shape = (Relu(), shapes[-1]) if isinstance(module, nn.ReLU) else as_matrix(module, shapes[-1])
        layers.append(layer)
        shapes.append(shape)
    return ByHand(evidence.x, evidence.c, tuple(layers), tuple(shapes[1:]), list(chain).index(evidence.problem.layer))


def as_matrix(module: nn.Module, shape: tuple[int, ...]) -> tuple[Linear, tuple[int, ...]]:
    """An affine layer is known by what it gives for zero and for each unit vector; and the shape of its output."""
    exact = copy.deepcopy(module).cpu().double()
    units = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    with torch.no_grad():
        zero, columns = exact(torch.zeros_like(units[:1])), exact(units)
    weight = (columns - zero).flatten(1).T.numpy()
    return Linear(weight, zero.flatten().numpy()), tuple(zero.shape[1:])


def _weighted(weights: Floats, A: Floats) -> Floats:
    return np.asarray(np.einsum("k,kij->ij", weights, A))


def _plus_plus(A: Floats, G: Floats) -> Floats:
    """Grad-CAM++, where `G^2` has been cancelled: `alpha = 1 / (2 + a_k G)`."""
    positive = np.maximum(G, 0)
    return _weighted((positive / (2 + A.sum((1, 2), keepdims=True) * positive)).sum((1, 2)), A)


def _finer(net: ByHand) -> Floats:
    others = contrast.similar_classes(net.y, net.c, 3)
    return _weighted((net.G - 0.6 * sum(net.slope(d) for d in others) / len(others)).mean((1, 2)), net.A)


def _shares(A: Floats, G: Floats) -> Floats:
    """XGrad-CAM: a dead channel has no share."""
    mass = A.sum((1, 2))
    return np.asarray(np.divide((G * A).sum((1, 2)), mass, out=np.zeros_like(mass), where=mass != 0))


def _guided(net: ByHand) -> Floats:
    if not any(isinstance(layer, Relu) for layer in net.layers):
        raise NoReference("no ReLU runs in this network")
    return np.asarray(input.guided_backprop(net.layers, net.x, net.c).sum(0))


def _psi(part: Floats, size: tuple[int, ...]) -> Floats:
    """Enlarging is linear, so the channels are added first."""
    return resize(np.sum([normalise(one) for one in np.abs(part)], axis=0), size)


def _full(net: ByHand) -> Floats:
    parts = [net.x * net.g, *(term for term in net.terms if term.ndim == 3)]
    return np.asarray(np.sum([_psi(part, net.x.shape[1:]) for part in parts], axis=0))


BY_HAND: Mapping[str, Callable[[ByHand], Floats]] = {
    "gradcam": lambda net: _weighted(net.G.mean((1, 2)), net.A),
    "counterfactual-gradcam": lambda net: _weighted(-net.G.mean((1, 2)), net.A),
    "shapleycam": lambda net: _weighted(net.G.mean((1, 2)), net.A),  # piecewise linear: the Hessian is zero
    "gradcam++": lambda net: _plus_plus(net.A, net.G),
    "hirescam": lambda net: (net.G * net.A).sum(0),
    "gradcam-elementwise": lambda net: np.maximum(net.G * net.A, 0).sum(0),
    "layercam": lambda net: (np.maximum(net.G, 0) * net.A).sum(0),
    "xgradcam": lambda net: _weighted(_shares(net.A, net.G), net.A),
    "finercam": _finer,
    "guided-backprop": _guided,
    "guided-gradcam": lambda net: _guided(net) * resize(rectify(BY_HAND["gradcam"](net)), net.x.shape[1:]),
    "fullgrad": _full,
}


# ---- pooled: `y_d = sum_k W_dk mean(A_k) + b_d`, so `G_k = W_ck / n` at each of the n cells


@dataclass(frozen=True)
class Pooled:
    """What there is to know of a layer before average pooling and one linear layer.

    Attributes:
        A: its output, `(K, h, w)`.
        W: the weights of the linear layer, `(classes, K)`.
        b: its biases, `(classes,)`.
        c: the class.
    """

    A: Floats
    W: Floats
    b: Floats
    c: int

    @property
    def w(self) -> Floats:
        """The weights of the class, `(K,)`."""
        return np.asarray(self.W[self.c])

    @property
    def mean(self) -> Floats:
        """The mean of each channel, `(K,)`."""
        return np.asarray(self.A.mean((1, 2)))

    @property
    def n(self) -> int:
        """The number of cells."""
        return int(self.A[0].size)


def pooled(evidence: Literal) -> Pooled:
    """The head of the network.

    Raises:
        NoReference: it is another one.
    """
    W, b = pooled_head(evidence)
    return Pooled(evidence.A, W, b, evidence.c)


def _pooled_plus_plus(head: Pooled) -> Floats:
    """Grad-CAM++, and its smoothed kin as well: the gradient is the same for every image."""
    positive = np.maximum(head.w, 0)
    return _weighted(positive / (2 + head.mean * positive), head.A)


def _pooled_finer(head: Pooled) -> Floats:
    others = contrast.similar_classes(head.W @ head.mean + head.b, head.c, 3)
    return _weighted(head.w - 0.6 * head.W[others].mean(0), head.A) / head.n


def _pooled_ablation(head: Pooled) -> Floats:
    drops = head.w * head.mean
    return _weighted(drops / abs(drops.sum() + head.b[head.c]), head.A)


POOLED: Mapping[str, Callable[[Pooled], Floats]] = {
    "cam": lambda head: _weighted(head.w, head.A),
    "gradcam": lambda head: _weighted(head.w, head.A) / head.n,
    "hirescam": lambda head: _weighted(head.w, head.A) / head.n,
    "xgradcam": lambda head: _weighted(head.w, head.A) / head.n,
    "shapleycam": lambda head: _weighted(head.w, head.A) / head.n,
    "counterfactual-gradcam": lambda head: _weighted(-head.w, head.A) / head.n,
    "layercam": lambda head: _weighted(np.maximum(head.w, 0), head.A) / head.n,
    "gradcam++": _pooled_plus_plus,
    "smoothgradcam++": _pooled_plus_plus,
    "finercam": _pooled_finer,
    "ablationcam": _pooled_ablation,
}


# ---- linear: `S = <g, x>`, so a pixel adds `q = sum_colours g x`, and a mask M scores `<M, q>`


def linear(evidence: Literal) -> ByHand:
    """The network as matrices.

    Raises:
        NoReference: there is a rectifier or a bias in it.
    """
    net = by_hand(evidence)
    if not all(isinstance(layer, Linear) and not layer.bias.any() for layer in net.layers):
        raise NoReference("the network is not linear")
    return net


def _linear_score(net: ByHand, strength: float = 1.0) -> Floats:
    """Score-CAM; a mask of half the strength has half the score."""
    q = (net.g * net.x).sum(0)
    found = [-np.inf if mask is None else (mask * q).sum() for mask in scores.masks(net.A, net.x.shape[1:])]
    odds = np.exp(strength * (np.array(found) - max(found)))
    return _weighted(odds / odds.sum(), net.A)


def _linear_occlusion(net: ByHand) -> Floats:
    """A window takes away what its pixels add."""
    covers = []
    for length in net.x.shape[1:]:
        side = max(1, round(length / 7))
        step = max(1, side // 2)
        starts = range(0, length - side + step, step)
        covers.append(np.array([[start <= p < start + side for p in range(length)] for start in starts], float))
    down, across = covers
    drops = down @ (net.g * net.x).sum(0) @ across.T
    return np.asarray((down.T @ drops @ across) / (down.T @ np.ones_like(drops) @ across))


def _linear_ablation(net: ByHand) -> Floats:
    drops = (net.G * net.A).sum((1, 2))
    return _weighted(drops / abs(drops.sum()), net.A)


LINEAR: Mapping[str, Callable[[ByHand], Floats]] = {
    "ablationcam": _linear_ablation,
    "smoothgradcam++": lambda net: _plus_plus(net.A, net.G),
    "scorecam": _linear_score,
    "iscam": lambda net: _linear_score(net, 0.55),  # the mean of 0.1, 0.2 ... 1
    "occlusion": _linear_occlusion,
}

ARGUMENTS: Mapping[str, tuple[Callable[[Literal], Any], Mapping[str, Callable[[Any], Floats]]]] = {
    "by hand": (by_hand, BY_HAND),
    "pooled": (pooled, POOLED),
    "linear": (linear, LINEAR),
}
"""What is to be known of the network, and the maps that follow."""
