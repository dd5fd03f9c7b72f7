"""AblationCAM: a map must not depend on how many channels are ablated at a time."""

import torch
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, stride=2),
    torch.nn.SiLU(),  # its least value is -0.278, so channels are not ablated to 0
    torch.nn.Conv2d(8, 8, 3),
    torch.nn.SiLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(8 * 5 * 5, 3),
).eval()
image = torch.randn(1, 3, 16, 16)


def explain(batch_size):
    with AblationCAM(model, [model[1]], ablation_layer=AblationLayer(), batch_size=batch_size) as cam:
        return torch.from_numpy(cam(image, [ClassifierOutputTarget(1)]))


difference = (explain(1) - explain(8)).abs().max().item()
print(f"largest difference between the maps (0 to 1) of batch_size 1 and 8: is {difference:.3f}, should be 0")
raise SystemExit(int(difference > 1e-4))
