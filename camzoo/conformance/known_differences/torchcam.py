"""Where torchcam parts from the reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences._entry import Difference
from camzoo.conformance.known_differences._layers import coarse_to_fine
from camzoo.conformance.reference import elsewhere
from camzoo.conformance.verdicts import Kind
from camzoo.oracles.gradient import weighted_sum
from camzoo.oracles.grids import Floats, rectify, resize
from camzoo.oracles.scores import softmax
from camzoo.oracles.transformer import legrad

OPTIONS: dict[str, dict[str, Any]] = {"sscam": {"num_samples": 3}, "iscam": {"num_samples": 10}}
"""What the check asks for and the variants honour: as many samples as the reference takes."""

EPSILON = 1e-8
SAMPLES, SPREAD = 4, 0.3  # noisy images of SmoothGradCAMpp, and the standard deviation of their noise
MASK_SPREAD = 2.0  # the same of SSCAM's noise on its masks


# What several of them share


def _draws(count: int, shape: tuple[int, ...], std: float, seed: int) -> list[Floats]:
    """Normal numbers as torch draws them: a call for each sample, since a call of another size gives others."""
    generator = torch.Generator().manual_seed(seed)
    mean, spread = torch.zeros(shape), torch.full(shape, std)
    return [np.asarray(torch.normal(mean, spread, generator=generator).double().numpy()) for _ in range(count)]


def _scaled(values: Floats) -> Floats:
    """Min-max with an epsilon beside the range."""
    return np.asarray((values - values.min()) / (values.max() - values.min() + EPSILON))


# From the gradients


def _weigh_by_cubes(A: Floats, G: Floats) -> Floats:
    """`relu(sum_k [sum_ij G^2 relu(G)] A_k)`: Grad-CAM++ with the numerator of alpha alone, never divided."""
    return rectify(weighted_sum((G**2 * np.maximum(G, 0)).sum(axis=(1, 2)), A))


def _gradcam_plus_plus(evidence: Literal) -> Floats:
    return _weigh_by_cubes(*evidence.at(evidence.problem.layer))


def _xgradcam(evidence: Literal) -> Floats:
    """`sum_k [sum_ij G_k A_k / (sum_ij A_k + epsilon)] A_k`."""
    A, G = evidence.at(evidence.problem.layer)
    return rectify(weighted_sum((G * A).sum(axis=(1, 2)) / (A.sum(axis=(1, 2)) + EPSILON), A))


def _smoothgradcam_plus_plus(evidence: Literal) -> Floats:
    """Smooth Grad-CAM++ with `sum_ij (A_k D_3)` for `(sum_ij A_k) D_3`, and the last noisy image's `A` and `D_1`."""
    problem, x = evidence.problem, evidence.x
    noise = _draws(SAMPLES, x.shape, SPREAD, problem.seed)
    taken = [elsewhere(evidence, x + each).at(problem.layer) for each in noise]
    second, third = (np.mean([G**power for _, G in taken], axis=0) for power in (2, 3))
    mixed = (third * evidence.A).sum(axis=(1, 2), keepdims=True)
    last_A, last_G = taken[-1]
    alpha = second / (2 * second + mixed + EPSILON)
    return rectify(weighted_sum((alpha * np.maximum(last_G, 0)).sum(axis=(1, 2)), last_A))


def _refinecam(evidence: Literal) -> Floats:
    """`prod_l up(mm(mm(relu(L_l))))`: scaled before it is enlarged, twice, and `L_l` of the Grad-CAM++ above."""
    maps = [_weigh_by_cubes(*evidence.at(layer)) for layer in coarse_to_fine(evidence)]
    return np.asarray(np.prod([resize(_scaled(_scaled(one)), evidence.size) for one in maps], axis=0))


# From the scores of masked images


def _masks(evidence: Literal, A: Floats) -> list[Floats]:
    """`up(mm(A_k))`: scaled on the layer's grid and enlarged afterwards; a constant channel gives a mask of zeros."""
    return [resize(_scaled(one), evidence.size) for one in A]


def _score_weighted(evidence: Literal, score: Callable[[int, Floats], float]) -> Floats:
    """`relu(sum_k softmax_k(s) A_k)` with `s_k` of channel `k` and its mask; every channel has a part."""
    A = evidence.A
    return rectify(weighted_sum(softmax([score(k, mask) for k, mask in enumerate(_masks(evidence, A))]), A))


def _scorecam(evidence: Literal) -> Floats:
    return _score_weighted(evidence, lambda _, mask: evidence.score(mask * evidence.x))


def _sscam(evidence: Literal) -> Floats:
    """Noise of every channel is drawn at once, for one sample after the other."""
    shape = (len(evidence.A), *evidence.size)
    noise = _draws(OPTIONS["sscam"]["num_samples"], shape, MASK_SPREAD, evidence.problem.seed)
    return _score_weighted(
        evidence, lambda k, mask: float(np.mean([evidence.score((mask + each[k]) * evidence.x) for each in noise]))
    )


def _iscam(evidence: Literal) -> Floats:
    """The strengths are the running sums of `t/T`, `t (t + 1) / (2 T)`, from `1/T` to `(T + 1)/2`."""
    steps = np.arange(1, OPTIONS["iscam"]["num_samples"] + 1)
    strengths = np.cumsum(steps / len(steps))
    return _score_weighted(
        evidence,
        lambda _, mask: float(np.mean([evidence.score(strength * mask * evidence.x) for strength in strengths])),
    )


# From the attention


