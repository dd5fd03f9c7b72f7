"""Captum as a backend: every attribution that gives a map of an image, at the layer or at the pixels."""

from __future__ import annotations

import copy
import functools
import inspect
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from camzoo.errors import NotOffered
from camzoo.types import Backend, Heatmap, Offer, Problem, Resolution, Stage

NAME = "captum"

_GUIDED = ("guided-backprop", "guided-gradcam", "deconvolution")
_DEEPLIFT = ("deeplift", "deeplift-shap", "layer-deeplift", "layer-deeplift-shap")
_LRP = ("lrp", "layer-lrp")
_PERMUTING = ("feature-permutation", "layer-feature-permutation")
_SMOOTHING = {"smoothgrad": "smoothgrad", "smoothgrad-squared": "smoothgrad_sq", "vargrad": "vargrad"}

# One pass of the whole batch, or a swap between its images. The rest copies an image many times over or draws
# random numbers for it, and runs one image at a time, so that batch mates do not matter.
_AT_ONCE = (
    *("gradcam", "hirescam", "layer-activation", "saliency", "input-x-gradient"),
    *(*_GUIDED, *_PERMUTING),
)

# These share out the change of the score from the baseline to the image; LRP shares out the score itself.
_COMPLETE = ("integrated-gradients", "layer-integrated-gradients", "conductance", *_DEEPLIFT, *_LRP)

# Explained against many baselines.
_MANY_BASELINES = ("gradient-shap", "layer-gradient-shap", "deeplift-shap", "layer-deeplift-shap")

# Put a tensor of their own in the place of the layer's output.
_REPLACING = ("layer-integrated-gradients", "layer-feature-ablation", "layer-feature-permutation")

# One number for each patch, the same in all its channels.
_PATCHED = (
    *("occlusion", "lime", "kernelshap", "shapley-sampling", "shapley-values"),
    *("feature-ablation", "layer-feature-ablation", *_PERMUTING),
)

# Activations by the names of their nodes in a graph, and the modules among them that captum follows by class.
_ACTIVATIONS = ("Relu", "Hardtanh", "LeakyRelu", "PreluKernel", "Elu", "Gelu", "Silu", "Mish", "Hardswish", "Softplus")
_FOLLOWED = {
    **dict.fromkeys(_GUIDED, (nn.ReLU,)),
    **dict.fromkeys(_DEEPLIFT, (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Softplus)),
}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "guided-gradcam": {"interpolate_mode": "bilinear"},  # as in the paper
    "lime": {"cells": 7, "n_samples": 300},
    "kernelshap": {"cells": 7, "n_samples": 300},
    "shapley-sampling": {"cells": 7, "n_samples": 8},
    "shapley-values": {"cells": 2},
    "gradient-shap": {"n_samples": 10},
    "layer-gradient-shap": {"n_samples": 10},
    **{method: {"n_samples": 25} for method in _SMOOTHING},
}

# The filters of warnings belong to the whole process: two threads that change them could not both put them back.
_filters = threading.RLock()


