"""torchcam as a backend: its twelve extractors, before their min-max scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from typing import Any

import torch

from camzoo.errors import NotOffered
from camzoo.types import Backend, Heatmap, Offer, Problem, Resolution, Stage

NAME = "torchcam"

# Options for an extractor's call; the others go to its constructor.
_AT_CALL = ("comparison_idx", "eps", "target_shape")

# torchcam draws the noise of a whole batch at once, so batch mates would change each other's maps: these run
# one image at a time, each from the problem's seed. The rest gives the same map alone and in a batch.
_NOISY = ("smoothgradcam++", "sscam")

# Neither a scalar of the outputs nor anything but a class index is taken by these.
_CLASS_ONLY = ("cam", "finercam", "legrad")

# These make one map of several layers by themselves; the maps of the others are fused afterwards.
_MANY_LAYERED = ("refinecam", "legrad")


def explain(problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """The maps of one extractor of torchcam, one for each image.

    Args:
        problem: the question.
        method: canonical name.
        options: those of the method's Offer. `layers` are dotted names; maps of several layers are fused by
            the extractor's own rule, at the size of the images. `base_method` is a canonical name. The rest is
            as torchcam has it.

    Raises:
        NotOffered: the extractor does not do this, or the installed torchcam has no such extractor.
    """
    offer = backend.offer(method)
    settings = _settings(problem, method, options)
    layers = settings.pop("layers")
    fused = len(layers) > 1 and method not in _MANY_LAYERED
    noisy = method in _NOISY or settings.get("base_method") in _NOISY
    everyone = range(len(problem.images))
    parts, notes = [], [] if layers == [problem.layer] else [f"computed at {', '.join(layers)}"]
    for rows in [[row] for row in everyone] if noisy else [list(everyone)]:
        _seed(problem)
        maps, remarks = _maps(problem, method, layers, settings, rows, fused)
        parts.append(maps)
        notes += [remark for remark in remarks if remark not in notes]
    resolution = Resolution.IMAGE if fused else offer.resolution
    values = torch.cat(parts).detach()
    return Heatmap(values, offer.stage, resolution, problem.image_size, method, NAME, tuple(notes))


def _seed(problem: Problem) -> None:
    """Seeds what torchcam draws from. `torch.manual_seed` keeps a stack trace a call for every GPU not in use."""
    torch.default_generator.manual_seed(problem.seed)
    if (device := problem.images.device).type != "cpu":
        getattr(torch, device.type).manual_seed(problem.seed)


def _maps(
    problem: Problem,
    method: str,
    layers: list[str],
    settings: Mapping[str, Any],
    rows: list[int],
    fused: bool,
) -> tuple[torch.Tensor, list[str]]:
    """The maps `(len(rows), h, w)` of some of the images, and what their reader should know."""
    at_call = {name: value for name, value in settings.items() if name in _AT_CALL}
    aim = _aim(problem, method, rows)
    with _extractor(problem, method, layers, settings) as extractor:
        scores, notes = _forward(problem, layers, rows)
        if method == "cam":
            notes += _check_head(problem, settings["fc_layer"], extractor.hook_a[0], scores)
        # torchcam fuses maps that are scaled to 0..1: the tanh(2 M) of LayerCAM is meant for these.
        maps = extractor(scores=scores, normalized=fused, **aim, **at_call)
        values = extractor.fuse_cams(maps, problem.image_size) if fused else maps[0]
    if not scores.isfinite().all():  # asked last: the host waits for a GPU here
        notes.append("the scores are not finite; torchcam leaves NaN out of its sums, so the map may hide it")
    return values, notes


def _settings(problem: Problem, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with what stands in for those that the caller left out."""
    settings = {"layers": None, **options}
    if method == "cam":
        settings["fc_layer"] = settings.get("fc_layer") or _head(problem.model)
    if method in ("sscam", "iscam"):
        settings.setdefault("num_samples", 4)  # torchcam's 35 and 10 take up to an hour without an accelerator
    if method == "refinecam":
        settings["target_shape"] = problem.image_size
    if not settings["layers"]:
        rules: dict[str, Callable[[Problem], list[str]]] = {"refinecam": _coarse_to_fine, "legrad": _block}
        settings["layers"] = rules[method](problem) if method in rules else [problem.layer]
    return settings


