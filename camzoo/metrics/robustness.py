"""Infidelity and sensitivity-max, as Captum computes them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from camzoo.metrics.maps import defined, filled, shown
from camzoo.metrics.scores import Explain, Score
from camzoo.noise import as_array, generator

Compute = Callable[..., torch.Tensor]
"""A metric of Captum: `camzoo.metrics.libraries.borrowed` gives it."""


def infidelity(
    score: Score,
    images: torch.Tensor,
    maps: torch.Tensor,
    compute: Compute,
    *,
    noise: float = 0.1,
    samples: int = 50,
    seed: int = 0,
    chunk: int = 16,
) -> torch.Tensor:
    """Infidelity: how badly the map predicts what noise does to the score; zero or more, lower is better.

    `E_I (beta I . M - (f(x) - f(x - I)))^2`, with `I` Gaussian noise and `beta` the best factor for the map, so that
    its scale does not matter (`normalize=True`).

    Pitfalls. The score of most classes hardly moves under small noise, and a map of zeros would predict that well: the
    number is about the model as much as about the map. A map gives all colours of a pixel the same weight, which is not
    what attributions were made for. Values of different models cannot be compared.

    Args:
        score: the model, softmax probability.
        images: `(N, C, H, W)`.
        maps: `(N, h, w)`, of any stage.
        compute: `borrowed("infidelity")`.
        noise: standard deviation of `I`, as a share of each image's range.
        samples: draws of `I`.
        seed: of the draws, which are the same for each image.
        chunk: how many altered images to run at a time.

    Returns:
        `(N,)`, NaN where the map says nothing.

    Source:
        Yeh et al., On the (in)fidelity and sensitivity of explanations, NeurIPS 2019, arXiv 1901.09392.
    """
    seen = shown(maps, tuple(images.shape[2:]))
    which = defined(seen)
    values = []
    for image in which.tolist():  # one at a time, so that noise does not depend on batch mates
        photo = images[image : image + 1]
        values.append(
            compute(
                score,
                _disturbing(photo, noise, seed),
                photo,
                seen[image].to(photo).expand_as(photo),
                additional_forward_args=torch.tensor([image], device=images.device),
                n_perturb_samples=samples,
                max_examples_per_batch=min(chunk, samples),
                normalize=True,
            )
        )
    return filled(seen, (len(images),), which, torch.cat(values) if values else seen.new_empty(0))


def sensitivity_max(
    explain: Explain,
    images: torch.Tensor,
    compute: Compute,
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    chunk: int = 16,
) -> torch.Tensor:
    """Sensitivity-max: the most that a map changes under noise too small to see; zero or more, lower is better.

    `max_e ||M(x + e) - M(x)|| / ||M(x)||` over draws of `e`, each pixel and colour uniform in `-r..r`.

    Pitfalls. A map that ignores the image is not sensitive at all. The radius is in the model's input space.

    Args:
        explain: the method, the class frozen from the unaltered image. Gradients are on while it is called: Captum
            turns them off, and a gradient method would fail or, worse, give zeros.
        images: `(N, C, H, W)`.
        compute: `borrowed("sensitivity-max")`.
        radius: `r`.
        samples: draws of `e`.
        seed: of the draws, which are the same for each image.
        chunk: how many altered images to explain at a time.

    Returns:
        `(N,)`, NaN where a map says nothing.

    Source:
        Yeh et al., arXiv 1901.09392, definition of SENS_MAX.
    """
    values = []
    for image in range(len(images)):
        photo = images[image : image + 1]
        values.append(
            compute(
                _explaining(explain, image),
                photo,
                _shaking(radius, seed),
                n_perturb_samples=samples,
                max_examples_per_batch=min(chunk, samples),
            )
        )
    return torch.cat(values) if values else images.new_empty(0)


def _disturbing(photo: torch.Tensor, noise: float, seed: int) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
    """Gives Gaussian noise and images without it, the draws going on from call to call."""
    draw, width = generator(seed), noise * float(photo.max() - photo.min())

    def disturb(inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        change = width * as_array(inputs, draw.standard_normal(tuple(inputs.shape)))
        return change, inputs - change

    return disturb


def _shaking(radius: float, seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Gives images with uniform noise, the draws going on from call to call."""
    draw = generator(seed)

    def shake(inputs: torch.Tensor) -> torch.Tensor:
        shaken: torch.Tensor = inputs + as_array(inputs, draw.uniform(-radius, radius, tuple(inputs.shape)))
        return shaken

    return shake


def _explaining(explain: Explain, image: int) -> Callable[..., torch.Tensor | tuple[torch.Tensor]]:
    """The method as Captum calls it: with a tuple first, which must give a tuple, and with tensors after."""

    def maps(inputs: torch.Tensor | tuple[torch.Tensor]) -> torch.Tensor | tuple[torch.Tensor]:
        if isinstance(inputs, tuple):
            return (of(inputs[0]),)
        return of(inputs)

    def of(altered: torch.Tensor) -> torch.Tensor:
        rows = torch.full((len(altered),), image, device=altered.device)
        with torch.enable_grad():
            return shown(explain(altered, rows), tuple(altered.shape[2:]))

    return maps
