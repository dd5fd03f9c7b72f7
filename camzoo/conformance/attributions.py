"""The reference for attributions that camzoo has no method of its own for: what their papers give for one image.

Channels become one map as the docstring of each function says. The baseline is an image of zeros, or for methods that
take a distribution of them five images of standard normal noise. Draws are those of PyTorch's and NumPy's generators
from the problem's seed, an image at a time: what is held to the paper is what is made of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camzoo.conformance.evidence import Literal
from camzoo.conformance.inner import NoReference
from camzoo.oracles import attribution, gradient, propagation
from camzoo.oracles import sess as windows
from camzoo.oracles.attribution import Coalition, Patches, Rule, Value, largest, summed
from camzoo.oracles.grids import Floats, normalise, rectify, resize

Reference = Callable[..., Floats]
"""From the evidence of one image, and options by name, to the RAW map."""

NOISE = 0.15
"""Standard deviation of SmoothGrad's noise, as a share of the image's range."""

FEW: Mapping[str, Mapping[str, Any]] = {
    "integrated-gradients": {"n_steps": 12},
    "layer-integrated-gradients": {"n_steps": 12},
    "internal-influence": {"n_steps": 12},
    "conductance": {"n_steps": 12},
    "gradient-shap": {"n_samples": 6},
    "layer-gradient-shap": {"n_samples": 6},
    "smoothgrad-squared": {"n_samples": 11},
    "vargrad": {"n_samples": 11},
    "feature-ablation": {"cells": 7},
    "layer-feature-ablation": {"cells": 7},
    "feature-permutation": {"cells": 4},
    "layer-feature-permutation": {"cells": 4},
    "lime": {"cells": 3, "n_samples": 40},
    "kernelshap": {"cells": 3, "n_samples": 300},
    "shapley-sampling": {"cells": 3, "n_samples": 4},
}
"""Options with which these are checked: small ones."""

CHUNK = 8
"""Noise is drawn for so many copies of the image at a time."""


# ---- gradients by the image and along paths


def saliency(evidence: Literal) -> Floats:
    """`max_k |dS/dx_k|`: Simonyan 2013, 1312.6034, section 3.1."""
    return largest(evidence.input_gradient)


def input_x_gradient(evidence: Literal) -> Floats:
    """`sum_k x_k dS/dx_k`: Shrikumar 2016, 1605.01713."""
    return summed(evidence.x * evidence.input_gradient)


def integrated_gradients(evidence: Literal, n_steps: int = 50) -> Floats:
    """Integrated gradients from zero, by Gauss and Legendre's rule, summed over channels."""
    return integrated(evidence, attribution.gauss_legendre(n_steps))


def layer_integrated_gradients(evidence: Literal, n_steps: int = 50) -> Floats:
    """The same from the layer's output at zero to that at the image, along a line in the layer."""
    return layer_integrated(evidence, attribution.gauss_legendre(n_steps))


def internal_influence(evidence: Literal, n_steps: int = 50) -> Floats:
    """The mean of `dS/dA` over the images between zero and x, summed over channels."""
    return influence(evidence, attribution.gauss_legendre(n_steps))


def integrated(evidence: Literal, rule: Rule) -> Floats:
    """Integrated gradients by any rule of quadrature."""
    x = evidence.x
    return summed(attribution.integrated_gradients(x, np.zeros_like(x), lambda image: slope(evidence, image), rule))


def layer_integrated(evidence: Literal, rule: Rule) -> Floats:
    """The same in the layer."""
    (A, _), (start, _) = at(evidence, evidence.x), at(evidence, np.zeros_like(evidence.x))
    found = attribution.integrated_gradients(A, start, lambda output: beyond(evidence, output), rule)
    return of_layer(evidence, found)


def influence(evidence: Literal, rule: Rule) -> Floats:
    """Internal influence by any rule of quadrature."""
    x = evidence.x
    found = attribution.internal_influence(x, np.zeros_like(x), lambda image: at(evidence, image)[1], rule)
    return of_layer(evidence, found)


def conductance(evidence: Literal, n_steps: int = 50) -> Floats:
    """Conductance by Gauss and Legendre's rule, summed over channels."""
    x, rule = evidence.x, attribution.gauss_legendre(n_steps)
    found = attribution.conductance(
        x, np.zeros_like(x), lambda image: at(evidence, image)[1], lambda image: speed(evidence, image, x), rule
    )
    return of_layer(evidence, found)


