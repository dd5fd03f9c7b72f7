"""FEM: the paper sums binary maps weighted by channel means; the code sums activations weighted by shares of cells."""

import torch
from pytorch_grad_cam import FEM

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 16 * 16, 3)
).eval()
image = torch.randn(1, 3, 16, 16)

with torch.no_grad():
    A = model[:2](image)[0]
mean, deviation = A.mean((1, 2), keepdim=True), A.std((1, 2), keepdim=True, correction=0)
paper = (mean * (mean + 2 * deviation <= A)).sum(0)
paper = (paper - paper.min()) / (paper.max() - paper.min())
with FEM(model, [model[1]]) as cam:
    found = torch.from_numpy(cam(image, None))[0]

difference = (found - paper).abs().max().item()
print(f"largest difference from the paper's map (0 to 1): is {difference:.3f}, should be 0")
raise SystemExit(int(difference > 1e-4))
