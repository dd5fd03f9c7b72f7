"""Evidence from within the network: guided gradients, the gradients of biases, attention.

All of it is taken the plainest way, as in `evidence`: one image, hooks or steps written out, nothing of camzoo's own.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer

from camzoo.conformance.evidence import Literal
from camzoo.errors import NotOffered
from camzoo.oracles.grids import Floats


class NoReference(NotOffered):
    """This network, layer or option is none for which the reference is defined."""


def guided(evidence: Literal) -> Floats:
    """Guided backpropagation to the image `(C, H, W)`: what leaves a rectifier backwards is rectified as well.

    The graph of the score is walked, so that it does not matter how a ReLU was called.

    Raises:
        NoReference: there is no ReLU in the graph.
    """
    image, score = _scored(evidence)
    rectifiers = [node for node in _nodes(score.grad_fn) if _is_relu(node)]
    if not rectifiers:
        raise NoReference("no ReLU runs in this network")
    for node in rectifiers:
        node.register_hook(lambda inwards, _outwards: tuple(g if g is None else g.clamp(min=0) for g in inwards))
    (gradient,) = torch.autograd.grad(score, image)
    return _numpy(gradient[0])


def bias_terms(evidence: Literal) -> list[Floats]:
    """`b dS/db` at every cell of each convolution and BatchNorm `(K, h, w)`; linear layers have no cells.

    Raises:
        NoReference: a layer is of a kind that may do more than that, such as a BatchNorm with a ReLU in it.
    """
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append((_bias(module, output), output))
        return output.clone()  # what comes next may write over what it gets

    layers = [module for module in evidence.problem.model.modules() if isinstance(module, (*_CONVOLUTIONS, *_NORMS))]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        _, score = _scored(evidence)
    finally:
        for handle in handles:
            handle.remove()
    gradients = torch.autograd.grad(score, [output for _, output in kept]) if kept else ()
    return [_numpy((bias * gradient)[0]) for (bias, _), gradient in zip(kept, gradients, strict=True)]


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _bias(module: Any, output: torch.Tensor) -> torch.Tensor:
    """What a layer adds to its output: its bias, or `beta - mean gamma / sqrt(var + eps)` of BatchNorm."""
    if type(module) not in (*_CONVOLUTIONS, *_NORMS) or (type(module) in _NORMS and module.running_mean is None):
        raise NoReference(f"the reference for biases does not know what this {type(module).__name__} adds")
    bias = output.new_zeros(output.shape[1]) if module.bias is None else module.bias.detach()
    if type(module) in _NORMS:
        gamma = 1.0 if module.weight is None else module.weight.detach()
        bias = bias - module.running_mean * gamma / torch.sqrt(module.running_var + module.eps)
    return bias.reshape(-1, *[1] * (output.ndim - 2))


def hessian_product(evidence: Literal) -> Floats:
    """`H A (K, h, w)`: the second derivative of the logit by the layer's output, times that output."""
    problem, layout = evidence.problem, evidence.problem.layout

    def score(grid: torch.Tensor) -> torch.Tensor:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            return layout.from_grid(grid, output).clone()

        handle = problem.layer_module.register_forward_hook(hook)
        try:
            logit: torch.Tensor = problem.model(evidence.image)[0, evidence.c]
        finally:
            handle.remove()
        return logit

    A = torch.as_tensor(evidence.A).to(problem.images)[None]
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
        _, product = torch.autograd.functional.hvp(score, A, A)  # type: ignore[no-untyped-call]
    return _numpy(product[0])


def attention(evidence: Literal) -> list[torch.Tensor]:
    """The softmax probabilities `(heads, t, t)` of each block."""
    return [probabilities.detach()[0] for probabilities, _ in _blocks(evidence)]


def attention_gradients(evidence: Literal) -> list[torch.Tensor]:
    """`ds_l/d attention_l (heads, t, t)` of each block, `s_l` the logit read off that block's tokens."""
    model: Any = evidence.problem.model
    gradients = []
    for probabilities, tokens in _blocks(evidence):
        logit = model.heads(model.encoder.ln(tokens)[:, 0])[0, evidence.c]
        gradients.append(torch.autograd.grad(logit, probabilities)[0][0])
    return gradients


def _blocks(evidence: Literal) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of each block the probabilities `(1, heads, t, t)`, a leaf, and the tokens `(1, t, D)` that come of them.

    Raises:
        NoReference: the model is not torchvision's vision transformer, whose steps these are.
    """
    model: Any = evidence.problem.model
    if not isinstance(model, VisionTransformer):
        raise NoReference("the reference follows the attention of torchvision's VisionTransformer only")
    with torch.no_grad():
        tokens = model._process_input(evidence.image)
        tokens = torch.cat([model.class_token, tokens], 1) + model.encoder.pos_embedding
    found = []
    for block in model.encoder.layers:
        entered = tokens.detach()
        attending = block.self_attention
        heads, width = attending.num_heads, attending.embed_dim // attending.num_heads
        mixed = block.ln_1(entered) @ attending.in_proj_weight.T + attending.in_proj_bias
        query, key, value = (part.unflatten(2, (heads, width)).transpose(1, 2) for part in mixed.chunk(3, 2))
        logits = query @ key.transpose(2, 3) / math.sqrt(width)
        probabilities = logits.softmax(3).detach().requires_grad_()
        gathered = (probabilities @ value).transpose(1, 2).flatten(2)
        summed = entered + attending.out_proj(gathered)
        tokens = summed + block.mlp(block.ln_2(summed))
        found.append((probabilities, tokens))
    return found


def _scored(evidence: Literal) -> tuple[torch.Tensor, torch.Tensor]:
    """The image as a leaf `(1, C, H, W)`, and the logit of its class as a graph of it."""
    with torch.enable_grad():
        image = evidence.image.requires_grad_()
        return image, evidence.problem.model(image.clone())[0, evidence.c]


def _nodes(last: Any) -> list[Any]:
    """Every step of a graph."""
    seen, waiting = [], [last]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.append(node)
            waiting += [before for before, _ in node.next_functions]
    return seen


def _is_relu(node: Any) -> bool:
    """ReLU by any name: all that cuts off what is below zero."""
    if node.name() == "HardtanhBackward0":
        return bool(node._saved_min_val == 0)
    if node.name() in ("ClampBackward1", "ClampMinBackward0"):
        return bool(node._saved_min == 0)
    return bool(node.name() == "ReluBackward0")


def _numpy(values: torch.Tensor) -> Floats:
    return values.detach().cpu().double().numpy()
