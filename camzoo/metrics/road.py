"""ROAD: pixels are removed, and what is removed is filled in from around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from camzoo.errors import RequestError
from camzoo.metrics.maps import defined, filled, order, places, shown
from camzoo.metrics.scores import Score, ask
from camzoo.noise import normal

Impute = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From an image `(C, H, W)` and which pixels are removed `(H, W)` to the image with these filled in, without noise."""

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of the pixels that are removed."""


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """What is left of the score as pixels are removed; NaN where the map says nothing.

    Attributes:
        value: ROAD, `(N,)`, in -0.5..0.5, higher is better.
        most: scores with the most important pixels removed, `(N, P)`.
        least: scores with the least important pixels removed, `(N, P)`.
    """

    value: torch.Tensor
    most: torch.Tensor
    least: torch.Tensor


def road(
    score: Score,
    images: torch.Tensor,
    maps: torch.Tensor,
    impute: Impute,
    *,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    seed: int = 0,
    chunk: int | None = None,
) -> Road:
    """ROAD, remove and debias: how much more the unimportant pixels can be spared than the important ones.

    `road = mean_p (L_p - M_p) / 2`, with `M_p` the score after the share `p` of the most important pixels has been
    removed and filled in, and `L_p` after that of the least important ones.

    Exactly `floor(p HW)` pixels go, by their place in one order in which a seed breaks ties. A percentile of the map's
    values as threshold would not do: of a rectified map that is zero in more than half of its pixels, "the 50 % most
    important" are then all of them, and nothing is left to fill in from.

    Pitfalls. Filling in is no inpainting: what is removed becomes a smooth blot, whose outline may still be read. With
    90 % removed nearly nothing is left to see in either order, which draws the value to 0 whatever the map.

    Args:
        score: the model, softmax probability.
        images: `(N, C, H, W)`.
        maps: `(N, h, w)`, of any stage.
        impute: fills in; `camzoo.metrics.libraries.borrowed("road-imputer")` gives pytorch-grad-cam's.
        shares: `p`, each in `(0, 1)`.
        noise: standard deviation of what is added to each filled pixel, in the model's input space.
        seed: of the order that breaks ties, and of the noise.
        chunk: how many images to run at a time; None for as many as memory allows.

    Raises:
        RequestError: there is no share, or one is none.

    Source:
        Rong et al., A consistent and efficient evaluation strategy for attribution methods, ICML 2022, arXiv
        2202.00449; the difference of both orders as one number: pytorch-grad-cam's ROADCombined.
    """
    if not shares or not all(0 < share < 1 for share in shares):
        raise RequestError(f"shares are {tuple(shares)}: of the pixels, above 0 and below 1")
    size = tuple(images.shape[2:])
    seen = shown(maps, size)
    which = defined(seen)
    place = places(order(seen[which], seed)).reshape(-1, *size)
    pixels = place[0].numel() if len(which) else 0
    plan = [(image, share, most) for image in range(len(which)) for share in range(len(shares)) for most in (1, 0)]

    def without(image: int, share: int, most: int) -> torch.Tensor:
        gone = int(shares[share] * pixels + 1e-9)  # the product can land just below a whole number
        removed = place[image] < gone if most else place[image] >= pixels - gone
        photo = images[which[image]]
        if not gone:
            return photo
        change: torch.Tensor = noise * removed * normal(photo, tuple(photo.shape), seed, share, most)
        return impute(photo, removed) + change

    def make(start: int, stop: int) -> torch.Tensor:
        return torch.stack([without(*each) for each in plan[start:stop]])

    found = ask(score, make, which.repeat_interleave(2 * len(shares)), images, chunk)
    scores = filled(found, (len(images), len(shares), 2), which, found.reshape(-1, len(shares), 2))
    most, least = scores.unbind(2)
    return Road((least - most).mean(1) / 2, most, least)
