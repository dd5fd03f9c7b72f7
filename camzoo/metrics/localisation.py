"""Where a map points, against boxes and masks drawn by people."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from camzoo.boxes import Box, iou, largest_boxes
from camzoo.errors import RequestError
from camzoo.metrics.maps import peak, shown

TOLERANCE = 15.0
"""Pixels by which the pointing game lets a map miss."""


def box_masks(truth: Sequence[Sequence[Box]], size: tuple[int, int]) -> torch.Tensor:
    """The pixels whose centres lie in a box of their image, `(N, H, W)`.

    Args:
        truth: the boxes of each image.
        size: `(H, W)` of the images.
    """
    rows, columns = torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5
    masks = torch.zeros(len(truth), *size, dtype=torch.bool)
    for mask, boxes in zip(masks, truth, strict=True):
        for box in boxes:
            inside = (rows > box.top) & (rows < box.bottom)
            mask |= inside[:, None] & (columns > box.left) & (columns < box.right)
    return masks


def pointing(maps: torch.Tensor, masks: torch.Tensor, *, tolerance: float = TOLERANCE, seed: int = 0) -> torch.Tensor:
    """The pointing game: 1 where the map's highest pixel lies on the object or at most 15 pixels away, else 0.

    The mean over images is the metric, higher is better. Of several highest pixels a seeded order picks one.

    Pitfalls. One pixel is a coarse summary of a map. The tolerance is in pixels of the image as the model takes it, so
    it is worth more in a smaller one; see `pointing_chance`. A coarse map of noise peaks in the outer half of its
    border cells more often than their area says (7 x 7 cells: 53 % of the time, on 27 % of the pixels), and so stays
    below chance where objects lie in the middle.

    Args:
        maps: `(N, h, w)`, of any stage.
        masks: the object's pixels, `(N, H, W)`.
        tolerance: the distance between pixel centres that still counts, Euclidean.
        seed: of the order that breaks ties.

    Returns:
        `(N,)`, NaN where the map says nothing and where the mask is empty: an empty mask cannot be hit.

    Source:
        Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016, arXiv 1608.00507, section 4.1.
    """
    seen, masks = shown(maps, tuple(masks.shape[1:])), _masks(masks)
    height, width = masks.shape[1:]
    at, disc = peak(seen, seed), _disc(tolerance, masks.device)
    rows, columns = (at // width)[:, None] + disc[:, 0], (at % width)[:, None] + disc[:, 1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    near = masks.flatten(1).gather(1, rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1))
    return _where_known((near & inside).any(1).to(seen), seen, masks)


def pointing_chance(masks: torch.Tensor, *, tolerance: float = TOLERANCE) -> torch.Tensor:
    """The pointing game of a pixel picked at random: the share of pixels on the object or within the tolerance, `(N,)`.

    Args:
        masks: the object's pixels, `(N, H, W)`.
        tolerance: as in `pointing`.

    Returns:
        In 0..1, NaN where the mask is empty.
    """
    masks = _masks(masks)
    _, height, width = masks.shape
    reach = int(tolerance)
    around = torch.nn.functional.pad(masks, (reach, reach, reach, reach))
    before = torch.nn.functional.pad(around.cumsum(2, dtype=torch.int32), (1, 0))  # object pixels further left
    hits = torch.zeros_like(masks)
    for down in range(-reach, reach + 1):
        half, rows = int((tolerance**2 - down**2) ** 0.5), before[:, reach + down : reach + down + height]
        hits |= rows[..., reach + half + 1 :][..., :width] > rows[..., reach - half :][..., :width]
    return _where_known(hits.float().mean((1, 2)), hits, masks)


def _disc(tolerance: float, device: torch.device) -> torch.Tensor:
    """The steps `(down, right)` to pixels at most `tolerance` away, `(D, 2)`."""
    steps = torch.arange(-int(tolerance), int(tolerance) + 1, device=device)
    return (steps[:, None] ** 2 + steps**2 <= tolerance**2).nonzero() - int(tolerance)


def energy(maps: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """The energy-based pointing game: the share of the map that lies on the object, `sum_mask M / sum M`, in 0..1.

    Higher is better. By chance it is the share of the image that the object fills (`area`).

    Pitfalls. It rewards a map for being small: what lies on the object, but is only its most telling part, scores 1.

    Args:
        maps: `(N, h, w)`, of any stage.
        masks: the object's pixels, or its box's, `(N, H, W)`.

    Returns:
        `(N,)`, NaN where the map says nothing and where the mask is empty.

    Source:
        Wang et al., Score-CAM, CVPRW 2020, arXiv 1910.01279, section 4.3.
    """
    seen, masks = shown(maps, tuple(masks.shape[1:])), _masks(masks)
    return _where_known((seen * masks).sum((1, 2)) / seen.sum((1, 2)), seen, masks)


def area(masks: torch.Tensor) -> torch.Tensor:
    """The share of the image that the object fills: the chance level of `energy`.

    Args:
        masks: the object's pixels, `(N, H, W)`.

    Returns:
        `(N,)`, NaN where the mask is empty.
    """
    masks = _masks(masks)
    return _where_known(masks.float().mean((1, 2)), masks, masks)


def box_iou(
    maps: torch.Tensor,
    truth: Sequence[Sequence[Box]],
    size: tuple[int, int],
    *,
    share: float = 0.15,
    connectivity: int = 8,
) -> torch.Tensor:
    """Box IoU: how well the box around the map's largest segment fits an object, in 0..1, higher is better.

    Pixels above 15 % of the map's maximum (20 % in the CAM paper), their largest connected segment, the box around it,
    and its IoU with the box of the truth that it fits best.

    Pitfalls. Everything hangs on the share, and the best share differs between methods: see MaxBoxAcc. A map on a 7 x 7
    grid cannot draw a small box.

    Args:
        maps: `(N, h, w)`, of any stage.
        truth: the boxes of each image, of its class.
        size: `(H, W)` of the images.
        share: of the maximum.
        connectivity: 8 or 4.

    Returns:
        `(N,)`, NaN where the map says nothing and where there is no box.

    Source:
        Selvaraju et al., Grad-CAM, arXiv 1610.02391, section 4.1; Zhou et al., CAM, arXiv 1512.04150, section 3.2.
    """
    values = []
    for found, boxes in zip(largest_boxes(shown(maps, size), share, connectivity), truth, strict=True):
        values.append(max((iou(found, box) for box in boxes), default=torch.nan) if found else torch.nan)
    return torch.tensor(values)


def box_iou_chance(truth: Sequence[Sequence[Box]], size: tuple[int, int]) -> torch.Tensor:
    """The box IoU of the whole image, `(N,)`: what is reached without looking.

    Args:
        truth: the boxes of each image.
        size: `(H, W)` of the images.
    """
    whole = Box(0, 0, size[1], size[0])
    return torch.tensor([max((iou(whole, box) for box in boxes), default=torch.nan) for boxes in truth])


def localisation_error(overlap: torch.Tensor, place: torch.Tensor, *, top: int = 1, at: float = 0.5) -> torch.Tensor:
    """Localisation error: 0 where the true class is among the model's first `top` and its box fits, else 1.

    The mean over images is the number of the Grad-CAM paper's table, lower is better.

    Pitfalls. It judges the model's accuracy with the map. The map has to be that of the *true* class, not of the class
    that the model prefers.

    Args:
        overlap: box IoU of the map of the true class, `(N,)`.
        place: of the true class in the model's ranking, 0 for its first choice, `(N,)`.
        top: 1 or 5.
        at: the IoU from which on a box fits.

    Returns:
        `(N,)`, NaN where the overlap is.

    Source:
        Selvaraju et al., Grad-CAM, arXiv 1610.02391, table 1, with the rules of the ILSVRC localisation task.
    """
    wrong = (place >= top) | (overlap < at)
    return wrong.to(overlap).masked_fill(overlap.isnan(), torch.nan)


def average_precision(maps: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Pixel average precision of each image, `sum_t (r_t - r_{t-1}) p_t`, in 0..1, higher is better.

    `p_t` and `r_t` are precision and recall of the pixels of at least the `t`-th highest value of the map; pixels of
    one value come together. By chance it is `average_precision_chance`.

    Pitfalls. It wants the whole object covered, which a map of the telling part does not do. Here it is taken for each
    image; PxAP (Choe et al., arXiv 2007.04178) pools the pixels of all images, and so depends on how maps are scaled.

    Args:
        maps: `(N, h, w)`, of any stage.
        masks: the object's pixels, `(N, H, W)`.

    Returns:
        `(N,)`, NaN where the map says nothing and where the mask is empty.
    """
    seen, masks = shown(maps, tuple(masks.shape[1:])), _masks(masks)
    # Floats of 0..1 are ordered as their bits are: as whole numbers they are sorted with their pixel of the mask.
    bits = seen.abs().view(torch.int32 if seen.dtype == torch.float32 else torch.int64)
    ordered = (2 * bits + masks).flatten(1).sort(1, descending=True).values
    hits, values = (ordered & 1).cumsum(1, dtype=torch.float64), ordered >> 1
    precision = hits / torch.arange(1, values.shape[1] + 1, device=values.device)
    last = torch.ones_like(values, dtype=torch.bool)  # of its value
    last[:, :-1] = values[:, 1:] != values[:, :-1]
    # Hits before this value: the running maximum of hits at the ends of values, one place on.
    at_ends = torch.where(last, hits, 0.0).cummax(1).values
    before = torch.nn.functional.pad(at_ends[:, :-1], (1, 0))
    found = torch.where(last, (hits - before) * precision, 0.0).sum(1) / hits[:, -1]
    return _where_known(found.to(seen), seen, masks)


