"""ScoreCAM scales its masks before it enlarges them. Exits with 1 while that is so, with 0 once it is mended."""

import sys

import torch
from torch import nn
from torchcam.methods import ScoreCAM

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 3, 4, stride=4), nn.Flatten(), nn.Linear(48, 2)).eval().requires_grad_(False)
image = torch.rand(1, 1, 16, 16)
given = []
model.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
with ScoreCAM(model, "0") as extractor:
    model(image)
    extractor(0)

found = given[-1] / image  # the model was given one masked image for each channel
enlarged = nn.functional.interpolate(model[0](image), (16, 16), mode="bilinear").transpose(0, 1)
low, high = enlarged.amin((2, 3), keepdim=True), enlarged.amax((2, 3), keepdim=True)
wanted = (enlarged - low) / (high - low)
for name, masks in (("torchcam", found), ("docstring", wanted)):
    ends = [f"{float(mask.min()):.3f} to {float(mask.max()):.3f}" for mask in masks]
    print(f"{name}: masks reach from {', '.join(ends)}")
sys.exit(float((found - wanted).abs().max()) > 1e-3)
