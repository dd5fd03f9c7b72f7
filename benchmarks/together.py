"""Several methods of one image: asked together, from one capture, or one after the other.

Each is an implementation of Grad-CAM for `camzoo bench --own benchmarks.together:together_4=gradcam`: it computes as
many methods as its name says, the first of which is Grad-CAM, and gives that one's maps, so that they can be checked.
"""

from __future__ import annotations

import torch

import camzoo
from camzoo.types import Stage

METHODS = (
    "gradcam",
    "layercam",
    "hirescam",
    "xgradcam",
    "gradcam++",
    "gradcam-elementwise",
    "eigencam",
    "eigengradcam",
)


def _together(
    count: int, model: torch.nn.Module, layer: torch.nn.Module, images: torch.Tensor, target: list[int]
) -> torch.Tensor:
    study = camzoo.compare(model, images, METHODS[:count], layer=layer, target=target)
    firsts = (study.of(row)[0].heatmap for row in range(len(study.rows)))
    return torch.cat([heatmap.at(Stage.RECTIFIED).values for heatmap in firsts if heatmap is not None])


def _apart(
    count: int, model: torch.nn.Module, layer: torch.nn.Module, images: torch.Tensor, target: list[int]
) -> torch.Tensor:
    first, *_ = [
        camzoo.explain(model, images, method, layer=layer, target=target, stage=Stage.RECTIFIED)
        for method in METHODS[:count]
    ]
    return first.values


def together_1(model, layer_module, images, target):
    return _together(1, model, layer_module, images, target)


def together_2(model, layer_module, images, target):
    return _together(2, model, layer_module, images, target)


def together_4(model, layer_module, images, target):
    return _together(4, model, layer_module, images, target)


def together_8(model, layer_module, images, target):
    return _together(8, model, layer_module, images, target)


def apart_1(model, layer_module, images, target):
    return _apart(1, model, layer_module, images, target)


def apart_2(model, layer_module, images, target):
    return _apart(2, model, layer_module, images, target)


def apart_4(model, layer_module, images, target):
    return _apart(4, model, layer_module, images, target)


def apart_8(model, layer_module, images, target):
    return _apart(8, model, layer_module, images, target)
