"""captum LayerConductance: the path's ends are left out, so that even a linear network is not complete."""

import sys

import torch
from captum.attr import LayerConductance
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 1, bias=False)).double()
signal = torch.randn(1, 3, dtype=torch.float64)

shares = {}
for method in ("gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid"):
    found = LayerConductance(model, model[0]).attribute(signal, target=0, n_steps=10, method=method)
    shares[method] = float((found.sum() / model(signal)).detach())
    print(f"{method}: {shares[method]:.6f} of the output is shared out, and should be all, 1.000000")
sys.exit(any(abs(share - 1) > 1e-6 for share in shares.values()))
