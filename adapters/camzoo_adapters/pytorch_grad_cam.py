"""pytorch-grad-cam as a backend: its maps after ReLU and min-max, at the image's size."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from camzoo.errors import NotOffered, unknown
from camzoo.types import Backend, Heatmap, Offer, Problem, Resolution, Stage

NAME = "pytorch-grad-cam"
DISTRIBUTION = "grad-cam"

# Options that go to the call; the others go to the constructor.
_AT_CALL = ("aug_smooth", "eigen_smooth", "alpha", "comparison_categories")

# One image at a time: the library draws one array of weights for the whole batch (random), takes one class for it
# (finercam), or keeps a masked copy of every image for every channel (scorecam).
_ONE_BY_ONE = ("random", "finercam", "scorecam")

# No maps of volumes: these are written for (N, C, H, W).
_FLAT_ONLY = ("scorecam", "ablationcam", "fullgrad", "sess", "guided-backprop")

# These walk the whole model and stumble over a slot of a module that holds None.
_WALKERS = ("ablationcam", "fullgrad", "guided-backprop")

# These decompose a matrix with a row for each cell; NumPy's full U is then cells x cells.
_SVD = ("eigencam", "eigengradcam", "segeigencam")
_MOST_CELLS = 128 * 128

# What guided backprop should rectify and this library, which looks for nn.ReLU, passes by.
_OTHER_RECTIFIERS = (nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish)


def explain(problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The maps of one method of pytorch-grad-cam, one for each image.

    Args:
        problem: the question.
        method: canonical name.
        options: those of the method's Offer. `aug_smooth` is the mean over a flip and three brightnesses,
            `eigen_smooth` the first principal component in place of the sum over channels; `layers` are dotted names,
            whose maps the library averages (refinecam: multiplies); `base_method` is a canonical name.

    Raises:
        NotOffered: the library does not do this, or the installed version has no such class.
        RequestError: a layer or a base method does not exist.
    """
    offer = backend.offer(method)
    _refuse(problem, method, options)
    notes: list[str] = []
    with _arithmetic(notes):
        if method == "guided-backprop":
            values = _guided_backprop(problem, notes)
        else:
            values = _cams(problem, method, dict(options), notes)
            notes += [] if options.get("aug_smooth") else _swallowed(values)
    maps = torch.from_numpy(values).to(problem.images.device)
    unique = tuple(dict.fromkeys(notes))
    return Heatmap(maps, offer.stage, offer.resolution, problem.image_size, method, NAME, unique)


def _refuse(problem: Problem, method: str, options: Mapping[str, Any]) -> None:
    """Says no, with the reason, where the library would break or give something else than was asked for."""
    dtype, methods = problem.images.dtype, (method, options.get("base_method"))
    svd = options.get("eigen_smooth") or any(name in _SVD for name in methods)
    if dtype == torch.bfloat16:
        raise NotOffered("pytorch-grad-cam works on NumPy arrays, which have no bfloat16")
    if dtype == torch.float16 and svd:
        raise NotOffered("pytorch-grad-cam decomposes with NumPy, which has no linear algebra for float16")
    if svd and (cells := int(np.prod(problem.layout.shape))) > _MOST_CELLS:
        raise NotOffered(f"pytorch-grad-cam's SVD makes a {cells} x {cells} matrix of a grid of {cells} cells")
    if len(problem.image_size) != 2 and (options.get("aug_smooth") or any(name in _FLAT_ONLY for name in methods)):
        raise NotOffered("pytorch-grad-cam does this for images (N, C, H, W) only, not for volumes")
    if 0.5 < options.get("ratio_channels_to_ablate", 1) < 1:
        # The ratio is taken from both ends of the ranking; an overlap stops the reading of the scores.
        raise NotOffered("pytorch-grad-cam loses channels at a ratio between 0.5 and 1, which is all of them already")
    if "shapleycam" in methods:
        problem.require_channels_first("pytorch-grad-cam's ShapleyCAM")
    if not any(True for _ in problem.model.parameters()):
        raise NotOffered("pytorch-grad-cam asks the model's parameters for their device, and this model has none")
    slots = (child for module in problem.model.modules() for child in module._modules.values())
    if any(name in _WALKERS for name in methods) and any(child is None for child in slots):
        raise NotOffered("pytorch-grad-cam walks all modules for this, and this model has a slot that holds None")


@contextmanager
def _arithmetic(notes: list[str]) -> Iterator[None]:
    """Turns NumPy's warnings about arithmetic into notes."""

    def note(kind: str, _flag: int) -> None:
        notes.append(f"{kind} in the library's arithmetic")

    with np.errstate(divide="call", invalid="call", over="call", call=note):
        yield


