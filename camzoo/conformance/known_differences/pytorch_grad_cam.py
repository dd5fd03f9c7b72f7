"""Where pytorch-grad-cam parts from the reference.

Its maps are past min-max and at the image's size when they leave it, in float32; the steps from a formula's map to
there are `shown`. Where nothing but these steps and epsilons below float32 stands between a method and its reference
there is no entry: gradcam, hirescam, gradcam-elementwise, xgradcam, layercam, segeigencam, shapleycam and
guided-backprop agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from camzoo import layers
from camzoo.conformance import inner
from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences._entry import Difference
from camzoo.conformance.verdicts import Kind
from camzoo.oracles import activation, gradient, sess
from camzoo.oracles.grids import Floats, normalise, rectify, resize

OPTIONS: Mapping[str, Mapping[str, Any]] = {"sess": {"num_scales": 3}}
"""Options with which a method is checked, where its default takes long."""

ABLATION_BATCH, ABYSS = 32, 1e7


def shown(raw: Floats, size: tuple[int, ...]) -> Floats:
    """A formula's map as the library gives it: ReLU, min-max, resize, min-max.

    Each min-max has an epsilon, `(M - min M) / (max (M - min M) + 1e-7)`, and between the two values are rounded to
    float32, so that maps which underflow there come out as zeros.
    """
    return _scaled(resize(_float32(_scaled(rectify(raw))), size))


def _scaled(values: Floats) -> Floats:
    above = values - values.min()
    return np.asarray(above / (above.max() + 1e-7))


def _float32(values: Floats) -> Floats:
    return values.astype(np.float32).astype(np.float64)


# ---------------------------------------------------------------- the formulas, signed, on the layer's grid


def gradcam_plus_plus(evidence: Literal, layer: str | None = None) -> Floats:
    """Eq. 19 with 1e-6 in the denominator of alpha."""
    A, G = evidence.at(layer or evidence.problem.layer)
    weights = np.zeros(len(A))
    for k in range(len(A)):
        alpha = G[k] ** 2 / (2 * G[k] ** 2 + A[k].sum() * G[k] ** 3 + 1e-6)
        weights[k] = (alpha * rectify(G[k])).sum()
    return gradient.weighted_sum(weights, A)


def eigencam(evidence: Literal) -> Floats:
    """Columns centred, and the sign that LAPACK happens to give."""
    return _as_lapack_signs_it(evidence.A)


def eigengradcam(evidence: Literal) -> Floats:
    """The same of `G * A`."""
    return _as_lapack_signs_it(evidence.G * evidence.A)


def _as_lapack_signs_it(B: Floats) -> Floats:
    X = activation.cells_by_channels(B)
    X = X - X.mean(axis=0)
    _, _, VT = np.linalg.svd(X)  # the whole U, as in the library: the thin one is computed another way, sign included
    return np.asarray((X @ VT[0]).reshape(B.shape[1:]))


def kpcacam(evidence: Literal) -> Floats:
    """Signed so that the cell of largest size is positive."""
    m = activation.kpcacam(evidence.A)
    return m * np.sign(m.flat[np.abs(m).argmax()])


def fem(evidence: Literal) -> Floats:
    """`sum_k mean_ij [A_k > mu_k + 2 sigma_k] A_k`."""
    return gradient.weighted_sum(np.array([(one > one.mean() + 2 * one.std()).mean() for one in evidence.A]), evidence.A)


def scorecam(evidence: Literal) -> Floats:
    """Masks stretched from corner to corner, 1e-8 in their min-max, constant channels in the softmax as black images.

    Scores and softmax are in float32.
    """
    scores = []
    for one in evidence.A:
        mask = _corner_to_corner(one, evidence.size)
        mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
        scores.append(evidence.score(mask * evidence.x))
    rounded = _float32(np.array(scores))
    odds = np.exp(rounded - rounded.max())
    return gradient.weighted_sum(odds / odds.sum(), evidence.A)


def _corner_to_corner(values: Floats, size: tuple[int, ...]) -> Floats:
    """Bilinear resizing in which the centres of the corner cells lie on those of the corner pixels."""
    for axis, length in enumerate(size):
        old = values.shape[axis]
        places = np.linspace(0, old - 1, length)
        values = np.apply_along_axis(lambda line, old=old, at=places: np.interp(at, np.arange(old), line), axis, values)
    return values


def ablationcam(evidence: Literal) -> Floats:
    """`sum_k (S - S_k)/S A_k`; a channel is filled with 0 only where the least value of all is exactly 0.

    Else with that value minus 1e7, and channel k of a batch with that minus (k + 1) 1e7. Of tokens the class token is
    ablated as well. Scores are in float32.
    """
    axis = 0 if evidence.problem.layout.kind == "channels-first" else -1
    output = np.moveaxis(evidence.output, axis, 0)
    least = output.min()
    weights = np.zeros(len(output))
    full = np.float32(evidence.score(evidence.x))
    for k in range(len(output)):
        without = output.copy()
        without[k] = 0.0 if least == 0 else least - (k % ABLATION_BATCH + 1) * ABYSS
        score = np.float32(evidence.tail_of(np.moveaxis(without, 0, axis)))
        weights[k] = (full - score) / full
    return gradient.weighted_sum(weights, evidence.A)


def finercam(evidence: Literal) -> Floats:
    """Grad-CAM of `sum_d p_d (y_m - y_d) / (sum_d p_d + 1e-9)`, p the softmax, m and d the four logits nearest to y_c.

    m is the nearest of all: c itself unless another class has the same logit and a lower index.
    """
    main, *others = np.argsort(np.abs(evidence.y - evidence.y[evidence.c]), kind="stable")[:4]

    def contrast(outputs: torch.Tensor) -> torch.Tensor:
        p = outputs[0].softmax(0)[others]
        return (p * (outputs[0, main] - outputs[0, others])).sum() / (p.sum() + 1e-9)

    return gradient.gradcam(*evidence.at(evidence.problem.layer, contrast))


def random(evidence: Literal) -> Floats:
    """`sum_k w_k A_k` with weights uniform in -1..1 from NumPy's global generator."""
    generator = np.random.RandomState(evidence.problem.seed % 2**32)
    return gradient.weighted_sum(generator.uniform(-1, 1, len(evidence.A)), evidence.A)


