"""FullGrad: the map must not depend on the order in which a module's layers are assigned in __init__."""

import torch
from pytorch_grad_cam import FullGrad
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


class Net(torch.nn.Module):
    def __init__(self, order):
        super().__init__()
        for name in order:
            setattr(self, name, torch.nn.Conv2d(4, 4, 3, padding=1))
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.second(torch.relu(self.first(x)).square()).mean((2, 3)))


torch.manual_seed(0)
in_order, reversed_order = Net(["first", "second"]).eval(), Net(["second", "first"]).eval()
reversed_order.load_state_dict(in_order.state_dict())
image, target = torch.randn(1, 4, 16, 16), [ClassifierOutputTarget(1)]
maps = [torch.from_numpy(FullGrad(net, [])(image, target)) for net in (in_order, reversed_order)]
difference = (maps[0] - maps[1]).abs().max().item()
print(f"difference between two networks that compute the same (0 to 1): is {difference:.3f}, should be 0")
raise SystemExit(int(difference > 1e-4))
