"""Complexity, Coherency, and what is composed of them: ADCC and ARCC."""

from __future__ import annotations

import torch

from camzoo.metrics.maps import defined, filled, shown
from camzoo.metrics.scores import Explain, ask


def complexity(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Complexity: how much of the image the map marks, `||M||_1 / HW`, in 0..1; lower is simpler.

    Pitfalls. It knows nothing of the model: a single pixel, anywhere, is the simplest map of all. It is a part of ADCC,
    not a ranking.

    Args:
        maps: `(N, h, w)`, of any stage.
        size: `(H, W)` of the images.

    Returns:
        `(N,)`, NaN where the map says nothing.

    Source:
        Poppi et al., Revisiting the evaluation of class activation mapping, CVPRW 2021, arXiv 2104.10252, equation 3.
    """
    return shown(maps, size).flatten(1).mean(1)


def entropy(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """The map's entropy, `-sum_ij p_ij ln p_ij` with `p = M / sum M`, in 0..ln(HW); lower is simpler.

    What Quantus calls complexity. Pitfalls: those of `complexity`; and it grows with the size of the image.

    Args:
        maps: `(N, h, w)`, of any stage.
        size: `(H, W)` of the images.

    Returns:
        `(N,)`, NaN where the map says nothing.

    Source:
        Bhatt et al., Evaluating and aggregating feature-based model explanations, IJCAI 2020, arXiv 2005.00631.
    """
    flat = shown(maps, size).flatten(1)
    shares = flat / flat.sum(1, keepdim=True)
    return -torch.xlogy(shares, shares).sum(1)


def coherency(explain: Explain, images: torch.Tensor, maps: torch.Tensor, *, chunk: int | None = None) -> torch.Tensor:
    """Coherency: is what the map shows explained by the same map? In 0..1, higher is better.

    `(1 + r(M, M')) / 2`, with `M'` the map of the masked image `M * x` for the same class, and `r` Pearson's
    correlation of the pixels.

    Pitfalls. A map that does not depend on the image, such as the middle of it, is perfectly coherent.

    Args:
        explain: the method, the class frozen from the unmasked image.
        images: `(N, C, H, W)`.
        maps: `(N, h, w)`, of any stage.
        chunk: how many images to run at a time; None for as many as memory allows.

    Returns:
        `(N,)`, NaN where one of both maps says nothing.

    Source:
        Poppi et al., arXiv 2104.10252, equation 2, and the authors' code for its range.
    """
    seen = shown(maps, tuple(images.shape[2:]))
    which = defined(seen)

    def masked(start: int, stop: int) -> torch.Tensor:
        part = which[start:stop]
        return images[part] * seen[part, None].to(images.dtype)

    def shown_again(inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return shown(explain(inputs, rows), tuple(images.shape[2:]))

    again = ask(shown_again, masked, which, images, chunk)
    values = (1 + pearson(seen[which], again)) / 2 if len(which) else again
    return filled(seen, (len(images),), which, values)


def adcc(coherency: torch.Tensor, complexity: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
    """ADCC: the harmonic mean of three parts, `3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop))`, in 0..1.

    Higher is better; 0 where a part is 0. The authors' published code leaves out the inverse and gives `3 (1/... )`,
    which is 9 or more; the paper's equation is meant.

    Pitfalls. A number of three parts hides which of them it is about: look at the parts.

    Args:
        coherency: `(N,)`, of `coherency`.
        complexity: `(N,)`, of `complexity`.
        drop: `(N,)`, of `confidence`.

    Source:
        Poppi et al., arXiv 2104.10252, equation 5.
    """
    return _harmonic_mean(coherency, 1 - complexity, 1 - drop)


def arcc(coherency: torch.Tensor, complexity: torch.Tensor, road: torch.Tensor) -> torch.Tensor:
    """ARCC: ADCC with ROAD in place of the drop, `3 / (1/coherency + 1/(1 - complexity) + 1/max(0, 2 road))`.

    In 0..1, higher is better; 0 where a part is 0, so wherever ROAD is not above 0. Pitfalls: those of `adcc`.

    Args:
        coherency: `(N,)`, of `coherency`.
        complexity: `(N,)`, of `complexity`.
        road: `(N,)`, of `road`, with shares 0.2, 0.4, 0.6 and 0.8 in pytorch-grad-cam.

    Source:
        RefineCAM, arXiv 2605.14641; pytorch-grad-cam's ARCC.
    """
    return _harmonic_mean(coherency, 1 - complexity, (2 * road).clamp(0, 1))


def pearson(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of pairs of maps, in double precision.

    Args:
        one: `(N, H, W)`.
        other: `(N, H, W)`.

    Returns:
        `(N,)` in -1..1; NaN where a map is constant or NaN.
    """
    a, b = (each.flatten(1).double() for each in (one, other))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    sizes = (a * a).sum(1).sqrt() * (b * b).sum(1).sqrt()
    return ((a * b).sum(1) / sizes).clamp(-1, 1)


def _harmonic_mean(*parts: torch.Tensor) -> torch.Tensor:
    stacked = torch.stack(parts)
    inverse = (1 / stacked).sum(0)
    return len(parts) / inverse  # 1/0 is infinite, and so the mean is 0
