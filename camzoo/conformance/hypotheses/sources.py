"""The right formula over the wrong evidence: another tensor, or the gradient of another score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from camzoo.conformance.evidence import Literal
from camzoo.conformance.hypotheses.batch import Batch, Early, Step
from camzoo.conformance.hypotheses.formulas import raw
from camzoo.oracles.grids import Floats
from camzoo.types import Layout, Problem

NEARBY = 3
"""How many modules before and after the layer are tried in its place."""


@dataclass(frozen=True)
class Altered(Literal):
    """Evidence with other activations and gradients at the layer than the network has."""

    activations: Floats = field(repr=False)
    gradients: Floats = field(repr=False)

    def at(self, layer: str, score: Callable[[torch.Tensor], torch.Tensor] | None = None) -> tuple[Floats, Floats]:
        """As of the literal evidence, but at the layer what has been given."""
        if layer == self.problem.layer and score is None:
            return self.activations, self.gradients
        return super().at(layer, score)


def altered(batch: Batch, A: Floats, G: Floats) -> Batch:
    """A batch with other activations and gradients `(N, K, h, w)`."""
    changed = [Altered(one.problem, one.index, A[n].copy(), G[n].copy()) for n, one in enumerate(batch.images)]
    return Batch(batch.method, tuple(changed))


# ---- the activations

ACTIVATIONS: tuple[tuple[str, Callable[[Floats], Floats]], ...] = (
    (
        "negative activations are lost: the kept tensor was rectified, as by an in-place ReLU",
        lambda A: np.maximum(A, 0),
    ),
    ("the activations are taken by their absolute value", np.abs),
    (
        "cells and channels are mixed up: the output was reshaped where its axes had to be moved",
        lambda A: np.moveaxis(A.reshape(len(A), *A.shape[2:], A.shape[1]), -1, 1),
    ),
    ("the activations are those of the first image for every image", lambda A: np.broadcast_to(A[:1], A.shape)),
    ("the activations are averaged over the batch", lambda A: np.broadcast_to(A.mean(0, keepdims=True), A.shape)),
    ("each channel was scaled to 0..1 before the sum", lambda A: _minmax(A)),
)


def activations(batch: Batch) -> Iterator[Early]:
    """Other tensors in the place of the layer's output."""
    for reason, change in ACTIVATIONS:
        yield Early(Step.ACTIVATION, reason, partial(_of_activations, change=change))
    names = _ran(batch.problem)
    here = names.index(batch.problem.layer)
    for step in sorted(range(-NEARBY, NEARBY + 1), key=abs)[1:]:
        if 0 <= here + step < len(names):
            reason = f"the formula is over the output of {names[here + step]}, not of {batch.problem.layer}"
            yield Early(Step.ACTIVATION, reason, partial(_elsewhere, step=step))


def _of_activations(batch: Batch, change: Callable[[Floats], Floats]) -> Floats:
    return raw(altered(batch, change(batch.A), batch.G))


def _elsewhere(batch: Batch, step: int) -> Floats:
    """The formula at the module that runs so many modules after the layer, or before it."""
    problem = batch.problem
    names = _ran(problem)
    place = names.index(problem.layer) + step
    if not 0 <= place < len(names):
        raise ValueError("there is no such module")
    layout = Layout("channels-first", problem.layout.shape)
    moved = replace(problem, layer=names[place], layout=layout)
    return raw(Batch(batch.method, tuple(Literal(moved, one.index) for one in batch.images)))


def _ran(problem: Problem) -> list[str]:
    """The names of the modules, in the order in which they finish."""
    ran: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: ran.append(name)

    handles = [module.register_forward_hook(note(name)) for name, module in problem.model.named_modules() if name]
    try:
        with torch.no_grad():
            problem.model(problem.images[:1])
    finally:
        for handle in handles:
            handle.remove()
    return ran


# ---- the gradients

Slopes = Callable[[Floats, list[int], int], Floats]
"""From the outputs `(N, classes)`, the classes of all images and the number of one to `d score / d y_n`."""


def _one(c: int, like: Floats) -> Floats:
    return np.asarray(np.eye(like.shape[-1])[c])


def _softmax(y: Floats) -> Floats:
    odds = np.exp(y - y.max())
    return np.asarray(odds / odds.sum())


def _probability(y: Floats, c: list[int], n: int) -> Floats:
    p = _softmax(y[n])
    return np.asarray(p[c[n]] * (_one(c[n], y) - p))


def _log_probability(y: Floats, c: list[int], n: int) -> Floats:
    return np.asarray(_one(c[n], y) - _softmax(y[n]))


def _sigmoid(y: Floats, c: list[int], n: int) -> Floats:
    s = 1 / (1 + np.exp(-y[n, c[n]]))
    return np.asarray(s * (1 - s) * _one(c[n], y))


