"""The reference: what each method gives for one image, by the oracles from literal evidence.

Every function here has the options and defaults of camzoo's own method of that name, which are those of
the paper. Where a method draws random numbers, which ones is a part of its definition: `camzoo.noise` says it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from camzoo import noise
from camzoo.conformance import attributions, inner
from camzoo.conformance.evidence import Literal
from camzoo.conformance.inner import NoReference
from camzoo.oracles import activation, contrast, controls, gradient, input, linear, scores, transformer
from camzoo.oracles.grids import Floats, normalise, rectify, resize
from camzoo.types import Resolution, Stage

Reference = Callable[..., Floats]
"""From the evidence of one image, and options by name, to the RAW map."""

__all__ = ["METHODS", "NoReference", "options", "raw", "staged"]


def raw(method: str, evidence: Literal, options: Mapping[str, Any] | None = None) -> Floats:
    """The RAW map of one image.

    Args:
        method: canonical name.
        evidence: of the image.
        options: as camzoo's own method takes them.

    Returns:
        `(h, w)` on the layer's grid or `(H, W)` on the pixels, as the method has it.

    Raises:
        NoReference: the method is not defined for this network, or nobody has written its reference.
    """
    known = {**attributions.METHODS, **METHODS}
    if method not in known:
        raise NoReference(f"there is no reference for {method}")
    return known[method](evidence, **(options or {}))


def staged(values: Floats, stage: Stage, resolution: Resolution, size: tuple[int, ...]) -> Floats:
    """A RAW map as a library gives it: at a later stage, on the layer's grid or at the size of the image.

    Enlarging loses the peak, so a NORMALISED map is normalised once more after it.

    Args:
        values: the RAW map.
        stage: how far the library's map has come.
        resolution: on which grid it lies.
        size: `(H, W)` of the image; a map that has it already is not resized.
    """
    if stage is not Stage.RAW:
        values = rectify(values)
    if stage is Stage.NORMALISED:
        values = normalise(values)
    if resolution is Resolution.LAYER or values.shape == size:
        return values
    values = resize(values, size)
    return normalise(values) if stage is Stage.NORMALISED else values


def options(method: str) -> Mapping[str, Any]:
    """Options with which a method is checked: fewer samples where its default takes many."""
    return {**attributions.FEW, **FEW}.get(method, {})


FEW: Mapping[str, Mapping[str, Any]] = {
    "rise": {"masks": 16},
    "sscam": {"samples": 3},
    "smoothgrad": {"samples": 4},
    "sess": {"num_scales": 2},
}


# ---- one layer


def _of_gradients(oracle: Reference) -> Reference:
    return lambda evidence, **chosen: oracle(*evidence.at(evidence.problem.layer), **chosen)


def _of_activations(oracle: Reference) -> Reference:
    return lambda evidence, **chosen: oracle(evidence.A, **chosen)


def cam(evidence: Literal) -> Floats:
    """CAM: the one linear layer that has a weight for each class and channel, if it makes the scores."""
    W, _ = pooled_head(evidence)
    return linear.cam(evidence.A, W, evidence.c)


def pooled_head(evidence: Literal) -> tuple[Floats, Floats]:
    """`W (classes, K)` and `b (classes,)` where the scores are average pooling and one linear layer.

    Raises:
        NoReference: they are not, for the layer's own output or for a random one.
    """
    A, y, c = evidence.A, evidence.y, evidence.c
    other = np.random.default_rng(0).standard_normal(A.shape)
    mean, other_mean = (grid.reshape(len(A), -1).mean(1) for grid in (A, other))
    wanted = np.array([*y, evidence.tail(other)])
    slack = 1e4 * torch.finfo(evidence.problem.images.dtype).eps * np.abs(wanted).max()
    for head in evidence.problem.model.modules():
        if isinstance(head, torch.nn.Linear) and tuple(head.weight.shape) == (len(y), len(A)):
            W = head.weight.detach().cpu().double().numpy()
            b = np.zeros(len(y)) if head.bias is None else head.bias.detach().cpu().double().numpy()
            found = [*(W @ mean + b), W[c] @ other_mean + b[c]]
            if np.abs(found - wanted).max() <= slack:
                return W, b
    raise NoReference("what comes after the layer is not average pooling and one linear layer")


def shapleycam(evidence: Literal) -> Floats:
    """ShapleyCAM, with the product of Hessian and activations exact."""
    return scores.shapleycam(evidence.A, evidence.G, inner.hessian_product(evidence))


def dff(evidence: Literal, components: int = 4, component: int | None = None, steps: int = 50) -> Floats:
    """Deep feature factorisation from the documented start, by the documented steps.

    `X ~ P Q` with `X (n, K)`; a factorisation is not unique, but this search for one is.
    """
    A, G = evidence.A, evidence.G
    X = activation.cells_by_channels(rectify(A))
    n, K = X.shape
    generator = np.random.default_rng(evidence.problem.seed)
    scale = math.sqrt(X.mean() * 4 / components)
    P, Q = (scale * generator.random((components, length)) for length in (n, K))
    P, Q = activation.multiplicative_updates(X, P.T, Q, steps)
    P, Q = least_squares_updates(X, P, Q, steps)
    lengths = np.sqrt((Q**2).sum(axis=1))
    P = P * lengths
    Q = np.divide(Q, lengths[:, None], out=np.zeros_like(Q), where=lengths[:, None] != 0)
    order = sorted(range(components), key=lambda r: -float(P[:, r].sum()))
    slopes = activation.cells_by_channels(G)
    parts = [float((slopes * np.outer(P[:, r], Q[r])).sum()) for r in order]
    chosen = order[max(range(components), key=lambda place: parts[place]) if component is None else component]
    return np.asarray(P[:, chosen].reshape(A.shape[1:]))


def least_squares_updates(X: Floats, P: Floats, Q: Floats, iterations: int) -> tuple[Floats, Floats]:
    """Each row of Q, then each column of P, in turn set to the best that is not negative, all others held fixed."""
    P, Q = P.copy(), Q.copy()
    for _ in range(iterations):
        for left, right, array in ((P.T, Q, X), (Q, P.T, X.T)):
            for r in range(len(right)):
                others = sum((np.outer(left[s], right[s]) for s in range(len(right)) if s != r), np.zeros(array.shape))
                square = float((left[r] ** 2).sum())
                if square != 0:
                    right[r] = np.maximum((left[r] @ (array - others)) / square, 0)
    return P, Q


# ---- scores of altered inputs and activations


def scorecam(evidence: Literal, top_channels: int | None = None, weights: str = "softmax") -> Floats:
    """Score-CAM; with `weights="score"` the logit itself, where the authors' code has the probability."""
    A = _widest(evidence.A, top_channels)
    oracle = scores.scorecam_authors if weights == "score" else scores.scorecam
    return oracle(A, evidence.x, evidence.score)