def _cams(problem: Problem, method: str, settings: dict[str, Any], notes: list[str]) -> Any:
    """The maps `(N, H, W)` of a class that hooks layers."""
    layers = [] if method == "fullgrad" else _layers(problem, method, settings)
    if layers not in ([], [problem.layer]):
        notes.append(f"computed at {', '.join(layers)}")
    if method == "fullgrad":
        notes += _unread_biases(problem.model)
    if method == "hirescam" and settings.get("eigen_smooth"):
        notes.append("HiResCAM's guarantee of faithfulness does not hold with eigen_smooth")
    if method == "sess" or "shapleycam" in (method, settings.get("base_method")):
        problem.model.requires_grad_()  # the images' own graph does not reach into these
    rows = list(range(len(problem.images)))
    with _watched(problem, method, layers, notes), _released(_cam(problem, method, layers, settings)) as cam:
        parts = [[row] for row in rows] if method in _ONE_BY_ONE else [rows]
        return np.concatenate([_call(problem, method, cam, part, settings) for part in parts])


def _swallowed(values: Any) -> list[str]:
    """A note on maps that min-max left away from 1: the library divides by the maximum + 1e-7."""
    peaks = [float(values[row].max()) for row in range(len(values))]
    low = [f"map {row} peaks at {peak:.2g}" for row, peak in enumerate(peaks) if 0 < peak < 0.99]
    return [f"{', '.join(low)}: its values are as small as the library's epsilons"] if low else []


def _layers(problem: Problem, method: str, settings: dict[str, Any]) -> list[str]:
    """The names of the layers, taken out of the settings."""
    names = settings.pop("layers", None)
    if names is None:
        return _coarse_to_fine(problem) if method == "refinecam" else [problem.layer]
    known = [name for name, _ in problem.model.named_modules() if name]
    for name in names:
        if name not in known:
            raise unknown("layer", name, known)
    return list(names)


def _cam(problem: Problem, method: str, layers: Sequence[str], settings: Mapping[str, Any]) -> Any:
    """The library's object, its hooks on the model."""
    if method == "fullgrad":
        return _kind(method)(problem.model, [])  # finds its layers by itself
    build = {name: value for name, value in settings.items() if name not in _AT_CALL}
    if "base_method" in build:
        build["base_method"] = _constructor(problem, _base(build["base_method"]))
    attributes = {"batch_size": build.pop("batch_size")} if method == "scorecam" and "batch_size" in build else {}
    modules = [problem.model.get_submodule(name) for name in layers]
    cam = _constructor(problem, method)(problem.model, modules, _to_grid(problem), **build)
    vars(cam).update(attributes)  # ScoreCAM is told its batch size after it was made
    return cam


def _constructor(problem: Problem, method: str) -> Callable[..., Any]:
    """The class, called with model, layers and reshape_transform."""
    if method != "ablationcam":
        return _kind(method)  # type: ignore[no-any-return]
    from pytorch_grad_cam.ablation_layer import AblationLayer, AblationLayerVit

    # A new one each time: the library's default is one object for all, which keeps the last activations.
    layer = AblationLayer() if problem.layout.kind == "channels-first" else AblationLayerVit()
    return functools.partial(_kind(method), ablation_layer=layer)


def _base(name: str) -> str:
    """The canonical name of a method that another can build on."""
    if name not in _BASES:
        raise unknown("base method", name, _BASES)
    return name


def _to_grid(problem: Problem) -> Callable[[torch.Tensor], torch.Tensor]:
    """The reshape_transform: ScoreCAM takes views of the grid, for which it has to be contiguous."""
    return lambda output: problem.layout.to_grid(output).contiguous()


def _call(problem: Problem, method: str, cam: Any, rows: list[int], settings: Mapping[str, Any]) -> Any:
    """The maps `(len(rows), H, W)` of some of the images."""
    np.random.seed(problem.seed % 2**32)  # batch mates must not change what RandomCAM draws
    images = problem.images[rows]  # a copy, which the model may write over
    at_call = {name: value for name, value in settings.items() if name in _AT_CALL}
    if method == "finercam":  # with targets of ours it would not contrast anything
        (target,) = (problem.class_indices("pytorch-grad-cam's FinerCAM")[row] for row in rows)
        return cam(images, target_idx=target, **at_call)
    try:
        return cam(images, targets=_targets(problem, method, rows), **at_call)
    except AssertionError as error:
        if method != "fullgrad":
            raise
        raise NotOffered("FullGrad needs every Conv2d and BatchNorm2d with a bias to run exactly once") from error


