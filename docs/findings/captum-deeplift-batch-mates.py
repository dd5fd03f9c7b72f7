"""captum DeepLift: where a max pooling's input is that of the baseline, all images get the first one's gradient."""

import sys
import warnings

import torch
from captum.attr import DeepLift
from torch import nn

warnings.simplefilter("ignore")  # captum's own, on its hooks

# The difference of two channels, then the largest of two places.
model = nn.Sequential(nn.Conv1d(2, 1, 1, bias=False), nn.MaxPool1d(2), nn.Flatten())
model[0].weight.data = torch.tensor([[[1.0], [-1.0]]])
first = torch.tensor([[[5.0, 1.0], [0.0, 1.0]]])
second = torch.tensor([[[1.0, 5.0], [1.0, 0.0]]])

together = DeepLift(model).attribute(torch.cat([first, second]), target=0)[1]
alone = DeepLift(model).attribute(second, target=0)[0]
print("second image, in a batch:", together.tolist())
print("it should be what it is alone:", alone.tolist())
sys.exit(not torch.allclose(together, alone))
