"""Captum's two metrics of explanations."""

from __future__ import annotations

from typing import Any

import torch


def infidelity(*args: Any, **kwargs: Any) -> torch.Tensor:
    """`captum.metrics.infidelity`, as it is."""
    from captum import metrics

    values: torch.Tensor = metrics.infidelity(*args, **kwargs)
    return values


def sensitivity_max(*args: Any, **kwargs: Any) -> torch.Tensor:
    """`captum.metrics.sensitivity_max`, as it is."""
    from captum import metrics

    values: torch.Tensor = metrics.sensitivity_max(*args, **kwargs)
    return values
