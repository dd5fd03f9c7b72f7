"""Where captum parts from the reference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from camzoo.conformance import attributions
from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences._entry import Difference
from camzoo.conformance.verdicts import Kind
from camzoo.oracles import attribution, propagation
from camzoo.oracles.attribution import Coalition, largest, summed
from camzoo.oracles.grids import Floats
from camzoo.oracles.propagation import MaxPool, Relu, Softplus

OPTIONS: Mapping[str, Mapping[str, Any]] = {**attributions.FEW, "smoothgrad": {"n_samples": 11}}
"""Options with which captum is checked: those of the references, and few samples."""

N_STEPS: int = OPTIONS["conductance"]["n_steps"]
CELLS: int = OPTIONS["lime"]["cells"]


# ---- along paths


def single_precision(n_steps: int) -> attribution.Rule:
    """Gauss and Legendre's rule with weights rounded to float32."""
    nodes, weights = attribution.gauss_legendre(n_steps)
    return nodes, weights.astype(np.float32).astype(np.float64)


def conductance(evidence: Literal) -> Floats:
    """`sum_i dS/dA(t_i) * (A(t_{i+1}) - A(t_i))` over the nodes of one step more, without their weights."""
    nodes, _ = attribution.gauss_legendre(N_STEPS + 1)
    places = [attributions.at(evidence, t * evidence.x) for t in nodes]
    parts = [slope * (after - A) for (A, slope), (after, _) in itertools.pairwise(places)]
    return attributions.of_layer(evidence, sum(parts[1:], start=parts[0]))


# ---- DeepLIFT

RULED = (Relu, Softplus, MaxPool)
"""The layers in whose place DeepLIFT puts a multiplier for the gradient."""


def deeplift(evidence: Literal, baselines: Sequence[Floats], place: int) -> Floats:
    """DeepLIFT with a multiplier for the image and one for the baseline, as plain gradients differ between them.

    Of two layers in a row that have a rule, that of the second is lost; where windows overlap, a max pooling's too.
    """
    chain, x = attributions.chain_of(evidence), evidence.x
    return summed(attribution.mean([_deeplift(chain, x, b, evidence.c, place) for b in baselines]))


def _deeplift(chain: Sequence[propagation.Layer], x: Floats, baseline: Floats, c: int, place: int) -> Floats:
    values = propagation.forward(chain, x), propagation.forward(chain, baseline)
    pair = [np.eye(len(values[0][-1]))[c]] * 2
    for at in reversed(range(place, len(chain))):
        layer, ends = chain[at], (values[0][at], values[1][at])
        if not isinstance(layer, RULED):
            pair = [propagation.transposed(layer, z, g) for g, z in zip(pair, ends, strict=True)]
        elif at > place and isinstance(chain[at - 1], RULED):
            pair = [_plain(layer, z, g) for g, z in zip(pair, ends, strict=True)]
        elif isinstance(layer, MaxPool):
            pair = [_unpooled(layer, pair, ends)] * 2
        else:
            above = values[0][at + 1] - values[1][at + 1]
            pair = [_rescaled(layer, g, z, ends, above) for g, z in zip(pair, ends, strict=True)]
    return np.asarray(pair[0] * (values[0][place] - values[1][place]))


def _plain(layer: propagation.Pointwise | MaxPool, z: Floats, g: Floats) -> Floats:
    return propagation.routed(layer, z, g) if isinstance(layer, MaxPool) else propagation.plain(layer, z, g)


def _rescaled(layer: propagation.Pointwise, g: Floats, z: Floats, ends: tuple[Floats, Floats], above: Floats) -> Floats:
    below = ends[0] - ends[1]
    flat = np.abs(below) < 1e-10
    return np.where(flat, propagation.plain(layer, z, g), g * above / np.where(flat, 1.0, below))