def gradient_shap(evidence: Literal, n_samples: int = 10) -> Floats:
    """Expected gradients over draws of a baseline and a place between it and the image, summed over channels."""
    x = evidence.x
    pairs = ((x - b, slope(evidence, t * x + (1 - t) * b)) for b, t in between(evidence, n_samples))
    return summed(attribution.expected_gradients(pairs))


def layer_gradient_shap(evidence: Literal, n_samples: int = 10) -> Floats:
    """The same with `A(x) - A(b)` and the gradient by the layer."""
    x = evidence.x
    A, _ = at(evidence, x)
    pairs = ((A - at(evidence, b)[0], at(evidence, t * x + (1 - t) * b)[1]) for b, t in between(evidence, n_samples))
    return of_layer(evidence, attribution.expected_gradients(pairs))


def layer_activation(evidence: Literal) -> Floats:
    """`sum_k A_k`.

    Raises:
        NoReference: it is zero in every cell, as after a LayerNorm: there is nothing that a map could be relative to.
    """
    return of_some_size(summed(evidence.A), summed(np.abs(evidence.A)))


# ---- noise


def smoothgrad_squared(evidence: Literal, n_samples: int = 25) -> Floats:
    """SmoothGrad-squared, summed over channels."""
    return summed(attribution.smoothgrad_squared(noisy_slopes(evidence, n_samples)))


def vargrad(evidence: Literal, n_samples: int = 25) -> Floats:
    """VarGrad, summed over channels.

    Raises:
        NoReference: the gradient is the same everywhere, so that its variance is zero.
    """
    slopes = noisy_slopes(evidence, n_samples)
    return of_some_size(summed(attribution.vargrad(slopes)), summed(attribution.smoothgrad_squared(slopes)))


def noisy_slopes(evidence: Literal, n_samples: int) -> list[Floats]:
    """`dS/dx` at noisy images; the noise is drawn in single precision."""
    x, draws = evidence.x, _torch_draws(evidence)
    sigma = torch.tensor(NOISE * float(x.max() - x.min()), dtype=torch.float32)
    found: list[Floats] = []
    while len(found) < n_samples:
        left = n_samples - len(found)
        size = CHUNK if left >= CHUNK else left
        noise = torch.normal(0.0, sigma.repeat(size, *x.shape), generator=draws).double().numpy()
        found += [slope(evidence, x + one) for one in noise]
    return found


# ---- rules that hand the score back


def deconvolution(evidence: Literal) -> Floats:
    """The deconvolution signal, summed over channels."""
    chain = chain_of(evidence)
    values = propagation.forward(chain, evidence.x)
    return summed(propagation.backward(chain, values, evidence.c, propagation.rectified)[0])


def deeplift(evidence: Literal) -> Floats:
    """DeepLIFT from zero by the rescale rule, summed over channels."""
    x = evidence.x
    return summed(propagation.deeplift(chain_of(evidence), x, np.zeros_like(x), evidence.c)[0])


def layer_deeplift(evidence: Literal) -> Floats:
    """The same of the layer's output."""
    x = evidence.x
    return summed(propagation.deeplift(chain_of(evidence), x, np.zeros_like(x), evidence.c)[place_of(evidence)])


def deeplift_shap(evidence: Literal) -> Floats:
    """The mean of DeepLIFT from each image of noise, summed over channels: Lundberg 2017, 1705.07874."""
    return _many_deeplift(evidence, 0)


def layer_deeplift_shap(evidence: Literal) -> Floats:
    """The same of the layer's output."""
    return _many_deeplift(evidence, place_of(evidence))


def _many_deeplift(evidence: Literal, place: int) -> Floats:
    chain, x = chain_of(evidence), evidence.x
    found = [propagation.deeplift(chain, x, b, evidence.c)[place] for b in noise_images(evidence)]
    return summed(attribution.mean(found))


def lrp(evidence: Literal) -> Floats:
    """LRP by the epsilon rule, summed over channels."""
    return summed(propagation.lrp(chain_of(evidence), evidence.x, evidence.c)[0])


def layer_lrp(evidence: Literal) -> Floats:
    """The relevance of the layer's output, summed over channels."""
    return summed(propagation.lrp(chain_of(evidence), evidence.x, evidence.c)[place_of(evidence)])


# ---- patches


def feature_ablation(evidence: Literal, cells: int = 14) -> Floats:
    """The drop of the score with each patch at zero."""
    return _of_patches(evidence, cells, attribution.ablation)


def shapley_values(evidence: Literal, cells: int = 2) -> Floats:
    """Shapley values of the patches, exact."""
    return _of_patches(evidence, cells, attribution.shapley)