def average_precision_chance(masks: torch.Tensor) -> torch.Tensor:
    """What `average_precision` gives on average for pixels in a random order, exactly, `(N,)`.

    `(H_n + (n - H_n) (P - 1) / (n - 1)) / n`, with `P` of `n` pixels on the object and `H_n = 1 + 1/2 + ... + 1/n`: a
    little above the share `P / n`, since the first pixel is a hit or not.

    Args:
        masks: the object's pixels, `(N, H, W)`.

    Returns:
        In 0..1, NaN where the mask is empty.
    """
    masks = _masks(masks)
    pixels = masks.shape[1] * masks.shape[2]
    harmonic = (1 / torch.arange(1, pixels + 1, dtype=torch.float64)).sum().item()
    others = (masks.sum((1, 2)).double() - 1) / max(1, pixels - 1)
    return _where_known(((harmonic + (pixels - harmonic) * others) / pixels).float(), masks, masks)


def mask_iou(maps: torch.Tensor, masks: torch.Tensor, *, share: float = 0.2) -> torch.Tensor:
    """mIoU: the mean of the IoU of the object and of what is around it, in 0..1, higher is better.

    Marked are the pixels above a share of the map's maximum. `mask_iou_chance` is what marking everything gives.

    Pitfalls. Everything hangs on the share. In a photo that is mostly background a nearly empty map has half of it
    right.

    Args:
        maps: `(N, h, w)`, of any stage.
        masks: the object's pixels, `(N, H, W)`.
        share: of the maximum, in `[0, 1)`; 0.2 as in the CAM paper.

    Returns:
        `(N,)`, NaN where the map says nothing, and where the mask is empty or everything.

    Raises:
        RequestError: the share is none.
    """
    if not 0 <= share < 1:
        raise RequestError(f"share is {share}: it is of a map's maximum, at least 0 and below 1")
    seen, masks = shown(maps, tuple(masks.shape[1:])), _masks(masks)
    marked, pixels = seen > share, masks[0].numel()
    both, either = _count(marked & masks), _count(marked | masks)
    value = (both / either + (pixels - either) / (pixels - both)) / 2
    return _where_known(value.to(seen), seen, masks, ~masks)


def mask_iou_chance(masks: torch.Tensor) -> torch.Tensor:
    """The mIoU of marking everything, half of `area`; and where the object is everything, NaN as in `mask_iou`.

    Args:
        masks: the object's pixels, `(N, H, W)`.
    """
    return _where_known(area(masks) / 2, _masks(masks), _masks(~_masks(masks)))


def _count(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.flatten(1).count_nonzero(1)


def _where_known(values: torch.Tensor, seen: torch.Tensor, *masks: torch.Tensor) -> torch.Tensor:
    """Values `(N,)`, NaN where the map as shown is NaN or one of the masks is empty."""
    known = ~seen.flatten(1)[:, 0].isnan()  # one that is NaN is so throughout
    for mask in masks:
        known = known & mask.flatten(1).any(1)
    return values.masked_fill(~known, torch.nan)


def _masks(masks: torch.Tensor) -> torch.Tensor:
    if masks.dtype != torch.bool or masks.ndim != 3:
        raise RequestError(f"masks are {masks.dtype} of shape {tuple(masks.shape)}: they should be bool, (N, H, W)")
    return masks