def _unpooled(layer: MaxPool, pair: Sequence[Floats], ends: tuple[Floats, Floats]) -> Floats:
    """The rule of max pooling where, of windows that share a winner, only the last is kept."""
    taken, replaced = (dict(propagation.winners(layer, z)) for z in ends)
    credit, back = np.zeros_like(ends[0]), np.zeros_like(ends[0])
    for cell, winner in taken.items():
        here, there = ends[0][winner], ends[1][replaced[cell]]
        credit[winner] = pair[0][cell] * (max(here, there) - there)
    for cell, winner in replaced.items():
        here, there = ends[0][taken[cell]], ends[1][winner]
        back[winner] = pair[1][cell] * (here - max(here, there))
    below = ends[0] - ends[1]
    flat = np.abs(below) < 1e-10
    return np.where(flat, propagation.routed(layer, ends[0], pair[0]), (credit + back) / np.where(flat, 1.0, below))


def _zero(evidence: Literal) -> list[Floats]:
    return [np.zeros_like(evidence.x)]


def _noise(evidence: Literal) -> list[Floats]:
    return list(attributions.noise_images(evidence))


# ---- noise and patches


def smoothgrad(evidence: Literal) -> Floats:
    """The largest absolute value, over channels, of the mean gradient by noisy images."""
    return largest(attribution.smoothgrad(attributions.noisy_slopes(evidence, OPTIONS["smoothgrad"]["n_samples"])))


def kernelshap(evidence: Literal) -> Floats:
    """Kernel SHAP with a weight of a million at none and all of the patches, in the place of an infinite one."""
    patches = attributions.patches_of(evidence, CELLS)
    value, count = attributions.value_of(evidence, patches), int(patches.max()) + 1
    ends: list[Coalition] = [(1,) * count, (0,) * count]
    drawn = ends + attributions.kernel_coalitions(evidence, count, OPTIONS["kernelshap"]["n_samples"] - 2)
    roots = np.sqrt([1e6] * 2 + [1.0] * (len(drawn) - 2))
    design = np.column_stack([np.ones(len(drawn)), np.array(drawn, dtype=np.float64)])
    wanted = np.array([value(kept) for kept in drawn])
    found = np.linalg.lstsq(design * roots[:, None], wanted * roots, rcond=None)[0]
    return attribution.painted(found[1:], patches)


def lime(evidence: Literal) -> Floats:
    """LIME whose lasso stops at the first round that changes no coefficient by 1e-4 of the largest."""
    patches = attributions.patches_of(evidence, CELLS)
    value, count = attributions.value_of(evidence, patches), int(patches.max()) + 1
    drawn = attributions.even_coalitions(evidence, count, OPTIONS["lime"]["n_samples"])
    zero = np.zeros_like(evidence.x)
    weights = [
        attribution.cosine_kernel(evidence.x, attribution.hidden(evidence.x, zero, patches, kept)) for kept in drawn
    ]
    return attribution.painted(stopped_lasso([value(kept) for kept in drawn], drawn, weights), patches)


def stopped_lasso(
    values: Sequence[float], coalitions: Sequence[Coalition], weights: Sequence[float], alpha: float = 0.01
) -> Floats:
    """Coordinate descent that ends once a round changes little and the duality gap is small: both by 1e-4."""
    w = np.array(weights) * len(weights) / sum(weights)
    Z, v = np.array(coalitions, dtype=np.float64), np.array(values)
    Z, v = Z - w @ Z / len(w), v - w @ v / len(w)
    Z, v, penalty = Z * np.sqrt(w)[:, None], v * np.sqrt(w), alpha * len(w)
    phi, rest = np.zeros(Z.shape[1]), v.copy()
    for _ in range(1000):
        before = phi.copy()
        for i in range(len(phi)):
            square = float(Z[:, i] @ Z[:, i])
            pull = float(Z[:, i] @ rest) + phi[i] * square
            changed = math.copysign(max(abs(pull) - penalty, 0.0), pull) / square
            rest = rest - (changed - phi[i]) * Z[:, i]
            phi[i] = changed
        settled = np.abs(phi - before).max() <= 1e-4 * np.abs(phi).max()
        if settled and _gap(Z, v, phi, rest, penalty) <= 1e-4 * float(v @ v):
            break
    return phi


def _gap(Z: Floats, v: Floats, phi: Floats, rest: Floats, penalty: float) -> float:
    """The lasso's objective at phi less that of a point of its dual, which is never above the optimum."""
    dual = rest * min(1.0, penalty / float(np.abs(Z.T @ rest).max()))
    return float(rest @ rest / 2 + penalty * np.abs(phi).sum() - (dual @ v - dual @ dual / 2))