def explain(problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The maps of one method of captum, one for each image.

    Channels become one map by their sum, which keeps completeness; for gradients, which are not complete (saliency,
    smoothgrad), by the largest absolute value: Simonyan 2013, 1312.6034, section 3.1. Methods that change a patch in
    all channels together give the number of the patch.

    Args:
        problem: the question.
        method: canonical name.
        options: those of the method's Offer. `batch_size` is how many inputs run at once (8); `cells` is the number
            of patches along each axis; `window` and `stride` of an occluding patch are in pixels. `baselines` is a
            number or an image `(1, C, H, W)`, 0 if left out; for methods that take a distribution of them, images
            `(B, C, H, W)`, five of standard normal noise if left out. The rest is as captum has it.

    Raises:
        NotOffered: captum does not do this on this model or layer, or the installed captum has no such class.
    """
    offer = backend.offer(method)
    if method in _LRP:  # it writes into the parameters and back, which a graph that the caller holds would notice
        problem = replace(problem, model=copy.deepcopy(problem.model))
    everyone = list(range(len(problem.images)))
    groups = [everyone] if method in _AT_ONCE else [[row] for row in everyone]
    parts = []
    with _filters, _noted_warnings() as notes, _tidied(problem.model, method):
        notes += _limits(problem, method)
        for rows in groups:
            _seed(problem)
            attributions, remarks = _attributions(problem, method, options, rows)
            parts.append(_one_map(problem, method, attributions))
            notes += remarks
    unique = tuple(dict.fromkeys(notes))
    return Heatmap(torch.cat(parts), offer.stage, offer.resolution, problem.image_size, method, NAME, unique)


_Settings = Mapping[str, Any]


def _seed(problem: Problem) -> None:
    """Seeds what captum draws from. `torch.manual_seed` keeps a stack trace a call for every kind of GPU not in use."""
    np.random.seed(problem.seed % 2**32)
    torch.default_generator.manual_seed(problem.seed)
    if (device := problem.images.device).type != "cpu":
        getattr(torch, device.type).manual_seed(problem.seed)


class _Score(nn.Module):
    """What captum explains: the model and then the target, from images `(B, C, H, W)` to scores `(B,)`.

    Captum repeats its inputs; row `b` of what comes in belongs to image `rows[b % len(rows)]`.
    """

    def __init__(self, problem: Problem, rows: list[int]) -> None:
        super().__init__()
        self.model = problem.model
        self.problem = problem
        self.rows = rows

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs = _outputs(self.model, images)
        return torch.cat([self._scores(chunk) for chunk in torch.split(outputs, len(self.rows))])

    def _scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """A Target takes a row for each image of the problem: one image's row stands in for the others."""
        count = len(self.problem.images)
        if len(self.rows) < count:
            outputs = outputs.expand(count, *outputs.shape[1:])
        return self.problem.target(outputs)[self.rows]


def _outputs(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    outputs = model(images.clone())  # a copy is no leaf of the graph, so the model may begin with an in-place step
    if not isinstance(outputs, torch.Tensor):
        raise NotOffered(f"captum reads models that return a tensor of scores, not a {type(outputs).__name__}")
    return outputs


def _attributions(
    problem: Problem, method: str, options: Mapping[str, Any], rows: list[int]
) -> tuple[torch.Tensor, list[str]]:
    """What captum gives for some of the images, `(len(rows), ...)`, and what the reader of it should know."""
    images, score = problem.images[rows[0] : rows[-1] + 1], _Score(problem, rows)  # neighbours, so nothing is copied
    settings = {**_DEFAULTS.get(method, {}), **options}
    library = _build(problem, method, settings, score)
    takes = _parameters(backend.offer(method).calls)
    arguments = {name: make(problem, method, settings, images) for name, make in _ARGUMENTS.items() if name in takes}
    # What nobody has set is left to captum's own default.
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if method in _SMOOTHING:
        arguments["abs"] = False  # which NoiseTunnel hands on to Saliency
    try:
        attributions = library.attribute(images, **arguments).detach()
    except (TypeError, RuntimeError, AttributeError) as error:
        if limit := _limit_behind(problem, method, error):
            raise NotOffered(limit) from error
        raise
    notes = _completeness(score, images, arguments.get("baselines"), attributions) if method in _COMPLETE else []
    if method == "lime" and not attributions.any():
        notes.append("the lasso keeps no patch: its alpha is too large for scores that change this little")
    return attributions, notes


def _build(problem: Problem, method: str, settings: _Settings, score: _Score) -> Any:
    """The object of the library."""
    offer = backend.offer(method)
    kind = _kind(offer.calls)
    if method in _SMOOTHING:
        return kind(_kind("Saliency")(score))
    if "alpha" in settings:
        from captum._utils.models.linear_model import SkLearnLasso  # where Lime's documentation has it from

        return kind(score, interpretable_model=SkLearnLasso(alpha=settings["alpha"]))
    at_layer = offer.resolution is Resolution.LAYER or method == "guided-gradcam"
    return kind(score, problem.layer_module) if at_layer else kind(score)


def _kind(name: str) -> Any:
    """A class of the library."""
    from captum import attr

    if not hasattr(attr, name):
        raise NotOffered(f"captum {metadata.version(NAME)} has no {name}")
    return getattr(attr, name)


@functools.cache
def _parameters(name: str) -> frozenset[str]:
    """What can be said in a call of a class of the library."""
    return frozenset(inspect.signature(_kind(name).attribute).parameters)


def _one_map(problem: Problem, method: str, attributions: torch.Tensor) -> torch.Tensor:
    """Channels become one map: `(N, C, H, W)` to `(N, H, W)`, and a layer's output to `(N, h, w)`."""
    if backend.offer(method).resolution is Resolution.LAYER:
        attributions = problem.layout.to_grid(attributions)
    if method in _PATCHED:
        return attributions[:, 0]
    return attributions.abs().amax(1) if method in ("saliency", "smoothgrad") else attributions.sum(1)


def _completeness(score: _Score, images: torch.Tensor, baselines: Any, attributions: torch.Tensor) -> list[str]:
    """Says where the attributions of one image do not add up to what they should share out."""
    with torch.no_grad():
        wanted = float(score(images))
        if baselines is not None:
            wanted -= float(score(torch.zeros_like(images) + baselines).mean())
    found = float(attributions.sum())
    if abs(found - wanted) <= 0.05 * abs(wanted):
        return []
    what = "the score is" if baselines is None else "the score's change from the baseline is"
    return [f"not complete: adds up to {found:.3g}, and {what} {wanted:.3g}"]


# What captum is asked with, by captum's own names of parameters.

_Make = Callable[[Problem, str, _Settings, torch.Tensor], Any]


def _baselines(problem: Problem, method: str, settings: _Settings, images: torch.Tensor) -> Any:
    """What an image is compared with."""
    chosen = settings.get("baselines")
    if isinstance(chosen, torch.Tensor):
        return chosen.to(images)
    if method not in _MANY_BASELINES:
        return chosen or 0.0
    if chosen is not None:
        raise NotOffered(f"captum's {backend.offer(method).calls} takes images (B, C, H, W) as baselines, no number")
    generator = torch.Generator().manual_seed(problem.seed)
    return torch.randn((5, *images.shape[1:]), generator=generator).to(images)


def _pixel_patches(problem: Problem, method: str, settings: _Settings, images: torch.Tensor) -> torch.Tensor:
    """The number of each pixel's patch, `(1, 1, H, W)`."""
    patches = _patches(problem.image_size, settings.get("cells", 14))
    if method == "shapley-values" and (count := int(patches.max()) + 1) > 6:
        raise NotOffered(f"exact Shapley values of {count} patches take {count}! orders: shapley-sampling draws some")
    return patches[None, None].to(images.device)


def _layer_patches(problem: Problem, _method: str, settings: _Settings, images: torch.Tensor) -> torch.Tensor:
    """The number of each cell's patch, as the layer's output is laid out; prefix tokens are one more patch."""
    layout, patches = problem.layout, _patches(problem.layout.shape, settings.get("cells", 14))
    if layout.kind == "tokens":
        prefix = torch.full((layout.prefix,), int(patches.max()) + 1)
        patches = torch.cat([prefix, patches.flatten()])
    return (patches[None, None] if layout.kind == "channels-first" else patches[None, ..., None]).to(images.device)


def _patches(size: tuple[int, ...], cells: int | tuple[int, ...]) -> torch.Tensor:
    """A regular grid of patches, no smaller than a cell of the grid that it divides: their numbers, row by row."""
    numbers = torch.zeros(size, dtype=torch.long)
    for axis, (length, wanted) in enumerate(zip(size, _axes(cells, size), strict=True)):
        count = min(wanted, length)
        along = torch.arange(length) * count // length
        numbers = numbers * count + along.reshape([-1 if other == axis else 1 for other in range(len(size))])
    return numbers


def _axes(value: int | tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """One number for each axis."""
    return (value,) * len(size) if isinstance(value, int) else tuple(value)


def _window(problem: Problem, _method: str, settings: _Settings, images: torch.Tensor) -> tuple[int, ...]:
    """The occluding patch, through all channels: a seventh of each side, as that of camzoo's own occlusion."""
    size = problem.image_size
    return images.shape[1], *_axes(settings.get("window", tuple(max(1, round(length / 7)) for length in size)), size)


def _strides(problem: Problem, method: str, settings: _Settings, images: torch.Tensor) -> tuple[int, ...]:
    """The steps of the occluding patch: half of its sides."""
    _, *window = _window(problem, method, settings, images)
    return 1, *_axes(settings.get("stride", tuple(max(1, length // 2) for length in window)), problem.image_size)


def _stdevs(_problem: Problem, method: str, settings: _Settings, images: torch.Tensor) -> float:
    """The noise: for SmoothGrad 15 % of the image's range (Smilkov 2017, 1706.03825), for GradientShap none."""
    return float(settings.get("stdevs", 0.15 * (images.max() - images.min()) if method in _SMOOTHING else 0))


def _given(name: str, default: Any = None) -> _Make:
    """An option that is handed on as it is."""
    return lambda _problem, _method, settings, _images: settings.get(name, default)


_ARGUMENTS: dict[str, _Make] = {
    "baselines": _baselines,
    "feature_mask": _pixel_patches,
    "layer_mask": _layer_patches,
    "sliding_window_shapes": _window,
    "strides": _strides,
    "perturbations_per_eval": _given("batch_size", 8),
    "internal_batch_size": _given("batch_size", 8),
    "n_steps": _given("n_steps"),
    "method": _given("method"),
    "n_samples": _given("n_samples"),
    "nt_samples": _given("n_samples"),
    "nt_samples_batch_size": _given("batch_size", 8),
    "nt_type": lambda _problem, method, _settings, _images: _SMOOTHING.get(method),
    "stdevs": _stdevs,
    "interpolate_mode": _given("interpolate_mode"),
}


# Where captum would break, or give something else without a word.


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What one pass of one image shows of a model.

    Attributes:
        runs: how often each module without parts ran, by name.
        written: whether the model writes over the layer's output in place.
        nodes: how often each operation stands in the graph of the scores.
        shared: how many ReLUs read a tensor that something else reads as well.
        joined: whether activations are added or multiplied outside of modules.
    """

    runs: Counter[str]
    written: bool
    nodes: Counter[str]
    shared: int
    joined: bool


def _look(problem: Problem) -> _Look:
    runs: Counter[str] = Counter()
    kept: list[tuple[torch.Tensor, int]] = []

    def watch(name: str, module: nn.Module, _inputs: object, output: Any) -> None:
        if not any(True for _ in module.children()):
            runs[name] += 1
        if name == problem.layer:
            kept.append((output, output._version))

    handles = [module.register_forward_hook(partial(watch, name)) for name, module in problem.model.named_modules()]
    outputs = _outputs(problem.model, problem.images[:1].requires_grad_())
    for handle in handles:
        handle.remove()
    nodes = _graph(outputs.grad_fn)
    readers = Counter(edge for node in nodes for edge in node.next_functions)
    relus = [node for node in nodes if node.name() == "ReluBackward0"]
    joins = [node for node in nodes if node.name() in ("AddBackward0", "MulBackward0", "SubBackward0")]
    return _Look(
        runs,
        any(output._version != version for output, version in kept),
        Counter(node.name().removesuffix("Backward0") for node in nodes),
        sum(readers[node.next_functions[0]] > 1 for node in relus),
        any(sum(source is not None for source, _ in node.next_functions) > 1 for node in joins),
    )


def _graph(root: Any) -> set[Any]:
    """Every node of the graph below one."""
    nodes, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting += [source for source, _ in node.next_functions]
    return nodes


def _limits(problem: Problem, method: str) -> list[str]:
    """Refuses what captum cannot do or does wrongly, and says what it passes by.

    Raises:
        NotOffered: with the reason.
    """
    calls = backend.offer(method).calls
    if method in ("gradcam", "guided-gradcam"):
        problem.require_channels_first(f"captum's {calls}")
    if method in _PERMUTING and len(problem.images) < 2:
        raise NotOffered(f"captum's {calls} swaps patches between images, so it takes a batch of two or more")
    if method in (*_SMOOTHING, "gradient-shap", "layer-gradient-shap") and problem.images.dtype.itemsize < 4:
        raise NotOffered(f"captum adds float32 noise to the images, which a model in {problem.images.dtype} refuses")
    if method not in (*_FOLLOWED, *_REPLACING, *_LRP):
        return []
    look = _look(problem)
    if method in _REPLACING and look.written:
        raise NotOffered(f"captum's {calls} puts its own tensor for {problem.layer}, which the model writes over")
    if method in _LRP and look.joined:
        raise NotOffered("captum's LRP has no rule for sums and products outside of modules: both branches get it all")
    return _passed_by(problem, method, look) if method in _FOLLOWED else []


def _passed_by(problem: Problem, method: str, look: _Look) -> list[str]:
    """Notes on activations that captum, which knows them by their module's class, leaves as they are."""
    kinds = _FOLLOWED[method]
    known = ", ".join(f"nn.{kind.__name__}" for kind in kinds)
    followed = sum(times for name, times in look.runs.items() if isinstance(problem.model.get_submodule(name), kinds))
    others = sum(look.nodes[name] for name in _ACTIVATIONS) - followed
    if not followed:
        raise NotOffered(f"captum's {backend.offer(method).calls} acts on {known}, and this model runs none")
    notes = [f"keep their plain gradient, as they are no {known}: {others} activations"] if others else []
    if look.shared and method in _GUIDED:
        notes.append(f"nn.ReLU that rectify the sum of gradients, as their input is read elsewhere too: {look.shared}")
    return notes


def _limit_behind(problem: Problem, method: str, error: Exception) -> str | None:
    """The limit of the library that an error of it stands for."""
    said, calls = str(error), backend.offer(method).calls
    if "more than once in the network" in said:
        first, *others = (name for name, times in _look(problem).runs.items() if times > 1)
        names = f"{first} and {len(others)} others run" if others else f"{first} runs"
        return f"captum's {calls} takes modules that run once in a pass; {names} more often"
    if "has no rule defined" in said:
        return f"captum's {calls}: {said.split(' and no')[0]}"
    if method == "layer-lrp" and isinstance(error, AttributeError):
        return (
            f"captum's {calls} reads modules that have a rule of their own, such as nn.Conv2d; {problem.layer} has none"
        )
    return None


@contextmanager
def _tidied(model: nn.Module, method: str) -> Iterator[None]:
    """Takes away the attributes that DeepLift leaves on modules where it fails; LRP's are on a copy of the model."""
    modules = model.modules() if method in _DEEPLIFT else ()
    before = [(module, set(vars(module))) for module in modules]
    try:
        yield
    finally:
        for module, names in before:
            for name in set(vars(module)) - names:
                delattr(module, name)


@contextmanager
def _noted_warnings() -> Iterator[list[str]]:
    """Keeps warnings from the user: captum's own, on its hooks, are dropped, and others become notes."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield notes
    notes += [str(one.message).splitlines()[0] for one in said if "captum" not in Path(one.filename).parts]


def _at_layer(method: str, calls: str, *options: str, note: str = "") -> Offer:
    return Offer(method, calls, Stage.RAW, Resolution.LAYER, options, note)


def _at_pixels(method: str, calls: str, *options: str, note: str = "") -> Offer:
    return Offer(method, calls, Stage.RAW, Resolution.IMAGE, options, note)


# Captum's hook on an activation's output reads the gradient before its hook on the input of a max pooling, which is
# the same tensor, has changed it; and max_unpool, by which pooling is undone, writes overlapping windows once.
_POOLS = "not complete where max pooling follows an activation directly or its windows overlap"

_PATH = ("baselines", "n_steps", "method", "batch_size")

backend = Backend(
    name=NAME,
    distribution=NAME,
    offers=(
        _at_layer("gradcam", "LayerGradCam"),
        _at_layer("hirescam", "LayerGradientXActivation", note="summed over channels"),
        _at_layer("layer-activation", "LayerActivation", note="sum over channels, the same for every class"),
        _at_layer("layer-integrated-gradients", "LayerIntegratedGradients", *_PATH, note="n_steps=50"),
        _at_layer("conductance", "LayerConductance", *_PATH, note="n_steps=50"),
        _at_layer("internal-influence", "InternalInfluence", *_PATH, note="n_steps=50"),
        _at_layer(
            *("layer-gradient-shap", "LayerGradientShap", "baselines", "n_samples", "stdevs"),
            note="n_samples=10 between the image and noise (5 in captum)",
        ),
        _at_layer("layer-deeplift", "LayerDeepLift", "baselines", note=_POOLS),
        _at_layer(
            "layer-deeplift-shap", "LayerDeepLiftShap", "baselines", note=f"against five images of noise; {_POOLS}"
        ),
        _at_layer("layer-lrp", "LayerLRP", note="layers and models of modules with a rule of their own only"),
        _at_layer(
            *("layer-feature-ablation", "LayerFeatureAblation", "cells", "batch_size"),
            note="14 x 14 patches of cells, or each cell of a smaller grid",
        ),
        _at_layer(
            *("layer-feature-permutation", "LayerFeaturePermutation", "cells", "batch_size"),
            note="14 x 14 patches of cells, swapped between the images of a batch",
        ),
        _at_pixels("saliency", "Saliency", note="largest absolute value over channels"),
        _at_pixels("input-x-gradient", "InputXGradient", note="summed over channels"),
        _at_pixels("guided-backprop", "GuidedBackprop", note="summed over channels; nn.ReLU only"),
        _at_pixels("deconvolution", "Deconvolution", note="summed over channels; nn.ReLU only"),
        _at_pixels(
            *("guided-gradcam", "GuidedGradCam", "interpolate_mode"),
            note="summed over channels; nn.ReLU only; bilinear as in the paper (nearest in captum)",
        ),
        _at_pixels("integrated-gradients", "IntegratedGradients", *_PATH, note="n_steps=50, summed over channels"),
        _at_pixels(
            *("gradient-shap", "GradientShap", "baselines", "n_samples", "stdevs"),
            note="n_samples=10 between the image and noise (5 in captum), summed over channels",
        ),
        _at_pixels("deeplift", "DeepLift", "baselines", note=f"summed over channels; {_POOLS}"),
        _at_pixels(
            *("deeplift-shap", "DeepLiftShap", "baselines"),
            note=f"against five images of noise, summed over channels; {_POOLS}",
        ),
        _at_pixels("lrp", "LRP", note="epsilon rule, summed over channels; models of modules with a rule only"),
        _at_pixels(
            *("smoothgrad", "NoiseTunnel", "n_samples", "stdevs", "batch_size"),
            note="of Saliency, n_samples=25, noise of 15 % of the range; largest absolute value over channels",
        ),
        _at_pixels(
            *("smoothgrad-squared", "NoiseTunnel", "n_samples", "stdevs", "batch_size"),
            note="of Saliency, n_samples=25, noise of 15 % of the range; summed over channels",
        ),
        _at_pixels(
            *("vargrad", "NoiseTunnel", "n_samples", "stdevs", "batch_size"),
            note="of Saliency, n_samples=25, noise of 15 % of the range; summed over channels",
        ),
        _at_pixels(
            *("occlusion", "Occlusion", "window", "stride", "baselines", "batch_size"),
            note="window of a seventh of each side in steps of half of that: 169 passes",
        ),
        _at_pixels(
            *("feature-ablation", "FeatureAblation", "cells", "baselines", "batch_size"),
            note="14 x 14 patches: 197 passes",
        ),
        _at_pixels(
            *("feature-permutation", "FeaturePermutation", "cells", "batch_size"),
            note="14 x 14 patches, swapped between the images of a batch: 197 passes",
        ),
        _at_pixels(
            *("lime", "Lime", "cells", "n_samples", "alpha", "baselines", "batch_size"),
            note="7 x 7 patches, n_samples=300 passes (25 in captum); lasso with alpha=0.01",
        ),
        _at_pixels(
            *("kernelshap", "KernelShap", "cells", "n_samples", "baselines", "batch_size"),
            note="7 x 7 patches, n_samples=300 passes (25 in captum)",
        ),
        _at_pixels(
            *("shapley-sampling", "ShapleyValueSampling", "cells", "n_samples", "baselines", "batch_size"),
            note="7 x 7 patches, n_samples=8 orders of 49 passes (25 in captum)",
        ),
        _at_pixels(
            *("shapley-values", "ShapleyValues", "cells", "baselines", "batch_size"),
            note="exact; 2 x 2 patches: 24 orders of 4 passes",
        ),
    ),
    explain=explain,
    package="captum.attr",
)