def _targets(problem: Problem, method: str, rows: list[int]) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """What is explained: for each image a function of its own outputs."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if problem.classes is None and method != "sess":  # which asks for the softmax of a class
        return [functools.partial(_score, problem, row) for row in rows]
    classes = problem.class_indices("pytorch-grad-cam's SESS")
    return [ClassifierOutputTarget(classes[row]) for row in rows]


def _score(problem: Problem, row: int, output: torch.Tensor) -> torch.Tensor:
    """One image's score from its own outputs. A Target takes a row for each image, so all rows are this one."""
    return problem.target(output.expand(len(problem.images), *output.shape))[row]


@contextmanager
def _watched(problem: Problem, method: str, layers: Sequence[str], notes: list[str]) -> Iterator[None]:
    """Refuses outputs that are no tensor, begins a graph where there is none, and notes what is written in place.

    A graph from the images would be simpler, and charge every call with their gradient, which nobody reads. On a CPU
    the library keeps a layer's output itself, not a copy, and so explains what the model writes over it.
    """
    kept: dict[str, tuple[torch.Tensor, int]] = {}

    def check(_module: nn.Module, _inputs: object, outputs: object) -> None:
        if not isinstance(outputs, torch.Tensor):
            raise NotOffered(f"pytorch-grad-cam reads a tensor of scores, this model gives a {type(outputs).__name__}")

    def keep(name: str, _module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and not output.requires_grad:  # all that comes before is frozen
            output = output.requires_grad_().clone()  # no leaf, so the model may write over it
        shares = output.device.type == "cpu" or method == "shapleycam"
        if shares and problem.layout.to_grid(output).is_contiguous():
            kept.setdefault(name, (output, output._version))
        return output

    handles = [problem.model.register_forward_hook(check)]
    watch = {name: problem.model.get_submodule(name) for name in layers}
    handles += [module.register_forward_hook(functools.partial(keep, name)) for name, module in watch.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    written = [name for name, (output, version) in kept.items() if output._version != version]
    notes += [f"explains what the model writes over the output of {name} in place" for name in written]


@contextmanager
def _released(cam: Any) -> Iterator[Any]:
    """Takes the hooks off and lets go of what they kept. The library's own `with` block swallows IndexError."""
    try:
        yield cam
    finally:
        for part in getattr(cam, "base_cam_per_layer", None) or [getattr(cam, "base_cam", cam)]:
            kept = part.activations_and_grads
            # Emptied first: release() detaches in place what it finds, which a view does not allow.
            kept.activations.clear()
            kept.gradients.clear()
            kept.release()


def _guided_backprop(problem: Problem, notes: list[str]) -> Any:
    """Gradients `(N, H, W)` at the pixels, signed, summed over the colours.

    Raises:
        NotOffered: there is no nn.ReLU, so that the library would give the plain gradient.
    """
    classes = problem.class_indices("pytorch-grad-cam's GuidedBackpropReLUModel")
    modules = list(problem.model.modules())
    others = sorted({type(module).__name__ for module in modules if isinstance(module, _OTHER_RECTIFIERS)})
    if not any(isinstance(module, nn.ReLU) for module in modules):
        found = f", only {', '.join(others)}" if others else ""
        raise NotOffered(f"pytorch-grad-cam guides nn.ReLU modules, and this model has none{found}")
    if others:
        notes.append(f"only nn.ReLU is guided, not {', '.join(others)}")
    with _watched(problem, "guided-backprop", [], notes):
        guided = _kind("guided-backprop")(problem.model)
        pixels = [guided(image[None].clone(), index) for image, index in zip(problem.images, classes, strict=True)]
    return np.stack(pixels).sum(axis=-1)


def _unread_biases(model: nn.Module) -> list[str]:
    """A note on the biases that FullGrad leaves out: it takes these two classes and none made from them."""
    biased = [module for module in model.modules() if isinstance(getattr(module, "bias", None), torch.Tensor)]
    unread = sorted({type(module).__name__ for module in biased if type(module) not in (nn.Conv2d, nn.BatchNorm2d)})
    return [f"FullGrad without the biases of {', '.join(unread)}"] if unread else []


def _coarse_to_fine(problem: Problem) -> list[str]:
    """The last and outermost layer on each of the two finer grids that come before the layer, and the layer."""
    grids: dict[str, tuple[int, ...]] = {}

    def note(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == problem.images.ndim:
            grids[name] = tuple(problem.layout.to_grid(output).shape[2:])

    named = problem.model.named_modules() if problem.layout.kind != "tokens" else ()  # all tokens are on one grid
    handles = [module.register_forward_hook(functools.partial(note, name)) for name, module in named]
    try:
        with torch.no_grad():
            problem.model(problem.images[:1].clone())
    finally:
        for handle in handles:
            handle.remove()
    finer: dict[tuple[int, ...], str] = {}
    for name, grid in grids.items():
        if name == problem.layer:
            break
        scales = [cells / own for cells, own in zip(grid, problem.layout.shape, strict=True)]
        # Scales far apart are those of an output that is laid out in another way.
        is_finer = min(scales) > 1 and max(scales) < 1.5 * min(scales)
        if is_finer and name.count(".") <= finer.get(grid, name).count("."):
            finer[grid] = name
    if not finer:
        raise NotOffered(f"RefineCAM multiplies maps of several layers, none on a finer grid before {problem.layer}")
    return [*(finer[grid] for grid in sorted(finer, reverse=True)[-2:]), problem.layer]


@functools.cache
def _kind(method: str) -> Any:
    """The library's class behind a canonical name, made silent."""
    import pytorch_grad_cam

    name = backend.offer(method).calls
    if not hasattr(pytorch_grad_cam, name):
        raise NotOffered(f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)} has no {name}")
    return _silent(getattr(pytorch_grad_cam, name))


def _silent(kind: type) -> type:
    """The same class, its functions seeing another `print` and another `tqdm`: nobody else's output is touched."""
    mute = {"print": lambda *_words: None, "tqdm": SimpleNamespace(tqdm=iter)}

    def rebind(function: FunctionType) -> FunctionType:
        names = function.__globals__ | mute
        muted = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
        muted.__kwdefaults__ = function.__kwdefaults__
        return muted

    own = {name: rebind(member) for name, member in vars(kind).items() if isinstance(member, FunctionType)}
    return type(kind.__name__, (kind,), own)


def _offer(method: str, calls: str, *options: str, note: str = "") -> Offer:
    return Offer(method, calls, Stage.NORMALISED, Resolution.IMAGE, options, note)


_SUM = ("layers", "aug_smooth", "eigen_smooth")  # where channels are summed, there is something to smooth
_OWN = ("layers", "aug_smooth")

backend = Backend(
    name=NAME,
    distribution=DISTRIBUTION,
    offers=(
        _offer("gradcam", "GradCAM", *_SUM),
        _offer("hirescam", "HiResCAM", *_SUM),
        _offer("gradcam-elementwise", "GradCAMElementWise", *_SUM),
        _offer("gradcam++", "GradCAMPlusPlus", *_SUM),
        _offer("xgradcam", "XGradCAM", *_SUM),
        _offer("layercam", "LayerCAM", *_SUM),
        _offer("scorecam", "ScoreCAM", *_SUM, "batch_size"),
        _offer(
            "ablationcam",
            "AblationCAM",
            *("aug_smooth", "eigen_smooth", "batch_size", "ratio_channels_to_ablate"),
            note="negative outputs are ablated to the minimum - 1e7, again lower for each of batch_size channels",
        ),
        _offer("eigencam", "EigenCAM", *_OWN, note="centred, sign as NumPy gives it; explains no class"),
        _offer("eigengradcam", "EigenGradCAM", *_OWN, note="centred, sign as NumPy gives it"),
        _offer("segeigencam", "SegEigenCAM", *_OWN),
        _offer("kpcacam", "KPCA_CAM", *_OWN, "kernel", "gamma", note="explains no class"),
        _offer("fem", "FEM", *_OWN, "k", note="explains no class"),
        _offer("shapleycam", "ShapleyCAM", "aug_smooth", "eigen_smooth"),
        _offer(
            "fullgrad",
            "FullGrad",
            *("aug_smooth", "eigen_smooth"),
            note="of the whole model, not of the layer; biases of Conv2d and BatchNorm2d only",
        ),
        _offer(
            "finercam",
            "FinerCAM",
            *("layers", "base_method", "eigen_smooth", "alpha", "comparison_categories"),
            note="comparison_categories are ranks by nearness of the logit, 1 the nearest",
        ),
        _offer(
            "refinecam",
            "RefineCAM",
            *("layers", "base_method", "eigen_smooth"),
            note="at the last layer on each of the two next finer grids and the layer, unless layers are named",
        ),
        _offer(
            "sess",
            "SESS",
            *("layers", "base_method", "eigen_smooth", "scales", "num_scales", "scale_step_ratio", "window_size"),
            *("step_size", "pre_filter_ratio", "theta", "pool", "smooth", "use_softmax_scores", "batch_size"),
            note="122 windows of a square image by default, a base map for each",
        ),
        _offer("random", "RandomCAM", *_SUM, note="random weights of the channels"),
        Offer(
            "guided-backprop",
            "GuidedBackpropReLUModel",
            Stage.RAW,
            Resolution.IMAGE,
            note="summed over the colours; nn.ReLU modules only",
        ),
    ),
    explain=explain,
    package="pytorch_grad_cam",
)

# What FinerCAM, RefineCAM and SESS can build on: classes that take one layer's activations.
_BASES = tuple(o.method for o in backend.offers if "aug_smooth" in o.options and o.method != "fullgrad")