# ---- the entries

_VERSIONS = "==0.9.0"


def _weights(method: str, integrate: Callable[[Literal, attribution.Rule], Floats], line: str) -> Difference:
    return Difference(
        "captum",
        method,
        _VERSIONS,
        Kind.DETAIL,
        "the weights of the quadrature are rounded to single precision, whatever the dtype of the model",
        f"{line}: torch.tensor(step_sizes) is float32, which leaves a relative error of some 1e-9 in float64",
        lambda evidence: integrate(evidence, single_precision(N_STEPS)),
    )


def _max_pooling(method: str, variant: Callable[[Literal], Floats]) -> Difference:
    return Difference(
        "captum",
        method,
        _VERSIONS,
        Kind.ERROR,
        "of two modules in a row that have a rule, such as a ReLU and a max pooling, the second is passed by its plain "
        "gradient, and of pooling windows that share a winner only the last is counted: attributions no longer add up "
        "to the change of the score",
        "captum/_utils/common.py:884 keeps the gradient of a module's output before the hook that the next module has "
        "put on the same tensor as its input (line 902) has changed it; captum/attr/_core/deep_lift.py:1038 undoes the "
        "pooling by max_unpool, which writes a cell once",
        variant,
        "captum-deeplift-rules-in-a-row",
        "https://github.com/meta-pytorch/captum/issues/1104",
    )


ENTRIES: tuple[Difference, ...] = (
    _weights("integrated-gradients", attributions.integrated, "captum/attr/_core/integrated_gradients.py:377"),
    _weights(
        "layer-integrated-gradients", attributions.layer_integrated, "captum/attr/_core/integrated_gradients.py:377"
    ),
    _weights("internal-influence", attributions.influence, "captum/attr/_core/layer/internal_influence.py:307"),
    Difference(
        "captum",
        "conductance",
        _VERSIONS,
        Kind.ERROR,
        "the rule of quadrature is not applied: gradients at its nodes are multiplied by the layer's change up to the "
        "next node, and what lies before the first node and after the last is left out",
        "captum/attr/_core/layer/layer_conductance.py:343 and 387: the weights of the rule are dropped, and "
        "differences are taken between nodes, which for gausslegendre, riemann_left, riemann_right and "
        "riemann_middle do not reach both ends of the path",
        conductance,
        "captum-conductance-ends",
    ),
    _max_pooling("deeplift", lambda evidence: deeplift(evidence, _zero(evidence), 0)),
    _max_pooling("deeplift-shap", lambda evidence: deeplift(evidence, _noise(evidence), 0)),
    _max_pooling(
        "layer-deeplift", lambda evidence: deeplift(evidence, _zero(evidence), attributions.place_of(evidence))
    ),
    _max_pooling(
        "layer-deeplift-shap", lambda evidence: deeplift(evidence, _noise(evidence), attributions.place_of(evidence))
    ),
    Difference(
        "captum",
        "smoothgrad",
        _VERSIONS,
        Kind.DEFINITION,
        "the mean of the gradients by the pixels, as in the paper, where camzoo's method of this name averages the "
        "maps of a CAM",
        "captum/attr/_core/noise_tunnel.py:82 around Saliency; the noise is that of PyTorch's generator, drawn in "
        "single precision (line 353)",
        smoothgrad,
    ),
    Difference(
        "captum",
        "kernelshap",
        _VERSIONS,
        Kind.DETAIL,
        "the coalitions of none and all of the patches weigh a million where the paper's kernel is infinite, and the "
        "least squares are solved in single precision",
        "captum/attr/_core/kernel_shap.py:44 (inf_weight); captum/attr/_core/lime.py:505-513 (.float()), which with "
        "49 patches and 300 samples leaves an error of 6e-4",
        kernelshap,
    ),
    Difference(
        "captum",
        "lime",
        _VERSIONS,
        Kind.DETAIL,
        "the lasso ends before it has converged: at the first round that changes no coefficient by more than 1e-4 of "
        "the largest",
        "captum/attr/_core/lime.py:863 leaves scikit-learn's Lasso at its default of tol=1e-4; the scores are rounded "
        "to float32 (lines 505-513)",
        lime,
    ),
)
"""One for each method that parts from its reference at a built-in problem."""
