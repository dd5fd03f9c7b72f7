"""Where pytorch-grad-cam parts from the reference.

Its maps are past min-max and at the image's size when they leave it, in float32; the steps from a formula's map to
there are `shown`. Where nothing but these steps and epsilons below float32 stands between a method and its reference
there is no entry: gradcam, hirescam, gradcam-elementwise, xgradcam, layercam, segeigencam, shapleycam and
guided-backprop agree. An entry whose difference has several parts names the kind of each, and is of the gravest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from camzoo.conformance import reference
from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences._entry import Difference
from camzoo.conformance.known_differences._layers import coarse_to_fine
from camzoo.conformance.verdicts import Kind
from camzoo.oracles import activation, gradient
from camzoo.oracles.grids import Floats, rectify, resize

OPTIONS: Mapping[str, Mapping[str, Any]] = {"sess": reference.FEW["sess"]}
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


def xgradcam(evidence: Literal) -> Floats:
    """1e-7 added to each channel's sum of activations: no entry, since it only counts where these are as small."""
    A, G = evidence.A, evidence.G
    cells = tuple(range(1, A.ndim))
    return gradient.weighted_sum((G * A).sum(axis=cells) / (A.sum(axis=cells) + 1e-7), A)


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
    return np.asarray(m * np.sign(m.flat[np.abs(m).argmax()]))


def fem(evidence: Literal) -> Floats:
    """`sum_k mean_ij [A_k > mu_k + 2 sigma_k] A_k`."""
    return gradient.weighted_sum(
        np.array([(one > one.mean() + 2 * one.std()).mean() for one in evidence.A]), evidence.A
    )


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
    rows, columns = (_line(old, new) for old, new in zip(values.shape, size, strict=True))
    return np.asarray(rows @ values @ columns.T)


def _line(old: int, new: int) -> Floats:
    """What each of the old cells of a line counts at each of the new ones, `(new, old)`."""
    places = np.linspace(0, old - 1, new)
    return np.array([np.interp(places, np.arange(old), cell) for cell in np.eye(old)]).T


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
    maps = [shown(gradcam_plus_plus(evidence, name), evidence.size) for name in coarse_to_fine(evidence)]
    return _scaled(np.prod(maps, axis=0))


def fullgrad(evidence: Literal) -> Floats:
    """`psi(M) = up((|M| - min|M|) / (max|M| - min|M| + 1e-7))`; biases of two classes and no derived ones."""
    parts = [evidence.x * evidence.input_gradient]
    for name, module in evidence.problem.model.named_modules():
        if type(module) in (nn.Conv2d, nn.BatchNorm2d) and module.bias is not None:
            parts.append(_added(module)[:, None, None] * evidence.at(name)[1])
    psi = [resize(_float32(_scaled(np.abs(one))), evidence.size) for part in parts for one in part]
    return _scaled(np.sum(psi, axis=0))


def _added(module: Any) -> Floats:
    """What a layer adds `(K,)`: its bias, or `beta - mean gamma / sqrt(var + eps)` of BatchNorm."""
    added = module.bias.detach()
    if hasattr(module, "running_var"):
        added = added - module.running_mean * module.weight.detach() / torch.sqrt(module.running_var + module.eps)
    return np.asarray(added.cpu().double().numpy())


def _entry(
    method: str, kind: Kind, variant: Callable[[Literal], Floats], what: str, why: str, **more: str
) -> Difference:
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

