"""captum: the hook of a ReLU changes the gradient of all that reads its input, not of the ReLU alone."""

import sys
import warnings

import torch
from captum.attr import DeepLift, GuidedBackprop
from torch import nn

warnings.simplefilter("ignore")  # captum's own, on its hooks


class Skip(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.act, self.factor = nn.ReLU(), factor

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        hidden = signal * 1
        return (self.factor * hidden + self.act(hidden)).sum(1, keepdim=True)


signal = torch.tensor([[1.0, 2.0]])
deeplift = DeepLift(Skip(1.0)).attribute(signal, target=0)
guided = GuidedBackprop(Skip(-3.0)).attribute(signal, target=0)
print("DeepLift of x + relu(x):", deeplift.tolist(), "and should be [[2.0, 4.0]]")
print("GuidedBackprop of -3 x + relu(x):", guided.tolist(), "and should be [[-2.0, -2.0]]")
sys.exit(not (torch.allclose(deeplift, 2 * signal) and torch.allclose(guided, torch.full_like(signal, -2.0))))