def _aim(problem: Problem, method: str, rows: list[int]) -> dict[str, Any]:
    """What is explained, as torchcam takes it: a class, or a function of its outputs, for each image."""
    if problem.classes is None and method not in _CLASS_ONLY:
        return {"targets": [partial(_score, problem, row) for row in rows]}
    classes = problem.class_indices(f"torchcam's {backend.offer(method).calls}")
    return {"class_idx": [classes[row] for row in rows]}


def _score(problem: Problem, row: int, output: torch.Tensor) -> torch.Tensor:
    """One image's score from its own outputs. A Target takes a row for each image, so all rows are this one."""
    return problem.target(output.expand(len(problem.images), *output.shape))[row]


def _extractor(problem: Problem, method: str, layers: list[str], settings: Mapping[str, Any]) -> Any:
    """The library's object, whose hooks are on the model until its `with` block ends."""
    build = {name: value for name, value in settings.items() if name not in _AT_CALL}
    if "base_method" in build:
        build["base_method"] = _kind(build["base_method"])
    if "smoothgradcam++" in (method, settings.get("base_method")) and problem.images.dtype.itemsize < 4:
        raise NotOffered(f"torchcam adds float32 noise to the images, which a model in {problem.images.dtype} refuses")
    if method == "legrad":
        build |= {"prefix_tokens": problem.layout.prefix, "grid_shape": problem.layout.shape}
    elif problem.layout.kind != "channels-first":
        build["reshape_transform"] = problem.layout.to_grid
    try:
        return _kind(method)(problem.model, layers, **build)
    except (TypeError, ValueError) as error:
        if method != "legrad":
            raise
        # Its constructor looks at the model and says what it lacks.
        raise NotOffered(f"torchcam's LeGrad: {error}") from error


def _kind(method: str) -> Any:
    """The class of the library behind a canonical name."""
    from torchcam import methods

    name = backend.offer(method).calls
    if not hasattr(methods, name):
        raise NotOffered(f"torchcam {metadata.version(NAME)} has no {name}")
    return getattr(methods, name)


def _forward(problem: Problem, layers: list[str], rows: list[int]) -> tuple[torch.Tensor, list[str]]:
    """The model's scores, with a graph also where every parameter is frozen; and notes for the reader.

    torchcam keeps a layer's output itself, not a copy: where the model goes on to write over it in place,
    torchcam explains what was written.
    """
    kept: list[tuple[str, torch.Tensor, int]] = []

    def keep(name: str, _module: object, _inputs: object, output: torch.Tensor) -> None:
        kept.append((name, output, output._version))

    handles = [problem.model.get_submodule(name).register_forward_hook(partial(keep, name)) for name in layers]
    images = problem.images[rows[0] : rows[-1] + 1].requires_grad_()  # neighbours, so nothing is copied here
    # The copy is no leaf of the graph, so the model may begin with an in-place operation.
    scores = problem.model(images.clone())
    for handle in handles:
        handle.remove()
    if not isinstance(scores, torch.Tensor):
        raise NotOffered(f"torchcam reads models that return a tensor of scores, not a {type(scores).__name__}")
    written = [name for name, output, version in kept if output._version != version]
    return scores, [f"explains what the model writes over the output of {name} in place" for name in written]


def _head(model: torch.nn.Module) -> str:
    """The only linear layer: torchcam takes the same by itself, with a line in the log."""
    linear: list[str] = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if len(linear) != 1:
        raise NotOffered(f"torchcam's CAM finds one linear layer, this model has {len(linear)}; fc_layer names one")
    return linear[0]


def _check_head(problem: Problem, name: str, activations: torch.Tensor, scores: torch.Tensor) -> list[str]:
    """Refuses a head that does not fit the layer, and says where it does not take the layer's average."""
    head: Any = problem.model.get_submodule(name)
    weight, channels = head.weight.flatten(1), activations.shape[1]
    if weight.shape[1] != channels:
        raise NotOffered(f"CAM weighs the inputs of {name}, {weight.shape[1]}; {problem.layer} has {channels} channels")
    pooled = torch.nn.functional.linear(activations.flatten(2).mean(-1), weight, head.bias)
    if pooled.shape == scores.shape and bool((pooled - scores).abs().max() <= 0.01 * scores.abs().max()):
        return []
    return [f"{name} does not take the average of {problem.layer}: its weights are no more than a guess for a CAM"]


