"""Gradients to the image by rules of their own: guided backpropagation, and the gradients of all biases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from camzoo import guard
from camzoo.errors import NotOffered, RequestError
from camzoo.targets import explained, select
from camzoo.types import Target

Form = Callable[..., tuple[torch.Tensor, Any, Any, bool]]


def guided(model: torch.nn.Module, images: torch.Tensor, target: Target) -> torch.Tensor:
    """Guided backpropagation: a ReLU passes only gradients above zero, and only where its input is above zero.

    `g_in = max(g_out, 0) [0 < z < c]`

    with `z` the input of the ReLU, and `c` its upper bound where it has one (6 in ReLU6). Modules and functions are
    treated alike, in place or not; no module is replaced.

    Args:
        model: a network with ReLUs, borrowed.
        images: what it takes, `(N, C, H, W)`.
        target: what is explained.

    Returns:
        The guided gradient `(N, C, H, W)`, signed.

    Raises:
        NotOffered: no ReLU ran between the images and the scores.
        RequestError: the scores do not depend on the images in a way that can be differentiated.

    Source:
        Springenberg et al., Striving for simplicity, ICLR 2015 workshop, arXiv 1412.6806, section 4.
    """
    rectifiers = _Guiding()
    gradient = _to_images(model, images, target, rectifiers)
    if not rectifiers.ran:
        raise NotOffered("no ReLU ran in this model, and guided backpropagation is a rule for ReLUs")
    return gradient


def biases(
    model: torch.nn.Module, images: torch.Tensor, target: Target
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The gradients of the images and of every bias: all that the score of a network with ReLUs is made of.

    `S = sum x dS/dx + sum_b b dS/db`

    exactly, in networks of such layers, ReLUs and pooling. Biases are those of convolutions and linear layers, and
    what BatchNorm adds in eval mode, `beta - mean gamma / sqrt(var + eps)`. Others (LayerNorm, attention, GELU, a ReLU6
    at its upper bound) have no bias in this sense, and with them the sum is not the score.

    Args:
        model: borrowed.
        images: what it takes, `(N, C, H, W)`.
        target: what is explained.

    Returns:
        `dS/dx (N, C, H, W)`; and `b dS/db` of each layer in the order in which they ran: `(N, K, h, w)`, or `(N, K)`
        for linear layers, which have no grid.

    Raises:
        RequestError: the scores do not depend on the images in a way that can be differentiated.

    Source:
        Srinivas and Fleuret, Full-gradient representation, NeurIPS 2019, arXiv 1905.00780, section 3.
    """
    added = _Biases(len(images))
    gradient = _to_images(model, images, target, added)
    return gradient, tuple(product for product in added.products if product is not None)


def _to_images(model: torch.nn.Module, images: torch.Tensor, target: Target, rule: TorchFunctionMode) -> torch.Tensor:
    """`dS/dx (N, C, H, W)`, with a rule in force for this thread while the model runs."""
    with guard.evaluating(model), torch.inference_mode(False), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        with rule:
            outputs = model(leaf.clone())  # a copy, which the model may change in place
        score = explained(target, select(outputs), len(images)).sum()
        found = torch.autograd.grad(score, leaf, allow_unused=True)[0] if score.requires_grad else None
    if found is None:
        raise RequestError("the scores do not depend on the images in a way that can be differentiated")
    return found


class _GuidedReLU(torch.autograd.Function):
    """A ReLU with an upper bound, and the derivative of guided backpropagation."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, high: float) -> torch.Tensor:
        ctx.save_for_backward((z > 0) & (z < high))
        return z.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (passing,) = ctx.saved_tensors
        return torch.where(passing, gradient.clamp(min=0), 0), None


class _Guiding(TorchFunctionMode):
    """Gives every ReLU that this thread runs the derivative of guided backpropagation."""

    def __init__(self) -> None:
        super().__init__()
        self.ran = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _RELUS:
            return func(*args, **kwargs)
        z, low, high, in_place = _RELUS[func](*args, **kwargs)
        if isinstance(low, torch.Tensor) or low != 0 or not z.requires_grad:
            return func(*args, **kwargs)
        self.ran += 1
        rectified = _GuidedReLU.apply(z, high)
        return z.copy_(rectified) if in_place or func.__name__.endswith("_") else rectified


def _relu(input: torch.Tensor, inplace: bool = False) -> tuple[torch.Tensor, Any, Any, bool]:
    return input, 0, math.inf, inplace


def _relu6(input: torch.Tensor, inplace: bool = False) -> tuple[torch.Tensor, Any, Any, bool]:
    return input, 0, 6, inplace


def _hardtanh(
    input: torch.Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> tuple[torch.Tensor, Any, Any, bool]:
    return input, min_val, max_val, inplace


def _clamp(input: torch.Tensor, min: Any = None, max: Any = None) -> tuple[torch.Tensor, Any, Any, bool]:
    return input, min, math.inf if max is None else max, False


_T = torch.Tensor
_RELUS: dict[Callable[..., Any], Form] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, _T.relu, _T.relu_), _relu),
    F.relu6: _relu6,
    **dict.fromkeys((F.hardtanh, F.hardtanh_), _hardtanh),
    **dict.fromkeys((torch.clamp, torch.clamp_, torch.clip, torch.clip_, torch.clamp_min, torch.clamp_min_), _clamp),
    **dict.fromkeys((_T.clamp, _T.clamp_, _T.clip, _T.clip_, _T.clamp_min, _T.clamp_min_), _clamp),
}
"""How each form of ReLU is read: its input, its bounds, and whether it works in place."""


class _Biases(TorchFunctionMode):
    """Finds the bias of every layer that this thread runs, and waits for the gradient at its output."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images
        self.products: list[torch.Tensor | None] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func in _LAYERS and output.requires_grad:
            bias = _LAYERS[func](*args, **kwargs)
            if bias is not None:
                self._await(output, bias.detach(), grid=func is not F.linear)
        return output

    def _await(self, output: torch.Tensor, bias: torch.Tensor, grid: bool) -> None:
        """A hook on the tensor: it is given the gradient at this value, also if a ReLU in place comes after."""
        place = len(self.products)
        self.products.append(None)

        def multiply(gradient: torch.Tensor) -> None:
            if grid:
                self.products[place] = gradient * bias.reshape(-1, *[1] * (gradient.ndim - 2))
            else:
                self.products[place] = (gradient * bias).reshape(self.images, -1, len(bias)).sum(1)

        output.register_hook(multiply)  # type: ignore[no-untyped-call]


def _explicit(*args: Any, bias: torch.Tensor | None = None, **_kwargs: Any) -> torch.Tensor | None:
    """The third argument: after the input and the weights."""
    return args[2] if len(args) > 2 else bias


def _implicit(
    _input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,  # noqa: ARG001 (of the running statistics)
    eps: float = 1e-5,
) -> torch.Tensor | None:
    """What BatchNorm adds; None where it takes its statistics from the batch, and so is no affine map."""
    if training or running_mean is None or running_var is None:
        return None
    scale = torch.rsqrt(running_var + eps) * (1 if weight is None else weight)
    return (0 if bias is None else bias) - running_mean * scale


_LAYERS: dict[Callable[..., Any], Callable[..., torch.Tensor | None]] = {
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d, F.linear), _explicit),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _explicit),
    F.batch_norm: _implicit,
}