# ---------------------------------------------------------------- maps on the pixels


def refinecam(evidence: Literal) -> Floats:
    """The product over the layers of Grad-CAM++ maps, each with its epsilon and each `shown`."""
    names = layers.stages(evidence.problem.model, evidence.image, evidence.problem.layer)[-3:]
    return _scaled(np.prod([shown(gradcam_plus_plus(evidence, name), evidence.size) for name in names], axis=0))


def fullgrad(evidence: Literal) -> Floats:
    """The paper's sum with an epsilon in each `psi(M) = up((|M| - min|M|) / (max|M| - min|M| + 1e-7))`."""
    parts = [evidence.x * evidence.input_gradient, *inner.bias_terms(evidence)]
    psi = [resize(_float32(_scaled(np.abs(one))), evidence.size) for part in parts for one in part]
    return _scaled(np.sum(psi, axis=0))


def enhanced(evidence: Literal, num_scales: int = 3) -> Floats:
    """SESS of Grad-CAM by its oracle: no method of ours has this name, so this is the reference as well."""
    window = min(evidence.size)

    def base(part: Floats) -> Floats:
        tensor = torch.as_tensor(part).to(evidence.problem.images)[None]
        alone = Literal(replace(evidence.problem, images=tensor, classes=(evidence.c,)), 0)
        return normalise(resize(normalise(rectify(gradient.gradcam(alone.A, alone.G))), alone.size))

    return sess.sess(evidence.x, evidence.probability, base, sess.default_scales(window, num_scales), window)


def _entry(method: str, kind: Kind, variant: Callable[[Literal], Floats], what: str, why: str, **more: str) -> Difference:
    return Difference("pytorch-grad-cam", method, "==1.5.7", kind, what, why, variant, **more)


def _shown(raw: Callable[[Literal], Floats]) -> Callable[[Literal], Floats]:
    return lambda evidence: shown(raw(evidence), evidence.size)


FORMULAS: Mapping[str, Callable[[Literal], Floats]] = {
    "gradcam++": gradcam_plus_plus,
    "eigencam": eigencam,
    "eigengradcam": eigengradcam,
    "kpcacam": kpcacam,
    "fem": fem,
    "scorecam": scorecam,
    "ablationcam": ablationcam,
    "finercam": finercam,
    "random": random,
}
"""The library's formula, signed, on the layer's grid."""

ENTRIES: tuple[Difference, ...] = ()
