"""A bridge to Quantus, for the metrics that are not here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from camzoo.metrics.maps import defined, shown


def for_quantus(
    images: torch.Tensor, maps: torch.Tensor, classes: Sequence[int], masks: torch.Tensor | None = None
) -> dict[str, Any]:
    """What a metric of Quantus is called with, beside the model: `quantus.Sparseness()(model=model, **given)`.

    Images whose map says nothing are left out; Quantus would take their NaN for values.

    Args:
        images: `(N, C, H, W)`.
        maps: `(N, h, w)`, of any stage.
        classes: the explained class of each image.
        masks: the object's pixels, `(N, H, W)`, where the metric needs them.

    Returns:
        `x_batch (D, C, H, W)`, `y_batch (D,)`, `a_batch (D, 1, H, W)`, and `s_batch (D, 1, H, W)` where there are
        masks: NumPy arrays.
    """
    seen = shown(maps, tuple(images.shape[2:]))
    which = defined(seen)
    given: dict[str, Any] = {
        "x_batch": images[which].detach().cpu().numpy(),
        "y_batch": np.asarray(classes)[which.cpu().numpy()],
        "a_batch": seen[which, None].cpu().numpy(),
    }
    return given if masks is None else given | {"s_batch": masks[which, None].cpu().numpy()}
