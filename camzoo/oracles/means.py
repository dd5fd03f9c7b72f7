"""Means of another method's maps: over noisy copies of the image, and over flipped and dimmed ones.

`explain` stands for that method: from an image `(C, H, W)` to its RAW map, the class held fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from camzoo.oracles.grids import Floats

Explain = Callable[[Floats], Floats]


def mean(maps: Sequence[Floats]) -> Floats:
    """The mean of each cell."""
    result = np.empty(maps[0].shape)
    for cell in np.ndindex(result.shape):
        result[cell] = sum(one[cell] for one in maps) / len(maps)
    return result


def mirrored(values: Floats) -> Floats:
    """Left and right exchanged: the last axis read backwards."""
    result = np.empty(values.shape)
    for place in np.ndindex(values.shape):
        result[place] = values[*place[:-1], values.shape[-1] - 1 - place[-1]]
    return result


def smoothgrad(explain: Explain, x: Floats, noise: Sequence[Floats], std: float = 0.15) -> Floats:
    """`(1/T) sum_t L(x + sigma n_t)`: Smilkov 2017, 1706.03825, section 3.

    `n_t (C, H, W)` are standard normal numbers, and `sigma = std (max x - min x)` over all pixels and colours, as the
    paper states its noise level.
    """
    sigma = std * (max(x.ravel()) - min(x.ravel()))
    copies = [np.empty(x.shape) for _ in noise]
    for copy, n in zip(copies, noise, strict=True):
        for pixel in np.ndindex(x.shape):
            copy[pixel] = x[pixel] + sigma * n[pixel]
    return mean([explain(copy) for copy in copies])


def augmented(explain: Explain, x: Floats) -> Floats:
    """Six copies, as it is and mirrored, each times 0.9, 1 and 1.1; the map of a mirrored copy is mirrored back."""
    maps = []
    for factor in (0.9, 1.0, 1.1):
        maps.append(explain(factor * x))
        maps.append(mirrored(explain(factor * mirrored(x))))
    return mean(maps)