def shapley_sampling(evidence: Literal, cells: int = 7, n_samples: int = 8) -> Floats:
    """Shapley values over orders that are drawn."""

    def solve(value: Value, count: int) -> Floats:
        draws = _torch_draws(evidence)
        orders = [torch.randperm(count, generator=draws).tolist() for _ in range(n_samples)]
        return attribution.shapley_sampling(value, orders)

    return _of_patches(evidence, cells, solve)


def kernelshap(evidence: Literal, cells: int = 7, n_samples: int = 300) -> Floats:
    """Kernel SHAP over coalitions drawn from the Shapley kernel; two of the number are none and all."""

    def solve(value: Value, count: int) -> Floats:
        drawn = kernel_coalitions(evidence, count, n_samples - 2)
        return attribution.kernelshap(value, drawn, [1.0] * len(drawn))

    return _of_patches(evidence, cells, solve)


def lime(evidence: Literal, cells: int = 7, n_samples: int = 300, alpha: float = 0.01) -> Floats:
    """LIME with a lasso, over coalitions of even odds, weighted by the cosine distance of the image."""
    x, patches = evidence.x, patches_of(evidence, cells)
    value = value_of(evidence, patches)
    drawn = even_coalitions(evidence, int(patches.max()) + 1, n_samples)
    weights = [attribution.cosine_kernel(x, attribution.hidden(x, np.zeros_like(x), patches, kept)) for kept in drawn]
    return attribution.painted(attribution.lime([value(kept) for kept in drawn], drawn, weights, alpha), patches)


def feature_permutation(evidence: Literal, cells: int = 14) -> Floats:
    """The drop of the score when a patch is that of another image of the batch: Fisher 2019, 1801.01489."""
    patches = patches_of(evidence, cells)
    batch = [Literal(evidence.problem, mate).x for mate in range(len(evidence.problem.images))]
    return _permuted(evidence, batch, patches, evidence.score)


def layer_feature_ablation(evidence: Literal, cells: int = 14) -> Floats:
    """The drop of the score with each patch of the layer's grid at zero."""
    A = evidence.A
    patches = attribution.regular_patches(A.shape[1:], cells)
    phi = attribution.ablation(_value(A, patches, evidence.tail), int(patches.max()) + 1)
    return attribution.painted(phi, patches)


def layer_feature_permutation(evidence: Literal, cells: int = 14) -> Floats:
    """The drop of the score when a patch of the layer's grid is that of another image of the batch."""
    patches = attribution.regular_patches(evidence.A.shape[1:], cells)
    batch = [Literal(evidence.problem, mate).A for mate in range(len(evidence.problem.images))]
    return _permuted(evidence, batch, patches, evidence.tail)


def _of_patches(evidence: Literal, cells: int, solve: Callable[[Value, int], Floats]) -> Floats:
    patches = patches_of(evidence, cells)
    return attribution.painted(solve(value_of(evidence, patches), int(patches.max()) + 1), patches)


def patches_of(evidence: Literal, cells: int) -> Patches:
    """The patches of the image."""
    return attribution.regular_patches(evidence.size, cells)


def value_of(evidence: Literal, patches: Patches) -> Value:
    """The score of an image of which only a coalition of patches is left."""
    return _value(evidence.x, patches, evidence.score)


def _value(x: Floats, patches: Patches, score: attribution.Score) -> Value:
    b = np.zeros_like(x)
    return functools.cache(lambda kept: score(attribution.hidden(x, b, patches, kept)))


def _permuted(evidence: Literal, batch: Sequence[Floats], patches: Patches, score: attribution.Score) -> Floats:
    """Each patch has a permutation of its own, drawn until it is not the identity."""
    if len(batch) < 2:
        raise NoReference("patches are swapped between the images of a batch, and there is one image")
    draws, x = _torch_draws(evidence), batch[evidence.index]
    phi = np.zeros(int(patches.max()) + 1)
    for i in range(len(phi)):
        order = list(range(len(batch)))
        while order == sorted(order):
            order = torch.randperm(len(batch), generator=draws).tolist()
        kept = tuple(int(j != i) for j in range(len(phi)))
        phi[i] = score(x) - score(attribution.hidden(x, batch[order[evidence.index]], patches, kept))
    return attribution.painted(phi, patches)


def of_some_size(values: Floats, terms: Floats) -> Floats:
    """Values that are more than the rounding of their terms.

    Raises:
        NoReference: they are not.
    """
    if np.abs(values).max() <= 1e-12 * np.abs(terms).max():
        raise NoReference("the map is zero but for rounding, and errors are relative to its largest value")
    return values


# ---- draws


def _torch_draws(evidence: Literal) -> torch.Generator:
    return torch.Generator().manual_seed(evidence.problem.seed)


