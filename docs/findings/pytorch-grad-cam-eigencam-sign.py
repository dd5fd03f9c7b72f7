"""EigenCAM: a patch that is bright in every channel must be bright in the map, wherever it lies."""

import torch
from pytorch_grad_cam import EigenCAM

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1), torch.nn.Flatten(), torch.nn.Linear(8 * 14 * 14, 2)).eval()
torch.nn.init.zeros_(model[0].bias)
model[0].weight.data = torch.eye(8)[:, :, None, None]  # the activations are the image
background, bright = 0.1 * torch.rand(1, 8, 14, 14), torch.rand(1, 8, 1, 1) + 0.5

missed = 0
for corner in ("top left", "top right", "bottom left", "bottom right"):
    patch = (slice(0, 4) if "top" in corner else slice(10, 14), slice(0, 4) if "left" in corner else slice(10, 14))
    image = background.clone()
    image[(..., *patch)] += bright
    with EigenCAM(model, [model[0]]) as cam:
        found = torch.from_numpy(cam(image, None))[0]
    missed += bool(found[patch].mean() < 0.5)
    print(f"patch at the {corner}: mean of the map there is {found[patch].mean():.2f}, should be above 0.5")
raise SystemExit(int(missed > 0))
