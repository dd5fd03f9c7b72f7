"""captum LayerFeaturePermutation: a target is selected twice, which fails."""

import sys

import torch
from captum.attr import LayerFeaturePermutation
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
signals = torch.randn(5, 4)

try:
    found = LayerFeaturePermutation(model, model[0]).attribute(signals, target=1)
except AssertionError as error:
    print("with target=1 it says:", error)
    print("it should give attributions of shape (5, 3), as it does where the model has one output and no target")
    sys.exit(1)
print("attributions of shape", tuple(found.shape))