def noise_images(evidence: Literal, count: int = 5) -> Floats:
    """The distribution of baselines, `(count, C, H, W)`."""
    return torch.randn((count, *evidence.x.shape), generator=_torch_draws(evidence)).double().numpy()


def between(evidence: Literal, n_samples: int) -> Iterator[tuple[Floats, float]]:
    """For each draw a baseline, and the share of the image in what lies between them."""
    draws, noise = np.random.RandomState(evidence.problem.seed % 2**32), noise_images(evidence)
    chosen = draws.choice(len(noise), n_samples)
    yield from zip(noise[chosen], draws.uniform(0.0, 1.0, n_samples).tolist(), strict=True)


def even_coalitions(evidence: Literal, count: int, n_samples: int) -> list[Coalition]:
    """Each patch there or not, by a coin."""
    draws = _torch_draws(evidence)
    return [tuple(torch.bernoulli(torch.full((count,), 0.5), generator=draws).int().tolist()) for _ in range(n_samples)]


def kernel_coalitions(evidence: Literal, count: int, n_samples: int) -> list[Coalition]:
    """The size k with odds `1 / (k (M - k))`, then which of the patches, all alike."""
    draws = _torch_draws(evidence)
    sizes = torch.arange(count, dtype=torch.float32)
    odds = torch.where(sizes > 0, (count - 1) / (sizes * (count - sizes)), 0.0)
    found: list[Coalition] = []
    for _ in range(n_samples):
        size = int(torch.multinomial(odds / odds.sum(), 1, True, generator=draws))
        order = torch.randn(1, count, generator=draws)[0].argsort(descending=True)[:size].tolist()
        found.append(tuple(int(i in order) for i in range(count)))
    return found


# ---- the network, differentiated and taken apart


def slope(evidence: Literal, image: Floats) -> Floats:
    """`dS/dx` at any image `(C, H, W)`."""
    with torch.enable_grad():
        leaf = _tensor(evidence, image).requires_grad_()
        (gradient,) = torch.autograd.grad(evidence.problem.model(leaf.clone())[0, evidence.c], leaf)
    return _numpy(gradient[0])


def at(evidence: Literal, image: Floats) -> tuple[Floats, Floats]:
    """The layer's output as the layer gives it, tokens and all, and `dS/dA`, at any image."""
    with torch.enable_grad():
        score, kept = _through(evidence, _tensor(evidence, image), None)
        (gradient,) = torch.autograd.grad(score, kept)
    return _numpy(kept[0]), _numpy(gradient[0])


def beyond(evidence: Literal, output: Floats) -> Floats:
    """`dS/dA` where the layer's output, as the layer gives it, is replaced."""
    with torch.enable_grad():
        leaf = _tensor(evidence, output).requires_grad_()
        score, _ = _through(evidence, evidence.image, leaf)
        (gradient,) = torch.autograd.grad(score, leaf)
    return _numpy(gradient[0])


def speed(evidence: Literal, image: Floats, direction: Floats) -> Floats:
    """`sum_i v_i dA/dx_i`: how fast the layer's output changes at an image, in a direction v."""

    def layer(leaf: torch.Tensor) -> torch.Tensor:
        return _through(evidence, leaf.clone(), None)[1]

    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the other kernels cannot be differentiated twice
        _, found = torch.autograd.functional.jvp(  # type: ignore[no-untyped-call]
            layer, _tensor(evidence, image), _tensor(evidence, direction)
        )
    return _numpy(found[0])


def of_layer(evidence: Literal, values: Floats) -> Floats:
    """Values laid out as the layer's output, on its grid and summed over channels."""
    grid = evidence.problem.layout.to_grid(torch.as_tensor(values)[None])
    return summed(_numpy(grid[0]))


def chain_of(evidence: Literal) -> list[propagation.Layer]:
    """The network as a chain of layers.

    Raises:
        NoReference: it is none, or has a layer that the oracle does not know.
    """
    model = evidence.problem.model
    if not isinstance(model, nn.Sequential):
        raise NoReference("rules that hand a score back are done by hand on an nn.Sequential only")
    chain = [layer for module in model if (layer := _layer(module)) is not None]
    if not np.allclose(propagation.forward(chain, evidence.x)[-1], evidence.y):
        raise NoReference("the network does more than run its layers in turn")
    return chain


def place_of(evidence: Literal) -> int:
    """Where the explained layer's output stands in `propagation.forward`'s list."""
    place = 0
    for name, module in evidence.problem.model.named_children():
        place += _layer(module) is not None
        if name == evidence.problem.layer:
            return place
    raise NoReference(f"{evidence.problem.layer} is no link of the chain")


