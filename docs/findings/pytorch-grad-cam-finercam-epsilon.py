"""FinerCAM: a class that is far ahead must still be explained by what raises its logit, not by what lowers it."""

import torch
from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget

target = FinerWeightedTarget(0, [1, 2, 3], alpha=1)
wrong = False
for lead in (5.0, 15.0, 20.0, 25.0):
    outputs = torch.tensor([lead, 0.0, 0.0, 0.0], requires_grad=True)
    target(outputs).backward()
    slope = outputs.grad[0].item()
    print(f"logit {lead:.0f} ahead of three equal ones: d target / d logit is {slope:.3f}, should be 1")
    wrong |= abs(slope - 1) > 1e-3
raise SystemExit(int(wrong))
