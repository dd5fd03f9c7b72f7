"""Arrays as texts that a page can carry: maps, photos and colours."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, Any]

STEPS, MISSING = 65534, 65535
SMALLEST, LARGEST = 160, 512
"""Between these lies the longer side of a photo as the page draws it, in pixels."""


def packed(values: Pixels) -> dict[str, Any]:
    """A map in 65,535 equal steps between its least and its largest finite value, deflated; lossless from there.

    Steps are stored as differences from cell to cell, all low bytes before all high ones: smooth maps then shrink to a
    third.

    Args:
        values: `(h, w)`.

    Returns:
        `shape`, `low`, `high` and `codes` in base64, for `unpacked` in scripts/numbers.js.
    """
    finite = np.isfinite(values)
    low, high = (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0.0, 0.0)
    # Halves, since the spread of two huge numbers may overflow.
    share = (np.where(finite, values, low) / 2 - low / 2) / ((high / 2 - low / 2) or 1)
    steps = np.where(finite, np.rint(share * STEPS), MISSING).astype(np.uint16)
    apart = np.diff(steps.ravel(), prepend=np.uint16(0)).astype("<u2")  # modulo 65,536
    planes = apart.view(np.uint8).reshape(-1, 2).T.tobytes()
    return {"shape": values.shape, "low": low, "high": high, "codes": _base64(zlib.compress(planes, 9))}


def drawn(picture: Pixels) -> Image.Image:
    """A photo at the size at which the page draws it: large ones shrunk, small ones in whole squares."""
    image = Image.fromarray(picture)
    longest = max(image.size)
    if longest > LARGEST:
        size = [max(1, round(side * LARGEST / longest)) for side in image.size]
        return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    times = -(-SMALLEST // longest)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def data_url(image: Image.Image) -> str:
    """A photo as a PNG or a JPEG of high quality, whichever is smaller."""
    texts = []
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 92, "subsampling": 0})):
        buffer = io.BytesIO()
        image.save(buffer, format=kind, **options)
        texts.append(f"data:image/{kind};base64,{_base64(buffer.getvalue())}")
    return min(texts, key=len)


def colour_table(name: str) -> str:
    """The 256 colours of a matplotlib colour map, three bytes each, in base64."""
    colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return _base64(np.rint(255 * colours).astype(np.uint8).tobytes())  # its own bytes are cut off, not rounded


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
