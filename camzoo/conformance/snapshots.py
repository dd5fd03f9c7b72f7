"""What a model and the generators look like, so that what was left behind can be told, and where."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import nn


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything that a borrower has to give back, by kind; comparable with `==`."""
    return {**of_model(model), **_generators()}


def of_model(model: nn.Module) -> dict[str, Any]:
    """A model and the grad mode, by kind; comparable with `==`."""
    modules = dict(model.named_modules(remove_duplicate=False))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    return {
        "modules": [(name, id(module), type(module)) for name, module in modules.items()],
        "hooks": [(name, key, _entries(value)) for name, m in modules.items() for key, value in _hooks(m)],
        "attributes": [(name, key, id(value)) for name, m in modules.items() for key, value in _others(m)],
        "training": [(name, module.training) for name, module in modules.items()],
        "parameters": [(name, id(parameter)) for name, parameter in parameters.items()],
        "memory": [(name, each.data_ptr(), each.shape) for name, each in {**parameters, **buffers}.items()],
        "values": [(name, _digest(each)) for name, each in {**parameters, **buffers}.items()],
        "requires_grad": [(name, parameter.requires_grad) for name, parameter in parameters.items()],
        "grad": [(name, *_grad(parameter)) for name, parameter in parameters.items()],
        "buffers": [(name, id(buffer)) for name, buffer in buffers.items()],
        "versions": [(name, each._version) for name, each in {**parameters, **buffers}.items()],
        "grad mode": torch.is_grad_enabled(),
    }


def _generators() -> dict[str, Any]:
    return {
        "python generator": random.getstate(),
        "numpy generator": [part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()],
        "torch generator": torch.get_rng_state().tolist(),
    }


def _hooks(module: nn.Module) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in vars(module).items() if "hook" in key]


def _others(module: nn.Module) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in vars(module).items() if "hook" not in key and key != "training"]


def _entries(value: Any) -> Any:
    return [(key, id(hook)) for key, hook in value.items()] if isinstance(value, dict) else value


def _grad(parameter: nn.Parameter) -> tuple[Any, Any]:
    return id(parameter.grad), None if parameter.grad is None else _digest(parameter.grad)


def _digest(tensor: torch.Tensor) -> str:
    """The values, in few letters."""
    return hashlib.sha256(tensor.detach().cpu().numpy().tobytes()).hexdigest()
