"""One renderer for every backend: a map at the picture's size, coloured, over the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from camzoo.degenerate import as_numpy
from camzoo.grids import resize
from camzoo.types import Heatmap, Stage

Picture = np.ndarray[Any, Any]

COLOURS = "inferno"
OPACITY = 0.6


def at_size(heatmap: Heatmap, index: int, size: tuple[int, int]) -> Picture:
    """One map, normalised on its own grid and then enlarged to a picture's size: `(H, W)` in 0..1, in float64."""
    alone = replace(heatmap, values=as_numpy(heatmap.values[index : index + 1]))
    enlarged: Picture = resize(alone.at(Stage.NORMALISED).values, size)[0]
    return np.clip(enlarged, 0, 1)


def colour(values: Picture, colours: str = COLOURS) -> Picture:
    """Colours of values in 0..1: `(H, W, 3)` in 0..1, grey where a value is not finite."""
    import matplotlib

    finite = np.isfinite(values)
    painted = matplotlib.colormaps[colours](np.where(finite, values, 0))[..., :3]
    return np.where(finite[..., None], painted, 0.5)


def overlay(picture: Picture, values: Picture, colours: str = COLOURS, opacity: float = OPACITY) -> Picture:
    """The coloured map over the picture's grey values: `(H, W, 3)` in 0..1.

    Grey beneath, so that every colour that is seen is the map's.

    Args:
        picture: `(H, W, 3)` bytes.
        values: the map, `(H, W)` in 0..1.
        colours: name of a matplotlib colour map.
        opacity: of the map, 0..1.
    """
    grey = (picture[..., :3].astype(float) @ (0.299, 0.587, 0.114) / 255)[..., None]
    return opacity * colour(values, colours) + (1 - opacity) * grey
