"""captum LRP: the activations that it keeps on the modules stay there."""

import sys
import warnings

import torch
from captum.attr import LRP
from torch import nn

warnings.simplefilter("ignore")  # captum's own, on its hooks

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
before = [set(vars(module)) for module in model]
LRP(model).attribute(torch.randn(1, 4), target=0)

left = [sorted(set(vars(module)) - names) for module, names in zip(model, before, strict=True)]
print("attributes left on the modules:", left)
print("there should be none:", [[] for _ in model])
sys.exit(any(left))
