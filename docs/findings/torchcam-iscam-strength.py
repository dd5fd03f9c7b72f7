"""ISCAM's masks are stronger than its docstring says. Exits with 1 while that is so, with 0 once it is mended."""

import sys

import torch
from torch import nn
from torchcam.methods import ISCAM

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(16, 2)).eval().requires_grad_(False)
image = torch.rand(1, 1, 4, 4)
given = []
model.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
with ISCAM(model, "0", num_samples=10) as extractor:
    model(image)
    extractor(0)

A = model[0](image)
mask = (A - A.min()) / (A.max() - A.min())  # the layer has the size of the image
found = [float((masked / (mask * image)).nanmedian()) for masked in given[2:]]
wanted = [sum(j / 10 for j in range(i)) for i in range(1, 11)]
print("strength of the mask, sample by sample")
print("torchcam: ", [round(strength, 3) for strength in found])
print("docstring:", [round(strength, 3) for strength in wanted])
sys.exit(max(abs(a - b) for a, b in zip(found, wanted, strict=True)) > 1e-3)
