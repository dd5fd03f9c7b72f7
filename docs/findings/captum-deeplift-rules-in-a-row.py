"""captum DeepLift: a max pooling right after a ReLU is passed by its plain gradient."""

import sys
import warnings

import torch
from captum.attr import DeepLift
from torch import nn

warnings.simplefilter("ignore")  # captum's own, on its hooks

model = nn.Sequential(nn.ReLU(), nn.MaxPool1d(2), nn.Flatten())
image = torch.tensor([[[2.0, 1.0]]])
baseline = torch.tensor([[[0.0, 3.0]]])

found = DeepLift(model).attribute(image, baseline, target=0)
change = float(model(image) - model(baseline))
print("attributions:", found.flatten().tolist(), "which add up to", float(found.sum().detach()))
print("they should add up to the change of the output:", change)
print("by the rule of max pooling they should be [0.0, -1.0]")
sys.exit(abs(float(found.sum().detach()) - change) > 1e-6)
