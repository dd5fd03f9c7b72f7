"""Smooth Grad-CAM++."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.grids import Array, spatial_axes
from camzoo.methods._arrays import ratio, weighted_sum
from camzoo.methods._scores import asked
from camzoo.noise import normal
from camzoo.types import Capture, Evidence


def smoothgradcam_plus_plus(capture: Capture, *, samples: int = 4, std: float = 0.3) -> Array:
    """Smooth Grad-CAM++: Grad-CAM++ with its derivatives averaged over noisy inputs.

    `D_p = (1/T) sum_t G_t^p`, `alpha = D_2 / (2 D_2 + (sum_ij A_k) D_3)`, `w_k = sum_ij alpha relu(D_1)`,
    `M = sum_k w_k A_k`

    with `A (N, K, h, w)` the activations of the clean images and `G_t` the gradients at `x + N(0, std^2)`. The noise
    depends on the seed and the sample alone. 0/0 is 0; the factors `exp(S_t)` drop out.

    Departure: the paper prints `D_1` above the fraction of alpha, where the Grad-CAM++ that it builds on has the
    second derivative; that is what stands here.

    Args:
        capture: activations, images, seed and the model to ask.
        samples: `T`, a capture for each.
        std: of the noise, in units of the model's input.

    Returns:
        The RAW map `(N, h, w)`.

    Source:
        Omeiza et al., Smooth Grad-CAM++, 2019, arXiv 1908.01224.
    """
    activations, images = capture.activations, capture.images
    xp = array_namespace(activations)
    powers = [xp.zeros_like(activations) for _ in range(3)]
    for sample in range(samples):
        noise = std * normal(images, tuple(images.shape[1:]), capture.seed, sample)
        gradients = asked(capture).retake(frozenset({Evidence.GRADIENTS}), images=images + noise[None]).gradients
        powers = [total + gradients**power / samples for power, total in enumerate(powers, start=1)]
    first, second, third = powers
    totals = xp.sum(activations, axis=spatial_axes(activations, leading=2), keepdims=True)
    alpha = ratio(second, 2 * second + totals * third)
    # Where the first mean is not positive the cell has no part, whatever alpha is.
    parts = xp.where(first <= 0, xp.zeros_like(first), alpha * first)
    return weighted_sum(xp.sum(parts, axis=spatial_axes(activations, leading=2)), activations)
