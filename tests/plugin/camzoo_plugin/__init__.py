"""The smallest backend: a Grad-CAM that is right, and a LayerCAM that forgets the ReLU on the gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from camzoo.types import Backend, Heatmap, Offer, Problem, Stage


def explain(problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The maps of one method, rectified."""
    problem.require_channels_first("example")
    activations, gradients = evidence(problem)
    if method == "gradcam":
        values = (gradients.mean((2, 3), keepdim=True) * activations).sum(1)
    else:
        values = (gradients * activations).sum(1)
    return Heatmap(
        values.relu(), Stage.RECTIFIED, backend.offer(method).resolution, problem.image_size, method, "example"
    )


def evidence(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer's output and the derivative of the class's logit by it."""
    kept: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()

    handle = problem.layer_module.register_forward_hook(keep)
    try:
        scores = problem.target(problem.model(problem.images))
    finally:
        handle.remove()
    (gradients,) = torch.autograd.grad(scores.sum(), kept)
    return kept[0].detach(), gradients


backend = Backend(
    name="example",
    distribution="camzoo-plugin",
    offers=(
        Offer("gradcam", "evidence and weights", Stage.RECTIFIED),
        Offer("layercam", "without a ReLU", Stage.RECTIFIED),
    ),
    explain=explain,
    package="camzoo_plugin",
)
