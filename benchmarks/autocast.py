"""Score-CAM with autocast to bfloat16: an implementation of its own beside the libraries, since precision is no option.

camzoo bench --model resnet18 --methods "scorecam@*" --own benchmarks.autocast:scorecam=scorecam --device cuda
"""

from __future__ import annotations

import torch

import camzoo
from camzoo.types import Stage


def scorecam(
    model: torch.nn.Module, layer_module: torch.nn.Module, images: torch.Tensor, target: list[int]
) -> torch.Tensor:
    """The masked images are run in half precision."""
    found = camzoo.explain(
        model, images, "scorecam", layer=layer_module, target=target, stage=Stage.RECTIFIED, amp=torch.bfloat16
    )
    return found.values
