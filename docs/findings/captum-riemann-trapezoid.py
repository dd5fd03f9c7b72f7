"""captum: the weights of riemann_trapezoid add up to 1 - 1/n."""

import sys

import torch
from captum.attr import IntegratedGradients
from torch import nn

model = nn.Linear(2, 1, bias=False).double()
model.weight.data.fill_(1.0)
signal = torch.tensor([[1.0, 2.0]], dtype=torch.float64)

found = IntegratedGradients(model).attribute(signal, n_steps=5, method="riemann_trapezoid")
print("integrated gradients of x1 + x2:", found.tolist())
print("they should be", signal.tolist())
sys.exit(not torch.allclose(found, signal, atol=1e-6))
