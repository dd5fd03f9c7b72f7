"""A view of a model that takes images alone and gives a tensor of scores alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn


def bind(
    model: nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    output: Callable[[Any], torch.Tensor] | None = None,
) -> nn.Module:
    """A model with its other inputs filled in and its scores picked out, under the same layer names.

    The view shares modules, parameters, buffers and hooks with the model, which is not touched. A tensor among the
    other inputs whose first axis has length 1 is repeated for each image of a batch.

    Args:
        model: any module whose first input is the images.
        args: the inputs after the images.
        kwargs: keyword inputs.
        output: from what the model returns to its scores; where not given, see `camzoo.targets.select`.

    Returns:
        The model itself where there is nothing to fill in or to pick.
    """
    if not args and not kwargs and output is None:
        return model
    given: Mapping[str, Any] = kwargs or {}

    def forward(self: nn.Module, images: torch.Tensor) -> Any:
        others = [_repeated(value, len(images)) for value in args]
        named = {name: _repeated(value, len(images)) for name, value in given.items()}
        returned = type(model).forward(self, images, *others, **named)
        return output(returned) if output else returned

    view = copy.copy(model)
    view.__class__ = type(type(model).__name__, (type(model),), {"forward": forward})
    return view


def _repeated(value: Any, rows: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim and len(value) == 1:
        return value.expand(rows, *value.shape[1:])
    return value
