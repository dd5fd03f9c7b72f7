"""Sanity checks: does a map notice when the model, or the class, is another?"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from camzoo.agreement import spearman
from camzoo.errors import RequestError
from camzoo.metrics.composed import pearson
from camzoo.metrics.maps import shown


def randomised(
    model: nn.Module, layers: Sequence[str] | None = None, *, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Cascading randomisation: copies of a model whose layers lose what they learnt, from the output to the input.

    Each copy has one more layer drawn anew than the one before: by the layer's own `reset_parameters`, and where it has
    none, each of its own parameters from a normal distribution of the same mean and width. The model that is given is
    not touched, and neither is PyTorch's global generator. Only one copy exists at a time, so use each before the next.

    Args:
        model: what is copied.
        layers: dotted names in the order in which they are randomised; where not given every module with parameters of
            its own, the last registered first, which is the order of most models from output to input.
        seed: of the new parameters.

    Yields:
        The name of the layer that was randomised last, and the copy.

    Raises:
        RequestError: a layer has no parameters.

    Source:
        Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018, arXiv 1810.03292, section 3.1.
    """
    copied = copy.deepcopy(model)
    with_own = {name: each for name, each in copied.named_modules() if list(each.parameters(recurse=False))}
    names = [*reversed(with_own)] if layers is None else layers
    if without := [name for name in names if name not in with_own]:
        raise RequestError(f"layer {without[0]!r} has no parameters of its own to randomise")
    for number, name in enumerate(names):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed + number)
            _randomise(with_own[name])
        yield name, copied


def _randomise(module: nn.Module) -> None:
    if callable(reset := getattr(module, "reset_parameters", None)):
        reset()
        return
    for parameter in module.parameters(recurse=False):
        width = parameter.std(correction=0)
        parameter.copy_(parameter.mean() + width * torch.randn(parameter.shape).to(parameter))


def similarity(maps: torch.Tensor, others: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Spearman's correlation of each map with another of the same image, in -1..1, as the sanity checks compare them.

    With the maps of a randomised model, layer after layer, it draws the curve of cascading randomisation, which should
    fall towards 0 from the first layer on.

    Pitfalls. This finds errors; it ranks nothing. A method that stays similar does not look at those layers, and should
    be explained for it or mended; one that falls is not thereby right. Maps that are rectified or smooth are alike
    before anything is learnt: compare with the curve of the control `random`.

    Args:
        maps: of the trained model, `(N, h, w)`, of any stage.
        others: of another model or class, `(N, h, w)`.
        size: `(H, W)` of the images.

    Returns:
        `(N,)`, NaN where one of both maps says nothing.

    Source:
        Adebayo et al., arXiv 1810.03292, section 3.
    """
    pairs = zip(shown(maps, size), shown(others, size), strict=True)
    return torch.tensor([spearman(one.double().cpu().numpy(), other.double().cpu().numpy()) for one, other in pairs])


def class_sensitivity(maps: torch.Tensor, others: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Class sensitivity: how alike the maps of the most and the least likely class are, in -1..1; lower is better.

    `r(M_max, M_min)`, Pearson's correlation of the pixels. Near 1, the map shows the image and not the class.

    Pitfalls. What speaks against the least likely class is often what speaks for the most likely one, so rectified maps
    of both may share little for no good reason. Of nothing but noise the value is near 0.

    Args:
        maps: of the class with the highest score, `(N, h, w)`, of any stage.
        others: of the class with the lowest score, `(N, h, w)`.
        size: `(H, W)` of the images.

    Returns:
        `(N,)`, NaN where one of both maps says nothing.

    Source:
        Rebuffi et al., There and back again, CVPR 2020, arXiv 2004.02866, section 4.
    """
    return pearson(shown(maps, size), shown(others, size))
