"""What every metric does with maps first: one stage, one resampling, one order of the pixels."""

from __future__ import annotations

import torch

from camzoo import degenerate, grids, noise
from camzoo.errors import RequestError


def shown(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Maps as they are shown, `minmax(up(relu(M)))`: rectified, enlarged, then brought to 0..1.

    The one resampling is `camzoo.grids.resize`: bilinear, half-pixel centres. Min-max comes last, so that a map reaches
    both ends on the grid on which it is judged. Doing it twice changes nothing.

    Args:
        maps: `(N, h, w)`, of any stage.
        size: `(H, W)` of the images.

    Returns:
        `(N, H, W)` in 0..1, in single precision at least. A map that shows nothing is NaN throughout; `reasons` has
        the reason. Metrics give NaN for it, which is to be counted, never averaged away.

    Raises:
        RequestError: these are no maps of images.
    """
    if maps.ndim != len(size) + 1:
        raise RequestError(f"maps of shape {tuple(maps.shape)} are not (N, h, w)")
    if _is_shown(maps, size):
        return maps.detach()
    rectified = grids.rectify(maps.detach().to(torch.promote_types(maps.dtype, torch.float32)))
    enlarged: torch.Tensor = grids.normalise(grids.resize(rectified, size))
    nothing = torch.tensor([bool(why) for why in reasons(maps)], device=maps.device)
    return enlarged.masked_fill(nothing.reshape(-1, *(1,) * len(size)), torch.nan)


def _is_shown(maps: torch.Tensor, size: tuple[int, ...]) -> bool:
    """Whether `shown` would change nothing: maps that were given to it before, as every metric of one map does."""
    if maps.shape[1:] != size or maps.dtype not in (torch.float32, torch.float64):
        return False
    flat = maps.detach().flatten(1)
    reaches = (flat.amin(1) == 0) & (flat.amax(1) == 1)
    return bool(reaches.all()) or bool((reaches | flat.isnan().all(1)).all())


def reasons(maps: torch.Tensor) -> tuple[str, ...]:
    """Why each map says nothing about its image: "not finite", "all zero", "constant", or "" where it does.

    Args:
        maps: `(N, h, w)`, of any stage.
    """
    flat = grids.rectify(maps.detach()).flatten(1)
    rounding = degenerate.ROUNDING * torch.finfo(maps.dtype).eps
    verdicts = (
        ("not finite", ~flat.isfinite().all(1)),
        ("all zero", (flat == 0).all(1)),
        ("constant", flat.amax(1) - flat.amin(1) <= rounding * flat.amax(1)),
    )
    columns = [(why, holds.tolist()) for why, holds in verdicts]
    return tuple(next((why for why, holds in columns if holds[n]), "") for n in range(len(maps)))


def defined(values: torch.Tensor) -> torch.Tensor:
    """Numbers of the maps that say something, `(D,)`: those that are not NaN.

    Args:
        values: `(N, ...)`, as `shown` gives them.
    """
    return (~values.flatten(1)[:, 0].isnan()).nonzero().squeeze(1)  # one that is NaN is so throughout


def order(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """The pixels of each map from the most important to the least, by flat index: `(N, HW)`.

    Where pixels are equal, and in a rectified map many are, one seeded order of all pixels decides, the same for every
    map. Without it the reading order decides, which favours whatever a photo has at its top.

    Args:
        values: `(N, H, W)`.
        seed: of that order.
    """
    flat = values.flatten(1)
    mixed = _mixed(flat, seed)
    return mixed[flat[:, mixed].argsort(dim=1, descending=True, stable=True)]


def peak(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """The most important pixel of each map, by flat index: the first one of `order`, found without a sort, `(N,)`.

    Args:
        values: `(N, H, W)`.
        seed: of that order.
    """
    flat = values.flatten(1)
    drawn = places(_mixed(flat, seed)[None])
    highest = flat == flat.amax(1, keepdim=True)
    return torch.where(highest, drawn, flat.shape[1]).argmin(1)


def _mixed(flat: torch.Tensor, seed: int) -> torch.Tensor:
    """All pixels in a seeded order, by flat index: `(HW,)`."""
    return torch.from_numpy(noise.generator(seed).permutation(flat.shape[1])).to(flat.device)


def places(ordered: torch.Tensor) -> torch.Tensor:
    """The place of each pixel in an order, from 0 for the most important: `(N, HW)`.

    Args:
        ordered: `(N, HW)`, as `order` gives it.
    """
    counted = torch.arange(ordered.shape[1], device=ordered.device).expand_as(ordered)
    return torch.empty_like(ordered).scatter_(1, ordered, counted)


def filled(like: torch.Tensor, shape: tuple[int, ...], which: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values of some images among NaN for the others.

    Args:
        like: whose dtype and device are taken.
        shape: of the result, the first number counting images.
        which: numbers of the images `(D,)`.
        values: their values `(D, ...)`.
    """
    result = like.new_full(shape, torch.nan)
    result[which] = values.to(result)
    return result
