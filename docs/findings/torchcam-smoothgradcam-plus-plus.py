"""SmoothGradCAMpp explains its last noisy image. Exits with 1 while that is so, with 0 once it is mended."""

import sys

import torch
from torch import nn
from torchcam.methods import SmoothGradCAMpp

torch.manual_seed(0)
layers = nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(288, 9), nn.Softplus(), nn.Linear(9, 5)
model, image, noise = nn.Sequential(*layers).eval(), torch.randn(1, 3, 8, 8), torch.distributions.Normal(0, 0.5)
with SmoothGradCAMpp(model, "1", std=0.5) as extractor:
    model(image)
    torch.manual_seed(1)
    found = extractor(0)[0]

torch.manual_seed(1)
D = [torch.zeros(1, 8, 6, 6) for _ in range(4)]
for _ in range(4):
    noisy = model[:2](image + noise.sample(image.shape)).detach().requires_grad_()
    (G,) = torch.autograd.grad(model[2:](noisy)[0, 0], noisy)
    D = [mean + G**power / 4 for power, mean in enumerate(D)]
A = model[:2](image).detach()
alpha = D[2] / (2 * D[2] + A.sum((2, 3), keepdim=True) * D[3])
wanted = ((alpha * D[1].relu()).sum((2, 3), keepdim=True) * A).sum(1).relu()
difference = float((found - (wanted - wanted.min()) / (wanted.max() - wanted.min())).abs().max())
print(f"largest difference on 0..1: is {difference:.3g}, should be 0")
sys.exit(difference > 1e-3)
