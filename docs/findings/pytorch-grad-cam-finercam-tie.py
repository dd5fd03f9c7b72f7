"""FinerCAM: the class named by target_idx is explained, also where another class has the same logit."""

import torch
from pytorch_grad_cam import FinerCAM

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 4)
).eval()
image = torch.randn(1, 3, 8, 8)
with torch.no_grad():
    model[3].bias[1] += (model(image)[0, 0] - model(image)[0, 1]).item()  # classes 0 and 1 now tie
    model[3].bias.data = torch.where(torch.arange(4) < 2, model[3].bias, model[3].bias - 9)
    logits = model(image)[0]
maps = [torch.from_numpy(FinerCAM(model, [model[1]])(image, target_idx=index)) for index in (0, 1)]
difference = (maps[0] - maps[1]).abs().max().item()
print(f"logits: {logits.tolist()}")
print(f"largest difference between the maps (0 to 1) of target_idx 0 and 1: is {difference:.3f}, should not be 0")
raise SystemExit(int(logits[0] == logits[1] and difference == 0))
