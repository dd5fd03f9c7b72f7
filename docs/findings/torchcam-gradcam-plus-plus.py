"""GradCAMpp never divides alpha by its denominator. Exits with 1 while that is so, with 0 once it is mended."""

import sys

import torch
from torch import nn
from torchcam.methods import GradCAMpp

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)).double().eval()
image = torch.randn(1, 3, 8, 8, dtype=torch.float64)
with GradCAMpp(model, "1") as extractor:
    found = extractor(0, model(image))[0]

A = model[:2](image).detach().requires_grad_()
(G,) = torch.autograd.grad(model[2:](A)[0, 0], A)
with torch.no_grad():
    alpha = G**2 / (2 * G**2 + A.sum((2, 3), keepdim=True) * G**3)
    wanted = ((alpha * G.relu()).sum((2, 3), keepdim=True) * A).sum(1).relu()
    wanted = (wanted - wanted.min()) / (wanted.max() - wanted.min())

difference = float((found - wanted).abs().max())
print(f"first row of the map:        {found[0, 0].tolist()}")
print(f"the same by the docstring:   {wanted[0, 0].tolist()}")
print(f"largest difference on 0..1:  {difference:.3g}")
sys.exit(difference > 1e-3)