def _attention_gradient(evidence: Literal, block: nn.Module, read: Callable[[torch.Tensor], torch.Tensor]) -> Floats:
    """`ds/dB (heads, t, t)`, `B` the attention probabilities of a block, `s` a score of its tokens `(1, t, D)`."""
    kept: list[torch.Tensor] = []

    def attend(attention: Any, inputs: tuple[torch.Tensor, ...], _output: object) -> tuple[torch.Tensor, None]:
        projected = nn.functional.linear(inputs[0], attention.in_proj_weight, attention.in_proj_bias)
        parts = projected.reshape(1, -1, 3, attention.num_heads, attention.head_dim)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(attention.head_dim), dim=-1)
        kept.append(weights.detach().requires_grad_())
        return attention.out_proj((kept[0] @ value).transpose(1, 2).flatten(2)), None

    def look(_block: nn.Module, _inputs: object, tokens: torch.Tensor) -> None:
        kept.append(tokens)

    inside = block.get_submodule("self_attention")
    with torch.enable_grad(), inside.register_forward_hook(attend), block.register_forward_hook(look):
        evidence.problem.model(evidence.image)
        weights, tokens = kept
        (gradient,) = torch.autograd.grad(read(tokens), weights)
    return np.asarray(gradient[0].detach().cpu().double().numpy())


def _legrad(evidence: Literal) -> Floats:
    """LeGrad of the one block that holds the layer, its score read off the mean of all tokens."""
    problem = evidence.problem
    model: Any = problem.model
    parts = problem.layer.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    block = next(model.get_submodule(name) for name in names if hasattr(model.get_submodule(name), "self_attention"))

    def read(tokens: torch.Tensor) -> torch.Tensor:
        score: torch.Tensor = model.heads(model.encoder.ln(tokens.mean(dim=1)))[0, evidence.c]
        return score

    height, width = problem.layout.shape
    return legrad(_attention_gradient(evidence, block, read)[None], (height, width), problem.layout.prefix)


def _entry(
    method: str, kind: Kind, what: str, why: str, variant: Callable[[Literal], Floats], **more: str
) -> Difference:
    return Difference("torchcam", method, "==0.5.0", kind, what, why, variant, **more)


ENTRIES: tuple[Difference, ...] = (
    _entry(
        "gradcam++",
        Kind.ERROR,
        "The alpha of Grad-CAM++ is never divided by its denominator: channels are weighed by the sum of their cubed "
        "positive gradients.",
        "methods/gradient.py:203: `alpha[idx][mask]` is a copy, and `div_` divides the copy. The denominator, made in "
        "line 197, would not be that of eq. 19 either: it multiplies A by G^3 before the sum over cells, not after.",
        _gradcam_plus_plus,
        finding="torchcam-gradcam-plus-plus",
    ),
    _entry(
        "smoothgradcam++",
        Kind.ERROR,
        "Three things are not those of the docstring: the denominator of alpha, and the activations and first "
        "derivatives, which are those of the last noisy image alone. (The noise is torch's own, by the same seed.)",
        "methods/gradient.py:342 multiplies A by D_3 before the sum over cells, not after, and adds 1e-8; line 347 "
        "takes the gradient left over from the last turn of the loop of line 323, and the forward passes of line 328 "
        "have replaced the activations that methods/core.py:288 reads.",
        _smoothgradcam_plus_plus,
        finding="torchcam-smoothgradcam-plus-plus",
    ),
    _entry(
        "xgradcam",
        Kind.DETAIL,
        "1e-8 is added to the sum of a channel's activations.",
        "methods/gradient.py:405: `.add(eps)`.",
        _xgradcam,
    ),
    _entry(
        "scorecam",
        Kind.ERROR,
        "Masks are scaled to 0..1 on the layer's grid and enlarged afterwards, so that most no longer reach 0 and 1. "
        "(A constant channel counts in the softmax with a mask of zeros; 1e-8 is added to each range.)",
        "methods/activation.py:279 scales what line 193 enlarges; the docstring, as the paper, scales U(A_k).",
        _scorecam,
        finding="torchcam-scorecam-masks",
    ),
    _entry(
        "sscam",
        Kind.ERROR,
        "Masks are scaled before they are enlarged, as in this library's Score-CAM. (The noise is torch's own, by the "
        "same seed, and every channel counts in the softmax.)",
        "methods/activation.py:279 scales what line 362 enlarges; the docstring scales U(A_k).",
        _sscam,
        finding="torchcam-scorecam-masks",
    ),
    _entry(
        "iscam",
        Kind.ERROR,
        "The strengths of the masks run from 1/T to (T + 1)/2, one step ahead of those in the docstring, and past the "
        "whole mask. (Masks are scaled before they are enlarged, as in this library's Score-CAM.)",
        "methods/activation.py:471 adds `(sidx + 1) / T` to a running sum; the docstring's sum ends one term earlier.",
        _iscam,
        finding="torchcam-iscam-strength",
        issue="https://github.com/frgfm/torch-cam/issues/154",
    ),
    _entry(
        "refinecam",
        Kind.ERROR,
        "Its maps are those of this library's Grad-CAM++. (They are scaled before they are enlarged, as the docstring "
        "says, with 1e-8 beside the range, and lie on the two coarsest of the finer grids at most.)",
        "methods/gradient.py:203, as for Grad-CAM++; lines 882 and 922 scale, line 921 enlarges.",
        _refinecam,
        finding="torchcam-gradcam-plus-plus",
    ),
    _entry(
        "legrad",
        Kind.DEFINITION,
        "The score of a block is read off the mean of all its tokens, as in the authors' code, whatever token the "
        "model itself reads; and it is asked for the one block that holds the layer.",
        "methods/gradient.py:570: `tokens.mean(dim=1)`. Blocks have to be named, and the layer names one.",
        _legrad,
    ),
)