def sscam(evidence: Literal, samples: int = 10, std: float = 2.0, top_channels: int | None = None) -> Floats:
    """SS-CAM; each channel and sample has noise of its own."""
    A, x, seed = _widest(evidence.A, top_channels), evidence.x, evidence.problem.seed
    drawn = [[noise.normal(x, x.shape[1:], seed, k, t) for t in range(samples)] for k in range(len(A))]
    return scores.sscam(A, x, evidence.score, std * np.array(drawn))


def iscam(evidence: Literal, samples: int = 10, strength: str = "linear", top_channels: int | None = None) -> Floats:
    """IS-CAM."""
    return scores.iscam(_widest(evidence.A, top_channels), evidence.x, evidence.score, samples, strength)


def _widest(A: Floats, top_channels: int | None) -> Floats:
    """All but the widest channels made constant, since the mask of a constant channel has no part."""
    if top_channels is None:
        return A
    chosen = scores.widest_channels(A, top_channels)
    return np.array([one if k in chosen else np.zeros_like(one) for k, one in enumerate(A)])


def groupcam(evidence: Literal, groups: int = 32) -> Floats:
    """Group-CAM."""
    return scores.groupcam(evidence.A, evidence.G, evidence.x, evidence.score, groups)


def ablationcam(evidence: Literal, closed_form: bool = True) -> Floats:  # noqa: ARG001 (how, not what)
    """Ablation-CAM: the whole network is run for each channel, whatever shorter way there may be."""
    return scores.ablationcam(evidence.A, evidence.tail)


