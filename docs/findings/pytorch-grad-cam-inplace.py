"""Activations of a layer must be those that the layer gave, not what the next layer wrote over them."""

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


def explain(inplace):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(inplace=inplace), torch.nn.Flatten(), torch.nn.Linear(8 * 14 * 14, 3)
    ).eval()
    image = torch.randn(1, 3, 16, 16)
    with GradCAM(model, [model[0]]) as cam:
        return torch.from_numpy(cam(image, [ClassifierOutputTarget(1)]))


difference = (explain(inplace=True) - explain(inplace=False)).abs().max().item()
print(f"difference that ReLU(inplace=True) after the layer makes (0 to 1): is {difference:.3f}, should be 0")
raise SystemExit(int(difference > 1e-4))
