"""MaxBoxAcc and MaxBoxAccV2: boxes at every threshold, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from camzoo.boxes import Box, Segments, segments
from camzoo.metrics.maps import shown

Floats = NDArray[np.float64]

THRESHOLDS = tuple(t / 100 for t in range(100))
"""Shares of a map's maximum."""
FITS = (0.3, 0.5, 0.7)
"""From which IoU on a box fits, in MaxBoxAccV2."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxCurves:
    """How well boxes fit at each threshold.

    Attributes:
        largest: IoU of the largest segment's box with the box of the truth that it fits best, `(N, T)`.
        any: the best IoU of any segment's box with any box of the truth, `(N, T)`.
    """

    largest: torch.Tensor
    any: torch.Tensor


def box_curves(
    maps: torch.Tensor,
    truth: Sequence[Sequence[Box]],
    size: tuple[int, int],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    connectivity: int = 8,
) -> BoxCurves:
    """The IoU of each image's boxes at every threshold, from which both accuracies are made.

    Pixels above a threshold fall into connected segments, and each segment has a box around it.

    Args:
        maps: `(N, h, w)`, of any stage.
        truth: the boxes of each image.
        size: `(H, W)` of the images.
        thresholds: shares of the maximum, each in `[0, 1)`.
        connectivity: 8 or 4.

    Returns:
        Two curves for each image, NaN where the map says nothing and where there is no box.
    """
    levels = np.asarray(thresholds)[:, None, None]
    curves = torch.full((2, len(maps), len(thresholds)), torch.nan)
    for image, (seen, boxes) in enumerate(zip(shown(maps, size), truth, strict=True)):
        values = seen.double().cpu().numpy()
        if boxes and not np.isnan(values).any():
            curves[:, image] = torch.from_numpy(_overlaps(segments(values > levels, connectivity), boxes))
    return BoxCurves(*curves)


def max_box_accuracy(curves: BoxCurves, at: float = 0.5) -> torch.Tensor:
    """MaxBoxAcc: the share of images whose box fits, at the threshold at which that share is largest; in 0..1.

    `max_t mean_n [IoU_nt >= 0.5]`, of the largest segment's box. Higher is better. A map of noise reaches, at the
    threshold 0, what the box of the whole image does: the share of images half of which an object's box fills. At
    others it reaches little more.

    Pitfalls. The threshold is chosen on the images that are judged, which flatters every method; so look at the curve
    (`accuracy_curve`). The authors' code quantises maps to 256 levels, measures segments by the polygon around them and
    not by their pixels, and makes boxes one pixel larger on each axis.

    Args:
        curves: of all images.
        at: the IoU from which on a box fits.

    Source:
        Choe et al., Evaluating weakly supervised object localization methods right, CVPR 2020, arXiv 2001.07437.
    """
    return accuracy_curve(curves.largest, at).max()


def max_box_accuracy_v2(curves: BoxCurves, at: Sequence[float] = FITS) -> torch.Tensor:
    """MaxBoxAccV2: the same of any segment's box, as the mean over the IoUs 0.3, 0.5 and 0.7; in 0..1.

    Each IoU has a best threshold of its own. Pitfalls: those of `max_box_accuracy`; and a map of many specks has many
    boxes, one of which may fit by chance.

    Args:
        curves: of all images.
        at: the IoUs from which on a box fits.

    Source:
        Choe et al., Evaluation for weakly supervised object localization, TPAMI 2022, arXiv 2007.04178.
    """
    return torch.stack([accuracy_curve(curves.any, each).max() for each in at]).mean()


def accuracy_curve(overlaps: torch.Tensor, at: float = 0.5) -> torch.Tensor:
    """The share of images whose box fits at each threshold, `(T,)`; images without a value are left out.

    Args:
        overlaps: `(N, T)`, one of the two in BoxCurves.
        at: the IoU from which on a box fits.
    """
    known = overlaps[~overlaps.isnan().any(1)]
    return (known >= at).double().mean(0)


def fits(overlaps: Floats, at: Sequence[float]) -> Floats:
    """Whether each image's box fits at each threshold, for each IoU from which on it does: the tests of a bootstrap.

    Args:
        overlaps: `(T, N)`, NaN where there is none.
        at: the IoUs, `F` of them.

    Returns:
        1 or 0, `(F T, N)`, NaN where the overlap is: what `best` is given the means of.
    """
    passed = np.stack([overlaps >= each for each in at]).astype(np.float64)
    return np.where(np.isnan(overlaps), np.nan, passed).reshape(-1, overlaps.shape[-1])


def best(means: Floats, count: int) -> Floats:
    """Both accuracies from shares of images: the best threshold for each IoU, and the mean over the IoUs.

    Args:
        means: of `fits` over images, `(F T, ...)`.
        count: `F`.

    Returns:
        `(...)`.
    """
    return np.asarray(means.reshape(count, -1, *means.shape[1:]).max(1).mean(0))


def at_best(overlaps: Floats, at: Sequence[float]) -> Floats:
    """What each image adds: whether its box fits at the threshold that is best for all, `(N,)`; their mean is `best`.

    Args:
        overlaps: `(T, N)`, NaN where there is none.
        at: the IoUs; with several the mean over them, each at a threshold of its own.
    """
    tests = fits(overlaps, at).reshape(len(at), *overlaps.shape)
    known = tests[..., ~np.isnan(overlaps).any(0)]
    chosen = known.sum(-1).argmax(1)
    return np.asarray(tests[np.arange(len(at)), chosen].mean(0))


def _overlaps(found: Segments, boxes: Sequence[Box]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The best IoU at each threshold, of the largest segment and of any: `(2, T)`. Each threshold has a segment."""
    edges, known = found.edges[:, None], np.array([[box.left, box.top, box.right, box.bottom] for box in boxes])
    sides = np.minimum(edges[..., 2:], known[:, 2:]) - np.maximum(edges[..., :2], known[:, :2])
    common = np.maximum(sides, 0).prod(-1)
    union = (edges[..., 2:] - edges[..., :2]).prod(-1) + np.array([box.area for box in boxes]) - common
    best = (common / union).max(1)
    starts = np.flatnonzero(np.diff(found.mask, prepend=-1))
    by_size = np.lexsort((-found.size, found.mask))  # stable: of several as large the first
    return np.stack([best[by_size[starts]], np.maximum.reduceat(best, starts)])
