"""AblationCAM: several target layers may be named in any order, since their maps are averaged."""

import torch
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

torch.manual_seed(0)
model = torch.nn.Sequential(
    *(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU()),
    *(torch.nn.Flatten(), torch.nn.Linear(4 * 4 * 4, 3)),
).eval()
image = torch.randn(1, 3, 8, 8)


def explain(layers):
    with AblationCAM(model, layers, ablation_layer=AblationLayer()) as cam:
        return torch.from_numpy(cam(image, [ClassifierOutputTarget(1)]))


difference = (explain([model[1], model[3]]) - explain([model[3], model[1]])).abs().max().item()
print(f"difference that the order of the layers makes (0 to 1): is {difference:.3f}, should be 0")
raise SystemExit(int(difference > 1e-4))