def _layer(module: nn.Module) -> propagation.Layer | None:
    """A module of PyTorch as a link of a chain; None where values are only laid out anew."""
    match module:
        case nn.Conv2d(groups=1, dilation=(1, 1), padding_mode="zeros") if not isinstance(module.padding, str):
            return propagation.Conv(_numpy(module.weight), _bias(module), _pair(module.stride), _pair(module.padding))
        case nn.BatchNorm2d(running_mean=torch.Tensor() as mean, running_var=torch.Tensor() as var):
            factor = _numpy(module.weight) / np.sqrt(_numpy(var) + module.eps)
            return propagation.Scale(factor, _numpy(module.bias) - factor * _numpy(mean))
        case nn.Linear():
            return propagation.Linear(_numpy(module.weight), _bias(module))
        case nn.AdaptiveAvgPool2d(output_size=1):
            return propagation.Mean()
        case nn.MaxPool2d(dilation=1, ceil_mode=False):
            return propagation.MaxPool(_pair(module.kernel_size), _pair(module.stride), _pair(module.padding))
        case nn.ReLU():
            return propagation.Relu()
        case nn.Softplus():
            return propagation.Softplus()
        case nn.Flatten():
            return None
    raise NoReference(f"the oracle does not know {type(module).__name__}")


def _bias(module: nn.Conv2d | nn.Linear) -> Floats:
    return np.zeros(len(module.weight)) if module.bias is None else _numpy(module.bias)


def _pair(value: int | tuple[int, ...]) -> propagation.Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _through(evidence: Literal, image: torch.Tensor, instead: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The score, and the layer's output on which it depends, or what is put in its place."""
    kept: list[torch.Tensor] = []

    def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        if instead is not None:
            kept.append(instead)
        else:
            kept.append(output if output.requires_grad else output.detach().requires_grad_())
        return kept[-1].clone()  # what comes next may write over what it gets

    handle = evidence.problem.layer_module.register_forward_hook(hook)
    try:
        return evidence.problem.model(image)[0, evidence.c], kept[0]
    finally:
        handle.remove()


def _tensor(evidence: Literal, values: Floats) -> torch.Tensor:
    return torch.as_tensor(values).to(evidence.problem.images)[None]


def _numpy(values: torch.Tensor) -> Floats:
    return values.detach().cpu().double().numpy()


def sess(evidence: Literal, num_scales: int = 12) -> Floats:
    """SESS of Grad-CAM by its oracle, NORMALISED, on the pixels.

    Raises:
        NoReference: the network does not take square windows of the image's shorter side.
    """
    window = min(evidence.size)

    def base(part: Floats) -> Floats:
        tensor = torch.as_tensor(part).to(evidence.problem.images)[None]
        alone = Literal(replace(evidence.problem, images=tensor, classes=(evidence.c,)), 0)
        return normalise(resize(normalise(rectify(gradient.gradcam(alone.A, alone.G))), alone.size))

    try:
        evidence.outputs(evidence.x[:, :window, :window].copy())
    except RuntimeError as error:
        raise NoReference(f"the network does not take square windows: {error}") from error
    scales = windows.default_scales(window, num_scales)
    return windows.sess(evidence.x, evidence.probability, base, scales, window)


METHODS: Mapping[str, Reference] = {
    "layer-activation": layer_activation,
    "layer-integrated-gradients": layer_integrated_gradients,
    "conductance": conductance,
    "internal-influence": internal_influence,
    "layer-gradient-shap": layer_gradient_shap,
    "layer-deeplift": layer_deeplift,
    "layer-deeplift-shap": layer_deeplift_shap,
    "layer-lrp": layer_lrp,
    "layer-feature-ablation": layer_feature_ablation,
    "layer-feature-permutation": layer_feature_permutation,
    "saliency": saliency,
    "input-x-gradient": input_x_gradient,
    "deconvolution": deconvolution,
    "integrated-gradients": integrated_gradients,
    "gradient-shap": gradient_shap,
    "deeplift": deeplift,
    "deeplift-shap": deeplift_shap,
    "lrp": lrp,
    "smoothgrad-squared": smoothgrad_squared,
    "vargrad": vargrad,
    "feature-ablation": feature_ablation,
    "feature-permutation": feature_permutation,
    "lime": lime,
    "kernelshap": kernelshap,
    "shapley-sampling": shapley_sampling,
    "shapley-values": shapley_values,
    "sess": sess,
}
"""The reference of every attribution, by its canonical name."""