SCORES: tuple[tuple[str, Slopes], ...] = (
    ("the top class, not of the class that was asked for", lambda y, _c, n: _one(int(y[n].argmax()), y)),
    ("the class of the first image, for every image", lambda y, c, _n: _one(c[0], y)),
    ("the first image's score alone", lambda y, c, n: _one(c[0], y) * (n == 0)),
    ("the classes of all images of the batch together", lambda y, c, _n: np.sum([_one(one, y) for one in c], axis=0)),
    ("the sum of all outputs", lambda y, _c, _n: np.ones(y.shape[1])),
    ("the class after the one that was asked for", lambda y, c, n: _one((c[n] + 1) % y.shape[1], y)),
    ("the class before the one that was asked for", lambda y, c, n: _one(c[n] - 1, y)),
    ("the softmax probability, not of the logit", _probability),
    ("the log-probability, not of the logit", _log_probability),
    ("the cross-entropy, not of the logit: it has the opposite sign too", lambda *of: -_log_probability(*of)),
    ("the mean cross-entropy of the batch", lambda y, c, n: -_log_probability(y, c, n) / len(y)),
    ("the sigmoid of the logit", _sigmoid),
    ("the exponential of the logit", lambda y, c, n: np.exp(y[n, c[n]]) * _one(c[n], y)),
    ("the square of the logit", lambda y, c, n: 2 * y[n, c[n]] * _one(c[n], y)),
    ("the batch's mean score: it is divided by N", lambda y, c, n: _one(c[n], y) / len(y)),
    ("the mean of the batch's softmax probabilities", lambda y, c, n: _probability(y, c, n) / len(y)),
    ("the negative score: everything has the opposite sign", lambda y, c, n: -_one(c[n], y)),
)

GRADIENTS: tuple[tuple[str, Callable[[Floats], Floats]], ...] = (
    ("taken by its absolute value", np.abs),
    ("rectified", lambda G: np.maximum(G, 0)),
    ("averaged over the batch", lambda G: np.broadcast_to(G.mean(0, keepdims=True), G.shape)),
    ("summed over the batch", lambda G: np.broadcast_to(G.sum(0, keepdims=True), G.shape)),
    ("that of the first image for every image", lambda G: np.broadcast_to(G[:1], G.shape)),
    ("divided by its length for each image", lambda G: G / np.sqrt((G**2).sum(_each(G), keepdims=True))),
    ("divided by the length of the whole batch's", lambda G: G / np.sqrt((G**2).sum())),
    (
        "divided by its root mean square plus 1e-5",
        lambda G: G / (np.sqrt((G**2).mean(_each(G), keepdims=True)) + 1e-5),
    ),
    (
        "divided by the batch's root mean square plus 1e-5",
        lambda G: G / (np.sqrt((G**2).mean()) + 1e-5),
    ),
    ("divided by its largest absolute value", lambda G: G / np.abs(G).max(_each(G), keepdims=True)),
)


def gradients() -> Iterator[Early]:
    """Gradients of other scores, and changed gradients of the right one."""
    for score, slopes in SCORES:
        reason = f"the gradient is that of {score}"
        yield Early(Step.GRADIENT, reason, partial(_of_score, slopes=slopes))
    for what, change in GRADIENTS:
        yield Early(Step.GRADIENT, f"the gradient is {what}", partial(_of_gradients, change=change))
    masked = "the gradient is that at the input of the rectifier: zero where the activation is"
    yield Early(Step.GRADIENT, masked, lambda b: raw(altered(b, b.A, b.G * (b.A > 0))))


def _of_gradients(batch: Batch, change: Callable[[Floats], Floats]) -> Floats:
    return raw(altered(batch, batch.A, change(batch.G)))


def _of_score(batch: Batch, slopes: Slopes) -> Floats:
    return raw(of_score(batch, slopes))


def of_score(batch: Batch, slopes: Slopes) -> Batch:
    """A batch with the gradient of another function of the outputs, given by its slopes."""
    found = [_gradient(one, slopes(batch.y, batch.c, n)) for n, one in enumerate(batch.images)]
    return altered(batch, batch.A, np.stack(found))


def _gradient(image: Literal, slopes: Floats) -> Floats:
    """`sum_j slopes_j dy_j/dA`."""
    return image.at(image.problem.layer, lambda y: (y[0] * torch.as_tensor(slopes).to(y)).sum())[1]


def _each(values: Floats) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))


def _minmax(A: Floats) -> Floats:
    cells = tuple(range(2, A.ndim))
    low, high = A.min(cells, keepdims=True), A.max(cells, keepdims=True)
    return np.asarray((A - low) / np.where(high == low, 1.0, high - low))
