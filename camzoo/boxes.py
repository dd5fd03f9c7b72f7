"""Boxes around what a map shows, and how much two boxes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camzoo.errors import RequestError
from camzoo.grids import Array

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REACH = {4: 0, 8: 1}
"""How far a run of pixels reaches beyond its ends into the next row, for each connectivity."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels: columns `left` to `right - 1`, rows `top` to `bottom - 1`.

    So one pixel is a box of area 1, and `right - left` is a width. COCO gives `(left, top, width, height)`; Pascal VOC
    counts from 1 and names the last pixel: `Box(xmin - 1, ymin - 1, xmax, ymax)`.

    Attributes:
        left: first column.
        top: first row.
        right: the column after the last.
        bottom: the row after the last.
    """

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Pixels in the box; 0 where it is empty."""
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The connected segments of masks, mask by mask, and within one by their first pixel in reading order.

    Attributes:
        mask: to which mask each belongs, `(S,)`.
        size: pixels, `(S,)`.
        edges: `left, top, right, bottom` of the box around each, `(S, 4)`, as in Box.
    """

    mask: Ints
    size: Ints
    edges: Ints


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, `|a & b| / |a | b|`, in 0..1; 0 where both are empty.

    Args:
        one: a box.
        other: another, in the same pixels.
    """
    common = Box(
        max(one.left, other.left),
        max(one.top, other.top),
        min(one.right, other.right),
        min(one.bottom, other.bottom),
    ).area
    union = one.area + other.area - common
    return common / union if union > 0 else 0.0


def largest_box(values: Array, share: float = 0.15, connectivity: int = 8) -> Box | None:
    """The box around the largest connected segment of a map's pixels above a share of its maximum.

    `{(i, j): M_ij > share * max M}`, its segment with most pixels, and the smallest rectangle around that.

    Args:
        values: the map `M (H, W)` on the image's pixels; what is negative lies below every threshold.
        share: of the maximum, in `[0, 1)`; 0.15 in Grad-CAM's table, 0.2 in CAM's.
        connectivity: 8 where pixels that touch at a corner belong together, 4 where they don't.

    Returns:
        The box; of several segments as large the one that comes first in reading order. None where the map has no
        positive value or is not finite: it shows nothing.

    Raises:
        RequestError: the share or the connectivity is none.

    Source:
        Selvaraju et al., Grad-CAM, arXiv 1610.02391, section 4.1; Zhou et al., CAM, arXiv 1512.04150, section 3.2.
    """
    found = _host(values)
    if found.ndim != 2:
        raise RequestError(f"a map of shape {found.shape} has no box: one map at a time, (H, W)")
    return largest_boxes(found[None], share, connectivity)[0]


def largest_boxes(values: Array, share: float = 0.15, connectivity: int = 8) -> list[Box | None]:
    """`largest_box` of many maps at once.

    Args:
        values: `(N, H, W)`.
        share: of each map's maximum.
        connectivity: 8 or 4.

    Raises:
        RequestError: the share or the connectivity is none.
    """
    if not 0 <= share < 1:
        raise RequestError(f"share is {share}: it is of a map's maximum, at least 0 and below 1")
    found = _host(values)
    most = found.max((1, 2), keepdims=True)
    shows = np.isfinite(found).all((1, 2), keepdims=True) & (most > 0)
    parts = segments((found > share * np.where(shows, most, 1)) & shows, connectivity)
    ordered = np.lexsort((-parts.size, parts.mask))  # stable: of several as large the first
    boxes: list[Box | None] = [None] * len(found)
    for at in ordered[np.diff(parts.mask[ordered], prepend=-1) > 0]:
        left, top, right, bottom = parts.edges[at].tolist()
        boxes[parts.mask[at]] = Box(left, top, right, bottom)
    return boxes


def segments(masks: Bools, connectivity: int = 8) -> Segments:
    """The connected segments of many masks at once.

    Rows are cut into runs of set pixels, and runs that touch in neighbouring rows are joined: the work grows with the
    number of runs, which is small for the maps that are met here, and no loop in Python goes over pixels.

    Args:
        masks: `(B, H, W)`.
        connectivity: 8 where pixels that touch at a corner belong together, 4 where they don't.

    Raises:
        RequestError: another connectivity.
    """
    if connectivity not in REACH:
        raise RequestError(f"connectivity is {connectivity}: pixels have 4 neighbours or 8")
    mask, row, first, last = _runs(masks)
    height, width = masks.shape[1:]
    line = mask * (height + 1) + row  # an empty row after each mask keeps masks apart
    one, other = _touching(line, first, last, width + 2, REACH[connectivity])
    roots, segment = np.unique(_joined(len(line), one, other), return_inverse=True)
    edges = np.stack([first, row, last, row + 1], 1)
    around = edges[roots]
    np.minimum.at(around[:, :2], segment, edges[:, :2])
    np.maximum.at(around[:, 2:], segment, edges[:, 2:])
    size = np.bincount(segment, last - first, len(roots)).astype(np.int64)
    return Segments(mask[roots], size, around)


def _runs(masks: Bools) -> tuple[Ints, Ints, Ints, Ints]:
    """Of each run of set pixels its mask, row, first column and the column after its last, in reading order."""
    _, height, width = masks.shape
    padded = np.pad(masks, ((0, 0), (0, 0), (1, 1)))
    changes = np.flatnonzero(padded[:, :, 1:] != padded[:, :, :-1])  # a run begins, it ends, the next begins
    line, column = np.divmod(changes, width + 1)
    return line[::2] // height, line[::2] % height, column[::2], column[1::2]


def _touching(line: Ints, first: Ints, last: Ints, stride: int, reach: int) -> tuple[Ints, Ints]:
    """Pairs of runs that touch, the second in the row after that of the first."""
    begin, end = line * stride + first, line * stride + last  # all rows one after the other
    low = np.searchsorted(end, begin + stride - reach, side="right")
    high = np.searchsorted(begin, end + stride + reach, side="left")
    count = high - low
    one = np.repeat(np.arange(len(line)), count)
    within = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
    return one, low[one] + within


def _joined(number: int, one: Ints, other: Ints) -> Ints:
    """For each of `number` runs the smallest run that it is connected with by pairs."""
    root = np.arange(number)
    while True:
        low = np.minimum(root[one], root[other])
        joined = root.copy()
        np.minimum.at(joined, root[one], low)
        np.minimum.at(joined, root[other], low)
        while not np.array_equal(up := joined[joined], joined):
            joined = up
        if np.array_equal(joined, root):
            return root
        root = joined


def _host(values: Any) -> NDArray[Any]:
    """A map of any array library in NumPy."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
