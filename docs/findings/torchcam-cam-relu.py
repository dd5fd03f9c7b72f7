"""CAM has a ReLU in its docstring and none in its map. Exits with 1 while that is so, with 0 once it is mended."""

import sys

import torch
from torch import nn
from torchcam.methods import CAM

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
with CAM(model, "0", "3") as extractor, torch.no_grad():
    model(torch.randn(1, 3, 8, 8))
    lowest = float(extractor(0, normalized=False)[0].min())
print(f"lowest value of the map: {lowest:.3g}; with the ReLU of the docstring: 0 or more")
sys.exit("ReLU" in str(CAM.__doc__) and lowest < 0)