ENTRIES: tuple[Difference, ...] = (
    _entry(
        "gradcam++",
        Kind.DETAIL,
        _shown(gradcam_plus_plus),
        "An epsilon of 1e-6 in the denominator of alpha, which is smaller for it where gradients are below about 0.01.",
        "grad_cam_plusplus.py:26-28: added to `2 G^2 + (sum A) G^3`, the size of a squared gradient. Line 31 zeroes "
        "alpha where the gradient is 0, where its comment says the activation; the weight is 0 there anyway.",
    ),
    _entry(
        "eigencam",
        Kind.ERROR,
        _shown(eigencam),
        "The sign of the map is left to LAPACK, so that the object may be at 0 and its surroundings shown (an error); "
        "channels are centred, which the paper does not do (another definition).",
        "utils/svd_on_activations.py:13-18: the comment wants to keep the map from being negative by centring; that "
        "makes it of both signs, `VT[0]` and `-VT[0]` are equally singular vectors, and base_cam.py keeps the positive "
        "half of whichever it is.",
        finding="pytorch-grad-cam-eigencam-sign",
        issue="https://github.com/jacobgil/pytorch-grad-cam/issues/315",
    ),
    _entry(
        "eigengradcam",
        Kind.ERROR,
        _shown(eigengradcam),
        "As eigencam: the sign is left to LAPACK (an error), and channels of G * A are centred (another definition).",
        "eigen_grad_cam.py:21 by utils/svd_on_activations.py:13-18.",
        finding="pytorch-grad-cam-eigencam-sign",
        issue="https://github.com/jacobgil/pytorch-grad-cam/issues/315",
    ),
    _entry(
        "kpcacam",
        Kind.DEFINITION,
        _shown(kpcacam),
        "The sign is a convention: here the one that makes the cell of largest size positive, be it object or not; "
        "in the reference the one that goes with the energy of the activations.",
        "utils/svd_on_activations.py:34-35: scikit-learn's KernelPCA turns each eigenvector so.",
    ),
    _entry(
        "fem",
        Kind.ERROR,
        _shown(fem),
        "Sums activations weighted by the share of cells above the threshold; the paper sums the binary maps of those "
        "cells weighted by the channel's mean.",
        "fem.py:43-45: the mean is taken of the mask, not of the activations, and multiplies these, not the mask. "
        "The comparison is strict, where the paper's is not.",
        finding="pytorch-grad-cam-fem",
    ),
    _entry(
        "scorecam",
        Kind.DETAIL,
        _shown(scorecam),
        "Masks are enlarged corner to corner, and a constant channel takes part in the softmax with a black image.",
        "score_cam.py:24: UpsamplingBilinear2d is `align_corners=True`, unlike every other resize of the library. "
        "Line 37: 1e-8 in the min-max makes the mask of a constant channel 0. Line 54: scores are cut to float32.",
    ),
    _entry(
        "ablationcam",
        Kind.ERROR,
        _shown(ablationcam),
        "Where the least activation is not 0, channel k of a batch is filled with that minus (k + 1) 1e7, so that the "
        "map depends on the batch size (an error); where the score is negative every sign turns, as in the paper's own "
        "ratio (another definition); of tokens the class token is ablated too (another definition).",
        "ablation_layer.py:78-83: the minimum is taken anew for each channel, of a batch in which those before it are "
        "filled already. ablation_cam.py:145 divides by S, not |S|. ablation_layer.py:94-105 fills whole columns.",
        finding="pytorch-grad-cam-ablationcam-batch",
    ),
    _entry(
        "finercam",
        Kind.ERROR,
        _shown(finercam),
        "Contrasts with weights from the softmax and alpha = 1, where the reference has a mean and 0.6 (another "
        "definition); a class about 18 logits ahead of those it is contrasted with is explained upside down (an "
        "error); of classes with the same logit the first is explained, not the one asked for (an error).",
        "utils/model_targets.py:142: 1e-9 is added to the probability of the contrasted classes, which then no longer "
        "cancels: its own derivative takes over. finer_cam.py:91 takes the nearest logit for the class asked for.",
        finding="pytorch-grad-cam-finercam-epsilon",
    ),
    _entry(
        "refinecam",
        Kind.DETAIL,
        refinecam,
        "The epsilon of 1e-6 in each layer's Grad-CAM++. (It is given the layer and the two coarsest of the finer "
        "grids; the reference takes every finer grid.)",
        "grad_cam_plusplus.py:26-28. The loop in refine_cam.py:41-43 assigns to its own variable and has no effect; "
        "its maps are in 0..1 before it.",
    ),
    _entry(
        "fullgrad",
        Kind.ERROR,
        fullgrad,
        "Leaves out the biases of classes derived from Conv2d and BatchNorm2d, as timm's BatchNormAct2d (an error); "
        "the min-max of each channel has an epsilon of 1e-7, so that small gradients count less (a numerical detail).",
        "fullgrad_cam.py:20: `type(layer) in ...`. utils/image.py:165: `img / (1e-7 + max)`, called for each channel "
        "from fullgrad_cam.py:58 and fullgrad_cam.py:71.",
        finding="pytorch-grad-cam-fullgrad-types",
    ),
    _entry(
        "random",
        Kind.DEFINITION,
        _shown(random),
        "Random weights for the channels, not random cells: the map still shows where the activations are.",
        "random_cam.py:21: uniform in -1..1 from NumPy's global generator, once for the whole batch.",
    ),
)