def _block(problem: Problem) -> list[str]:
    """The transformer block that the layer is, or is a part of."""
    parts = problem.layer.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    for name in names if problem.layout.kind == "tokens" else []:
        if hasattr(problem.model.get_submodule(name), "self_attention"):
            return [name]
    raise NotOffered(
        f"torchcam's LeGrad reads transformer blocks with a `self_attention`, as torchvision's have them; "
        f"{problem.layer} is in none"
    )


def _coarse_to_fine(problem: Problem) -> list[str]:
    """The last and outermost layer on each of the two finer grids that come before the layer, and the layer."""
    ran: dict[str, tuple[int, ...]] = {}
    tokens = problem.layout.kind == "tokens"  # all on one grid

    def note(name: str, _module: object, _inputs: object, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == problem.images.ndim and not tokens:
            ran[name] = tuple(problem.layout.to_grid(output).shape[2:])

    handles = [module.register_forward_hook(partial(note, name)) for name, module in problem.model.named_modules()]
    with torch.no_grad():
        problem.model(problem.images[:1].clone())
    for handle in handles:
        handle.remove()
    finer: dict[tuple[int, ...], str] = {}
    for name, grid in ran.items():
        if name == problem.layer:
            break
        scales = [cells / own for cells, own in zip(grid, problem.layout.shape, strict=True)]
        # Scales far apart are those of an output laid out in another way, not of a finer grid.
        is_finer = min(scales) > 1 and max(scales) < 1.5 * min(scales)
        if is_finer and name.count(".") <= finer.get(grid, name).count("."):
            finer[grid] = name
    if not finer:
        raise NotOffered(
            f"RefineCAM needs several layers, and no finer grid comes before {problem.layer}: name `layers`"
        )
    return [*(finer[grid] for grid in sorted(finer, reverse=True)[-2:]), problem.layer]


backend = Backend(
    name=NAME,
    distribution=NAME,
    offers=(
        # CAM is signed: torchcam's documentation has a ReLU in its formula, the code has none.
        Offer(
            "cam",
            "CAM",
            Stage.RAW,
            options=("fc_layer",),
            note="one linear layer, fed by the layer's average",
        ),
        Offer("gradcam", "GradCAM", Stage.RECTIFIED, options=("layers",)),
        Offer("gradcam++", "GradCAMpp", Stage.RECTIFIED, options=("layers", "eps")),
        Offer(
            "smoothgradcam++",
            "SmoothGradCAMpp",
            Stage.RECTIFIED,
            options=("layers", "num_samples", "std", "eps"),
        ),
        Offer("xgradcam", "XGradCAM", Stage.RECTIFIED, options=("layers", "eps")),
        Offer("layercam", "LayerCAM", Stage.RECTIFIED, options=("layers",)),
        Offer(
            "scorecam",
            "ScoreCAM",
            Stage.RECTIFIED,
            options=("layers", "batch_size"),
            note="a forward pass a channel",
        ),
        Offer(
            "sscam",
            "SSCAM",
            Stage.RECTIFIED,
            options=("layers", "batch_size", "num_samples", "std"),
            note="num_samples=4 forward passes a channel (35 in torchcam)",
        ),
        Offer(
            "iscam",
            "ISCAM",
            Stage.RECTIFIED,
            options=("layers", "batch_size", "num_samples"),
            note="num_samples=4 forward passes a channel (10 in torchcam)",
        ),
        Offer(
            "finercam",
            "FinerCAM",
            Stage.RECTIFIED,
            options=("layers", "base_method", "gamma", "num_references", "comparison_idx", "eps"),
            note="against the mean of the 3 classes of nearest score, gamma=0.6, base_method=gradcam",
        ),
        # Not negative by their formulas, without a last ReLU: raw.
        Offer(
            "refinecam",
            "RefineCAM",
            Stage.RAW,
            Resolution.IMAGE,
            options=("layers", "base_method", "eps"),
            note="over the layer and the last ones on the two finer grids before it, base_method=gradcam++",
        ),
        Offer(
            "legrad",
            "LeGrad",
            Stage.RAW,
            options=("layers", "score_projection"),
            note="at the transformer block that holds the layer, unless layers name several",
        ),
    ),
    explain=explain,
    package="torchcam.methods",
)
