"""FullGrad: a convolution's bias counts, also where the convolution's class is derived from Conv2d."""

import torch
from pytorch_grad_cam import FullGrad
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


class Derived(torch.nn.Conv2d):
    """The same in every respect."""


def explain(convolution):
    torch.manual_seed(0)
    layers = [convolution(3, 8, 3), torch.nn.ReLU(), convolution(8, 8, 3), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(8 * 12 * 12, 3)).eval()
    return torch.from_numpy(FullGrad(model, [])(torch.randn(1, 3, 16, 16), [ClassifierOutputTarget(1)]))


difference = (explain(torch.nn.Conv2d) - explain(Derived)).abs().max().item()
print(f"difference that the name of the class makes (0 to 1): is {difference:.3f}, should be 0")
raise SystemExit(int(difference > 1e-4))
