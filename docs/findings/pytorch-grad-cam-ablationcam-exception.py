"""AblationCAM replaces the layer and must put it back, also where a target raises an exception."""

import contextlib

import torch
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.ablation_layer import AblationLayer

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 3)
).eval()
image, calls = torch.randn(1, 3, 8, 8), []


def interrupted(output):
    calls.append(output)
    if len(calls) == 3:
        raise KeyboardInterrupt  # or out of memory, or a mistake of the target's own
    return output[1]


with contextlib.suppress(KeyboardInterrupt):
    AblationCAM(model, [model[1]], ablation_layer=AblationLayer())(image, [interrupted])
print(f"layer: is {type(model[1]).__name__}, should be ReLU")
raise SystemExit(int(not isinstance(model[1], torch.nn.ReLU)))
