"""ScoreCAM scales its masks before it enlarges them. Exits with 1 while that is so, with 0 once it is mended."""

import sys

import torch
from torch import nn
from torchcam.methods import ScoreCAM

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 3, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)).eval()
image = torch.rand(1, 1, 16, 16)
given = []
with ScoreCAM(model, "1") as extractor, torch.no_grad():
    A = model[:2](model.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone())) and image)
    model(image)
    extractor(0)

found = given[-1] / image  # the three masks: what the model was given last, over the image
up = nn.functional.interpolate(A, (16, 16), mode="bilinear").transpose(0, 1)
low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
wanted = (up - low) / (high - low)
for name, masks in (("torchcam", found), ("docstring", wanted)):
    print(f"{name}: masks reach from {masks.amin((1, 2, 3)).tolist()} to {masks.amax((1, 2, 3)).tolist()}")
sys.exit(float((found - wanted).abs().max()) > 1e-3)
