"""FullGrad."""

from __future__ import annotations

from array_api_compat import array_namespace

from camzoo.errors import unknown
from camzoo.grids import Array, normalise, resize
from camzoo.types import Capture

RESCALES = ("channel", "layer")


def fullgrad(capture: Capture, *, rescale: str = "channel") -> Array:
    """FullGrad: what the image and every bias of the network contribute to the score.

    `M = sum_c psi(x_c dS/dx_c) + sum_l sum_k psi(b_lk dS/db_lk)`, `psi = up(minmax(|.|))`

    with `x (N, C, H, W)` the images, `b dS/db (N, K_l, h_l, w_l)` the gradient of each bias at each cell of its layer,
    `minmax` to 0..1 and `up` bilinear to the pixels. The biases of linear layers have no grid and are left out of the
    map, though the sum of all terms before `psi` is the score only with them, and only in networks that are piecewise
    linear.

    Args:
        capture: images, input gradients and bias gradients.
        rescale: "channel" takes minimum and maximum of each channel, as the paper writes `psi`; "layer" those of all
            channels of a layer together, as the authors' code does.

    Returns:
        The RAW map `(N, H, W)`, zero or more, at the pixels of the image.

    Raises:
        RequestError: `rescale` is neither.

    Source:
        Srinivas and Fleuret, Full-gradient representation for neural network visualization, NeurIPS 2019,
        arXiv 1905.00780, sections 3 and 4.
    """
    if rescale not in RESCALES:
        raise unknown("rescale", rescale, RESCALES)
    parts = [capture.images * capture.input_gradients]
    parts += [part for part in capture.bias_gradients if part.ndim == capture.images.ndim]
    size = tuple(capture.images.shape[2:])
    maps = [_psi(part, size, rescale) for part in parts]
    return sum(maps[1:], start=maps[0])


def _psi(part: Array, size: tuple[int, ...], rescale: str) -> Array:
    """`sum_k up(minmax(|P_k|))` of one layer, `(N, K, h, w)` to `(N, H, W)`; enlarged once, since `up` is linear."""
    xp = array_namespace(part)
    if rescale == "channel":
        channels = xp.reshape(xp.abs(part), (-1, *part.shape[2:]))
        scaled = xp.reshape(normalise(channels), part.shape)
    else:
        scaled = normalise(xp.abs(part))
    return resize(xp.sum(scaled, axis=1), size)
