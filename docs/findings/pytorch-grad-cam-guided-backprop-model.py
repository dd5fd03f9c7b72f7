"""Guided backpropagation puts ReLUs back into the model: they must be those that were there."""

import torch
from pytorch_grad_cam import GuidedBackpropReLUModel

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3),
    torch.nn.ReLU(inplace=True),
    torch.nn.Conv2d(4, 4, 3),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(4 * 4 * 4, 3),
).eval()
before = list(model)
GuidedBackpropReLUModel(model)(torch.randn(1, 3, 8, 8), 1)
same = [now is then for now, then in zip(model, before, strict=True)]
print(f"layers that are the same module as before: is {sum(same)} of 6, should be 6")
print(f"the two ReLUs are one module: is {model[1] is model[3]}, should be False")
print(f"inplace of the first ReLU: is {model[1].inplace}, should be True")
raise SystemExit(int(not all(same)))
