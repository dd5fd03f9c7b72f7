"""A view of a model that takes images alone and gives a tensor of scores alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

_NARROWED = "_camzoo_of_image"


def bind(
    model: nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    output: Callable[[Any], torch.Tensor] | None = None,
) -> nn.Module:
    """A model with its other inputs filled in and its scores picked out, under the same layer names.

    The view and the model are one in all that they hold: modules, parameters, buffers, hooks, flags. A tensor among
    the other inputs whose first axis has length 1 is repeated for each image of a batch; one with as many rows as
    there are images has a row for each.

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
        original = vars(self).get("forward") or partial(type(model).forward, self)
        returned = original(images, *others, **named)
        return output(returned) if output else returned

    def narrowed(image: int, images: int) -> nn.Module:
        one = [_row(value, image, images) for value in args]
        return bind(model, one, {name: _row(value, image, images) for name, value in given.items()}, output)

    # Properties, which go before what a model may have among its own attributes.
    members = {
        "forward": property(lambda self: partial(forward, self)),
        _NARROWED: staticmethod(narrowed),
        "_camzoo_view_of": model,
    }
    kind: type[nn.Module] = type(type(model).__name__, (type(model),), members)
    view = object.__new__(kind)
    object.__setattr__(view, "__dict__", vars(model))  # one state, seen twice
    return view


def of_image(model: nn.Module, image: int, images: int) -> nn.Module:
    """A model for one image of a batch: of its other inputs with a row for each of `images` images, that row."""
    narrowed = getattr(type(model), _NARROWED, None)
    return narrowed(image, images) if narrowed else model


def _row(value: Any, image: int, images: int) -> Any:
    return (
        value[image : image + 1] if isinstance(value, torch.Tensor) and value.ndim and len(value) == images else value
    )


def _repeated(value: Any, rows: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim and len(value) == 1:
        return value.expand(rows, *value.shape[1:])
    return value
