"""Insertion and Deletion: the image changed pixel by pixel, the most important first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from camzoo.errors import RequestError, unknown
from camzoo.metrics.maps import defined, filled, order, places, shown
from camzoo.metrics.scores import Score, ask

KERNEL, SIGMA = 11, 5.0
"""Side of the RISE authors' blur, in pixels, and its nominal width."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How the score goes as pixels are exchanged.

    Attributes:
        shares: of the pixels exchanged so far, from 0 to 1, `(S + 1,)`.
        scores: `(N, S + 1)`; NaN where the map says nothing.
        area: under the curve, in 0..1, `(N,)`.
    """

    shares: torch.Tensor
    scores: torch.Tensor
    area: torch.Tensor


@dataclass(frozen=True, slots=True)
class Preset:
    """What is put in the place of pixels.

    Attributes:
        deleted: what deletion ends at, made from the images.
        inserted: what insertion starts from, made from the images.
        steps: into how many steps the pixels are divided; None for as many as the image has rows.
    """

    deleted: Callable[[torch.Tensor], torch.Tensor]
    inserted: Callable[[torch.Tensor], torch.Tensor]
    steps: int | None

    def counts(self, images: torch.Tensor, steps: int | None) -> torch.Tensor:
        """How many pixels are exchanged after each step, from none to all, `(S + 1,)`.

        Args:
            images: `(N, C, H, W)`.
            steps: another number of steps than the preset's.

        Raises:
            RequestError: there is no step.
        """
        pixels = images[0, 0].numel()
        number = next(each for each in (steps, self.steps, images.shape[2]) if each is not None)
        if number < 1:
            raise RequestError(f"{number} steps: there must be one at least")
        return torch.tensor([*range(0, pixels, math.ceil(pixels / number)), pixels], device=images.device)


def deletion(
    score: Score,
    images: torch.Tensor,
    maps: torch.Tensor,
    *,
    preset: str = "rise",
    steps: int | None = None,
    seed: int = 0,
    chunk: int | None = None,
) -> Curve:
    """Deletion: the score while the most important pixels are taken away. The lower the area, the better.

    `area = sum_k (s_{k+1} - s_k) (S_k + S_{k+1}) / 2`, the trapezoids of the score `S_k` over the share `s_k` of
    pixels that are gone.

    Presets. `rise`: pixels become zero in the model's own input space, as many steps as the image has rows, so `W`
    pixels a step (224 of a 224 x 224 image, as the authors have it). `mean`: pixels become the image's own mean colour,
    in 32 steps.

    Pitfalls. Holes are unlike any photo, and a score may fall because of that alone; a map that scatters its pixels
    profits, for it destroys texture everywhere at once. With `rise` and `mean` methods can rank differently: compare
    within one preset only. The authors' code counts a last step with fewer pixels as a whole one; here it counts as
    what it is. Ties, of which a rectified map is full, are broken by a seeded order.

    Args:
        score: the model, softmax probability.
        images: `(N, C, H, W)`.
        maps: `(N, h, w)`, of any stage.
        preset: "rise" or "mean".
        steps: another number of steps, each of `ceil(HW / steps)` pixels and the last of what is left.
        seed: of the order that breaks ties.
        chunk: how many images to run at a time; None for as many as memory allows.

    Raises:
        RequestError: there is no such preset, or no step.

    Source:
        Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421, section 4.1 and the authors' code.
    """
    chosen = named(preset)
    return _exchanged(score, images, chosen.deleted(images), maps, chosen.counts(images, steps), seed, chunk)


def insertion(
    score: Score,
    images: torch.Tensor,
    maps: torch.Tensor,
    *,
    preset: str = "rise",
    steps: int | None = None,
    seed: int = 0,
    chunk: int | None = None,
) -> Curve:
    """Insertion: the score while the most important pixels are given back. The higher the area, the better.

    The area is that of `deletion`. Presets: `rise` starts from the image blurred by an 11 x 11 kernel of width 5, as
    the authors make it, with zeros beyond the border; `mean` from the image's own mean colour.

    Pitfalls. A blurred photo may well be recognised: then the curve starts high, and little is left to tell methods
    apart. Else those of `deletion`.

    Args:
        score: the model, softmax probability.
        images: `(N, C, H, W)`.
        maps: `(N, h, w)`, of any stage.
        preset: "rise" or "mean".
        steps: another number of steps.
        seed: of the order that breaks ties.
        chunk: how many images to run at a time; None for as many as memory allows.

    Raises:
        RequestError: there is no such preset, or no step.

    Source:
        As for `deletion`.
    """
    chosen = named(preset)
    return _exchanged(score, chosen.inserted(images), images, maps, chosen.counts(images, steps), seed, chunk)


def named(preset: str) -> Preset:
    """A preset by its name."""
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    return PRESETS[preset]


def _exchanged(
    score: Score,
    start: torch.Tensor,
    finish: torch.Tensor,
    maps: torch.Tensor,
    counts: torch.Tensor,
    seed: int,
    chunk: int | None,
) -> Curve:
    """The curves from images to others, `counts (S + 1,)` pixels exchanged in the order of the maps."""
    size = tuple(start.shape[2:])
    seen = shown(maps, size)
    which = defined(seen)
    place = places(order(seen[which], seed)).reshape(-1, *size)
    image = torch.arange(len(which), device=start.device).repeat_interleave(len(counts))
    count = counts.repeat(len(which))

    def make(first: int, last: int) -> torch.Tensor:
        part = image[first:last]
        changed = place[part] < count[first:last, None, None]
        return torch.where(changed[:, None], finish[which[part]], start[which[part]])

    found = ask(score, make, which[image], start, chunk).reshape(-1, len(counts))
    scores = filled(found, (len(start), len(counts)), which, found)
    shares = counts.to(scores) / counts[-1]
    return Curve(shares, scores, torch.trapezoid(scores, shares, dim=1))


def blurred(images: torch.Tensor, length: int = KERNEL, sigma: float = SIGMA) -> torch.Tensor:
    """Images under the RISE authors' blur, with zeros beyond the border.

    Their kernel is what a Gaussian filter of width 5, cut at four times that, makes of a point in a picture of 11 x 11
    pixels whose border mirrors: what falls outside is folded back, which leaves it far flatter than a Gaussian.

    Args:
        images: `(N, C, H, W)`.
        length: side of the kernel.
        sigma: nominal width.
    """
    reach = int(4 * sigma + 0.5)
    taps = np.arange(-reach, reach + 1)
    bell = np.exp(-(taps**2) / (2 * sigma**2))
    folded = (taps + length // 2) % (2 * length)
    line = np.bincount(np.minimum(folded, 2 * length - 1 - folded), bell / bell.sum(), length)
    colours = images.shape[1]
    kernel = torch.from_numpy(np.outer(line, line)).to(images).expand(colours, 1, length, length)
    return torch.nn.functional.conv2d(images, kernel, padding=length // 2, groups=colours)


def mean_colour(images: torch.Tensor) -> torch.Tensor:
    """Each image's mean colour, everywhere: `(N, C, H, W)`."""
    return images.mean((2, 3), keepdim=True).expand_as(images)


PRESETS = {
    "rise": Preset(torch.zeros_like, blurred, None),
    "mean": Preset(mean_colour, mean_colour, 32),
}
