"""RISE."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from camzoo.grids import Array, resize
from camzoo.methods._scores import asked
from camzoo.noise import as_array, generator
from camzoo.types import Capture

_BLOCK = 64  # masks that are summed at a time


def rise(capture: Capture, *, masks: int = 4000, cells: int = 7, keep: float = 0.5) -> Array:
    """RISE: the mean of random masks, weighted by the score of the image seen through them.

    `M = 1 / (n p) sum_i S(m_i * x) m_i`

    with `x (N, C, H, W)` the images, `n` masks `m_i (H, W)`, and `p` the probability that a cell of a mask is open. A
    mask is a grid of `cells x cells` zeros and ones, enlarged bilinearly to one cell more than the image on each side,
    and cut to the image at a random place. Mask `i` depends on the seed and `i` alone.

    Args:
        capture: images, seed and the model to ask.
        masks: `n`; as many inputs are run for each image.
        cells: of a mask along each side.
        keep: `p`.

    Returns:
        The RAW map `(N, H, W)` on the image's pixels, in units of the score.

    Source:
        Petsiuk et al., RISE, BMVC 2018, arXiv 1806.07421, equation 6; the score there is the class probability.
    """
    images = capture.images
    xp = array_namespace(images)

    def draw(start: int, stop: int) -> Array:
        drawn = [random_mask(images, capture.seed, number, cells, keep) for number in range(start, stop)]
        return xp.stack(drawn)

    maps = []
    for image in range(images.shape[0]):
        photo = images[image]

        def make(start: int, stop: int, photo: Array = photo) -> Array:
            return draw(start, stop)[:, None] * photo[None]

        scores = asked(capture).score_inputs(image, make, masks)
        total = xp.zeros_like(photo[0])
        for start in range(0, masks, _BLOCK):  # the masks are drawn again, since all at once would not fit
            stop = min(start + _BLOCK, masks)
            total = total + xp.tensordot(scores[start:stop], draw(start, stop), axes=((0,), (0,)))
        maps.append(total / (masks * keep))
    return xp.stack(maps)


def random_mask(images: Array, seed: int, number: int, cells: int, keep: float) -> Array:
    """One mask, `(H, W)` in 0..1."""
    size = images.shape[2:]
    random = generator(seed, number)
    grid = as_array(images, (random.random((cells,) * len(size)) < keep).astype("float32"))
    steps = [math.ceil(length / cells) for length in size]
    shift = [int(random.integers(step)) for step in steps]
    large = resize(grid[None], tuple((cells + 1) * step for step in steps))[0]
    return large[tuple(slice(at, at + length) for at, length in zip(shift, size, strict=True))]