def occlusion(evidence: Literal, window: int | None = None, stride: int | None = None, baseline: float = 0.0) -> Floats:
    """Occlusion, by default with a seventh of each side, in steps of half of that."""
    windows = [window or max(1, round(length / 7)) for length in evidence.size]
    steps = [stride or max(1, side // 2) for side in windows]
    return scores.occlusion(evidence.x, evidence.score, tuple(windows), tuple(steps), baseline)


def rise(evidence: Literal, masks: int = 4000, cells: int = 7, keep: float = 0.5) -> Floats:
    """RISE; mask i is drawn from a generator of the seed and i: its cells, then its place.

    Raises:
        NoReference: the images are no pictures, but volumes.
    """
    if len(evidence.size) != 2:
        raise NoReference("the reference for rise has masks for pictures only")
    height, width = evidence.size
    drawn = []
    for number in range(masks):
        random = noise.generator(evidence.problem.seed, number)
        grid = (random.random((cells, cells)) < keep).astype(np.float64)
        shift = (int(random.integers(math.ceil(height / cells))), int(random.integers(math.ceil(width / cells))))
        drawn.append(scores.rise_mask(grid, (height, width), shift))
    return scores.rise(evidence.x, evidence.score, np.array(drawn), keep)


# ---- other images, other scores, other layers


def elsewhere(evidence: Literal, image: Floats) -> Literal:
    """The evidence for another image `(C, H, W)` and the same class."""
    there = torch.as_tensor(image).to(evidence.problem.images)[None]
    return Literal(replace(evidence.problem, images=there, classes=(evidence.c,)), 0)


def smoothgradcam_plus_plus(evidence: Literal, samples: int = 4, std: float = 0.3) -> Floats:
    """Smooth Grad-CAM++."""
    x, seed = evidence.x, evidence.problem.seed
    noisy = [x + std * noise.normal(x, x.shape, seed, t) for t in range(samples)]
    return scores.smoothgradcam_plus_plus(evidence.A, [evidence.noisy_gradient(image) for image in noisy])


def smoothgrad(evidence: Literal, base: str = "gradcam", samples: int = 16, std: float = 0.15) -> Floats:
    """SmoothGrad: the mean of the maps of noisy images."""
    x, seed = evidence.x, evidence.problem.seed
    sigma = std * (x.max() - x.min())
    maps = [raw(base, elsewhere(evidence, x + sigma * noise.normal(x, x.shape, seed, t))) for t in range(samples)]
    return np.asarray(np.mean(maps, axis=0))


def augmented(evidence: Literal, base: str = "gradcam") -> Floats:
    """The mean of the maps of six copies, those of the mirrored ones mirrored back."""
    x = evidence.x
    maps = [raw(base, elsewhere(evidence, factor * x)) for factor in (0.9, 1.0, 1.1)]
    maps += [raw(base, elsewhere(evidence, factor * x[..., ::-1].copy()))[..., ::-1] for factor in (0.9, 1.0, 1.1)]
    return np.asarray(np.mean(maps, axis=0))


def finercam(
    evidence: Literal,
    alpha: float = 0.6,
    similar: int = 3,
    references: Sequence[int] | None = None,
    weights: str = "mean",
    base: str = "gradcam",
) -> Floats:
    """Finer-CAM: a base method, of activations and gradients, for the contrast."""
    y, c = evidence.y, evidence.c
    others = contrast.similar_classes(y, c, similar) if references is None else sorted({*references} - {c})
    slopes = torch.as_tensor(contrast.finercam_gradient(y, c, others, alpha, weights)).to(evidence.problem.images)
    return _base(base)(*evidence.at(evidence.problem.layer, lambda outputs: (outputs[0] * slopes).sum()))


def refinecam(evidence: Literal, base: str = "gradcam++", layers: Sequence[str] | None = None) -> Floats:
    """RefineCAM."""
    return contrast.refinecam(layer_maps(evidence, base, layers), evidence.size)


def fusion(evidence: Literal, base: str = "gradcam", how: str = "mean", layers: Sequence[str] | None = None) -> Floats:
    """Fusion over layers; for LayerCAM's own every layer but the last is shallow."""
    maps = layer_maps(evidence, base, layers)
    if how == "layercam":
        return contrast.layercam_fusion(maps, evidence.size, [True] * (len(maps) - 1) + [False])
    return contrast.fuse(maps, evidence.size, how)


def layer_maps(evidence: Literal, base: str, layers: Sequence[str] | None) -> list[Floats]:
    """The maps of a base method, of activations and gradients, at several layers."""
    return [_base(base)(*evidence.at(layer)) for layer in layers or stages(evidence)]


def stages(evidence: Literal) -> list[str]:
    """The last layer of each grid size on the way to the layer that is explained; poolings are passed over.

    Of a size only the layers count that are within the fewest modules whose output has another, and whose input goes
    into several of their parts.

    Raises:
        NoReference: the layer is channels-last, and so may be those before it.
    """
    own, layout = evidence.problem.layer, evidence.problem.layout
    if layout.kind == "channels-last":
        raise NoReference("the reference fuses layers whose outputs are (N, K, h, w)")
    ran: list[tuple[str, torch.nn.Module, Any, tuple[int, ...] | None]] = []

    def watch(name: str) -> Callable[[torch.nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            is_grid = isinstance(output, torch.Tensor) and output.ndim == evidence.x.ndim + 1
            grid = layout.shape if name == own else tuple(output.shape[2:]) if is_grid else None
            ran.append((name, module, inputs[0], grid))

        return hook

    modules = [(name, module) for name, module in evidence.problem.model.named_modules() if name]
    handles = [module.register_forward_hook(watch(name)) for name, module in modules]
    try:
        evidence.outputs(evidence.x)
    finally:
        for handle in handles:
            handle.remove()
    ends = {
        block: grid
        for block, _, given, grid in ran
        if grid and sum(name.rpartition(".")[0] == block and taken is given for name, _, taken, _ in ran) > 1
    }
    path = ran[: [name for name, *_ in ran].index(own)]
    grids = {name: grid for name, module, _, grid in path if grid and not _pools(module) and math.prod(grid) > 1}
    lasts = []
    for size in {grid for grid in grids.values() if grid != layout.shape}:
        amid = {
            name: sum(name.startswith(f"{block}.") and end != size for block, end in ends.items())
            for name, grid in grids.items()
            if grid == size
        }
        lasts.append([name for name in amid if amid[name] == min(amid.values())][-1])
    return [*(name for name in grids if name in lasts), own]


def _pools(module: torch.nn.Module) -> bool:
    return "pool" in type(module).__name__.lower()


def _base(name: str) -> Reference:
    """An oracle of activations and gradients."""
    if name not in GRADIENT:
        raise NoReference(f"the reference takes {', '.join(GRADIENT)} as a base, not {name}")
    return GRADIENT[name]


# ---- the image, the attention, nothing at all


def guided_backprop(evidence: Literal) -> Floats:
    """Guided backpropagation."""
    return input.colours_summed(inner.guided(evidence))


def guided_gradcam(evidence: Literal) -> Floats:
    """Guided Grad-CAM."""
    return input.guided_gradcam(inner.guided(evidence), gradient.gradcam(evidence.A, evidence.G))


def fullgrad(evidence: Literal, rescale: str = "channel") -> Floats:
    """FullGrad."""
    return input.fullgrad(evidence.x, evidence.input_gradient, inner.bias_terms(evidence), rescale)


def attention_rollout(evidence: Literal) -> Floats:
    """Attention rollout."""
    return transformer.rollout(np.array(inner.attention(evidence)), *_tokens(evidence))


def legrad(evidence: Literal) -> Floats:
    """LeGrad."""
    return transformer.legrad(np.array(inner.attention_gradients(evidence)), *_tokens(evidence))


def _tokens(evidence: Literal) -> tuple[tuple[int, int], int]:
    layout = evidence.problem.layout
    return (layout.shape[0], layout.shape[1]), layout.prefix


def random(evidence: Literal) -> Floats:
    """Noise."""
    return controls.random(evidence.A.shape[1:], evidence.problem.seed)


def uniform(evidence: Literal) -> Floats:
    """Ones."""
    return controls.uniform(evidence.A.shape[1:])


def center(evidence: Literal, sigma: float = 0.25) -> Floats:
    """The middle."""
    return controls.center(evidence.A.shape[1:], sigma)


def sobel(evidence: Literal) -> Floats:
    """Edges."""
    return controls.sobel(evidence.x)


GRADIENT: Mapping[str, Reference] = {
    "gradcam": gradient.gradcam,
    "counterfactual-gradcam": gradient.counterfactual_gradcam,
    "gradcam++": gradient.gradcam_plus_plus,
    "hirescam": gradient.hirescam,
    "gradcam-elementwise": gradient.gradcam_elementwise,
    "xgradcam": gradient.xgradcam,
    "layercam": gradient.layercam,
    "eigengradcam": gradient.eigengradcam,
    "segeigencam": activation.segeigencam,
}
"""The oracles of activations and gradients `(K, h, w)`."""

METHODS: Mapping[str, Reference] = {
    **{name: _of_gradients(oracle) for name, oracle in GRADIENT.items()},
    "eigencam": _of_activations(activation.eigencam),
    "kpcacam": _of_activations(activation.kpcacam),
    "fem": _of_activations(activation.fem),
    "cam": cam,
    "shapleycam": shapleycam,
    "dff": dff,
    "scorecam": scorecam,
    "sscam": sscam,
    "iscam": iscam,
    "groupcam": groupcam,
    "ablationcam": ablationcam,
    "occlusion": occlusion,
    "rise": rise,
    "smoothgradcam++": smoothgradcam_plus_plus,
    "smoothgrad": smoothgrad,
    "augmented": augmented,
    "finercam": finercam,
    "refinecam": refinecam,
    "fusion": fusion,
    "guided-backprop": guided_backprop,
    "guided-gradcam": guided_gradcam,
    "fullgrad": fullgrad,
    "attention-rollout": attention_rollout,
    "legrad": legrad,
    "random": random,
    "uniform": uniform,
    "center": center,
    "sobel": sobel,
}
"""The reference of every method."""
