"""captum DeepLift: of overlapping max pooling windows that share a winner, one is counted."""

import sys
import warnings

import torch
from captum.attr import DeepLift
from torch import nn

warnings.simplefilter("ignore")  # captum's own, on its hooks


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(3, stride=1)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.pool(signal).sum(2)


model, signal = Net(), torch.tensor([[[0.0, 1.0, 5.0, 1.0, 0.0]]])
found = DeepLift(model).attribute(signal, target=0)
print("attributions:", found.flatten().tolist(), "which add up to", float(found.sum().detach()))
print(
    "they should be [0.0, 0.0, 15.0, 0.0, 0.0]: the 5 wins all three windows, and the output is", float(model(signal))
)
sys.exit(abs(float((found.sum() - model(signal)).detach())) > 1e-6)
