"""Where a map points, against boxes and masks, one image at a time, pixel by pixel.

A box is `(left, top, right, bottom)`, the last two being the first column and row outside it. A mask is a set of
pixels `(i, j)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from camzoo.oracles.grids import Floats

Pixel = tuple[int, int]
Box = tuple[float, float, float, float]


def pixels(box: Box) -> set[Pixel]:
    """The pixels in a box of whole numbers."""
    left, top, right, bottom = (int(edge) for edge in box)
    return {(i, j) for i in range(top, bottom) for j in range(left, right)}


def iou(one: Box, other: Box) -> float:
    """Pixels in both over pixels in either."""
    either = pixels(one) | pixels(other)
    return len(pixels(one) & pixels(other)) / len(either) if either else 0.0


def segments(mask: set[Pixel], connectivity: int) -> list[set[Pixel]]:
    """Connected segments by flooding, in reading order of their first pixels."""
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
    if connectivity == 4:
        steps = [(a, b) for a, b in steps if a == 0 or b == 0]
    left, found = set(mask), []
    for seed in sorted(mask):
        if seed not in left:
            continue
        left.remove(seed)
        segment, edge = {seed}, [seed]
        while edge:
            i, j = edge.pop()
            for a, b in steps:
                if (i + a, j + b) in left:
                    left.remove((i + a, j + b))
                    segment.add((i + a, j + b))
                    edge.append((i + a, j + b))
        found.append(segment)
    return found


def around(segment: Iterable[Pixel]) -> Box:
    """The smallest box that holds a segment."""
    rows, columns = zip(*segment, strict=True)
    return (min(columns), min(rows), max(columns) + 1, max(rows) + 1)


def above(M: Floats, share: float) -> set[Pixel]:
    """Pixels above a share of the map's maximum."""
    return {(i, j) for i in range(len(M)) for j in range(len(M[0])) if M[i, j] > share * M.max()}


def largest_box(M: Floats, share: float, connectivity: int = 8) -> Box:
    """The box of the largest segment above a share of the maximum, the first of several as large."""
    found = segments(above(M, share), connectivity)
    most = max(len(segment) for segment in found)
    return around(next(segment for segment in found if len(segment) == most))


def overlap(M: Floats, truth: Sequence[Box], share: float, connectivity: int = 8) -> float:
    """The IoU of that box with the box of the truth that it fits best."""
    return max(iou(largest_box(M, share, connectivity), box) for box in truth)


def best_overlap(M: Floats, truth: Sequence[Box], share: float, connectivity: int = 8) -> float:
    """The best IoU of any segment's box with any box of the truth: Choe 2020, 2007.04178, MaxBoxAccV2."""
    found = [around(segment) for segment in segments(above(M, share), connectivity)]
    return max(iou(one, box) for one in found for box in truth)


def max_box_accuracy(overlaps: Sequence[Sequence[float]], at: float) -> float:
    """The largest share, over thresholds, of images whose IoU is at least `at`; `overlaps[n][t]`."""
    return max(sum(1 for image in overlaps if image[t] >= at) / len(overlaps) for t in range(len(overlaps[0])))


def points_at(M: Floats, mask: set[Pixel], peak: Pixel, tolerance: float) -> float:
    """1 if the peak lies within `tolerance` pixels of the mask: Zhang 2016, 1608.00507, section 4.1."""
    assert M[peak] == M.max()
    return 1.0 if min(math.dist(peak, pixel) for pixel in mask) <= tolerance else 0.0


def pointing_chance(mask: set[Pixel], size: tuple[int, int], tolerance: float) -> float:
    """The share of the image's pixels that would be a hit."""
    hits = [
        min(math.dist((i, j), pixel) for pixel in mask) <= tolerance for i in range(size[0]) for j in range(size[1])
    ]
    return sum(hits) / len(hits)


def energy(M: Floats, mask: set[Pixel]) -> float:
    """The share of the map that lies in the mask: Wang 2020, 1910.01279, section 4.3."""
    return float(sum(M[pixel] for pixel in mask) / sum(M.ravel()))


def average_precision(M: Floats, mask: set[Pixel]) -> float:
    """`sum_t (recall_t - recall_{t-1}) precision_t` over the map's values as thresholds, from high to low."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(M.ravel().tolist()), reverse=True):
        chosen = {(i, j) for i in range(len(M)) for j in range(len(M[0])) if M[i, j] >= threshold}
        recall, precision = len(chosen & mask) / len(mask), len(chosen & mask) / len(chosen)
        total += (recall - before) * precision
        before = recall
    return total


def mask_iou(M: Floats, mask: set[Pixel], share: float) -> float:
    """The mean of the IoU of the object and that of what is around it."""
    everything = {(i, j) for i in range(len(M)) for j in range(len(M[0]))}
    chosen = above(M, share)
    inside = len(chosen & mask) / len(chosen | mask)
    outside = len(everything - chosen - mask) / len(everything - (chosen & mask))
    return (inside + outside) / 2
