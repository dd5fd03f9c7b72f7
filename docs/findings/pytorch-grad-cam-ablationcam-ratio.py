"""AblationCAM: ratio_channels_to_ablate says how many channels are ablated, those with the highest scores."""

import torch
from pytorch_grad_cam.ablation_layer import AblationLayer

torch.manual_seed(0)
activations = torch.rand(8, 5, 5).numpy()
wrong = False
for ratio in (0.25, 0.5, 0.75):
    found = AblationLayer().activations_to_be_ablated(activations, ratio_channels_to_ablate=ratio).tolist()
    print(
        f"ratio {ratio} of 8 channels: is {len(found)} entries, {len(set(found))} channels, should be {8 * ratio:.0f}"
    )
    wrong |= len(found) != 8 * ratio
raise SystemExit(int(wrong))
