"""A layer is explained by what is written over its output. Exits with 1 while that is so, with 0 once it is mended."""

import sys

import torch
from torch import nn
from torchcam.methods import GradCAM, ScoreCAM


def explain(extractor_type: type, inplace: bool) -> torch.Tensor:
    """The map of the convolution before a ReLU."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace), nn.Flatten(), nn.Linear(288, 5)).eval()
    with extractor_type(model, "0") as extractor:
        scores = model(torch.randn(1, 3, 8, 8))
        return extractor(0, scores, normalized=False)[0]


largest = 0.0
for extractor_type in (GradCAM, ScoreCAM):
    plain, written = (explain(extractor_type, inplace) for inplace in (False, True))
    difference = float((plain - written).abs().max() / plain.abs().max())
    print(f"{extractor_type.__name__}: ReLU() and ReLU(inplace=True) after the layer differ by {difference:.3g}")
    largest = max(largest, difference)
sys.exit(largest > 1e-5)
