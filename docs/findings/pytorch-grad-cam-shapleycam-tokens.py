"""ShapleyCAM takes a reshape_transform, as for the tokens of a transformer, and must apply it to the activations."""

import torch
from pytorch_grad_cam import GradCAM, ShapleyCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


class Tokens(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.norm = torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.LayerNorm(8)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.norm(self.patches(x).flatten(2).transpose(1, 2)).square().mean(1))


torch.manual_seed(0)
model, image = Tokens().eval(), torch.randn(1, 3, 16, 16)
for method in (GradCAM, ShapleyCAM):
    cam = method(model, [model.norm], reshape_transform=lambda t: t.transpose(1, 2).unflatten(2, (4, 4)))
    try:
        print(f"{method.__name__}: is a map of shape {cam(image, [ClassifierOutputTarget(1)]).shape}")
    except ValueError as error:
        print(f"{method.__name__}: is {error!r}, should be a map of shape (1, 16, 16)")
        raise SystemExit(1) from None
