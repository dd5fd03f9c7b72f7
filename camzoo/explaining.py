"""`explain`: one method on one batch of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from camzoo import backends, degenerate, native, specs, targets
from camzoo.binding import bind
from camzoo.errors import DegenerateMapWarning, unknown
from camzoo.problems import check_images, layer_name, pose
from camzoo.types import Heatmap, Settings, Stage


def explain(
    model: torch.nn.Module,
    images: torch.Tensor,
    method: str = "gradcam",
    *,
    layer: str | torch.nn.Module | None = None,
    target: object = None,
    stage: Stage | str = Stage.NORMALISED,
    seed: int = 0,
    forward_args: Sequence[Any] = (),
    forward_kwargs: Mapping[str, Any] | None = None,
    output: Callable[[Any], torch.Tensor] | None = None,
    chunk: int | None = None,
    amp: torch.dtype | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Heatmap:
    """The heatmaps of one method for a batch of images.

    Args:
        model: any PyTorch classifier; it is given back as it was.
        images: what the model takes, `(N, C, H, W)`.
        method: `gradcam` for camzoo's own, `gradcam@captum` for a library's; options go with the method, as in
            `scorecam(top_channels=64)`, or as keywords of this call.
        layer: dotted name, module, or None for the rule's choice (`camzoo layers` says which and why).
        target: None for each image's top class, a class index, one for each image, or a callable from the model's
            outputs to scores `(N,)`.
        stage: "raw" (signed), "rectified" or "normalised" (0 to 1 for each map).
        seed: where every random number of the method comes from.
        forward_args: further inputs of the model, after the images.
        forward_kwargs: keyword inputs of the model.
        output: from what the model returns to its scores, where that is not a tensor, a first entry or `logits`.
        chunk: how many inputs to run at a time in methods that run many; None for as many as memory allows.
        amp: dtype of autocast in these runs, such as `torch.bfloat16`; None for the model's own precision.
        progress: called with the number of inputs done and their number, in methods that run many.
        **options: of the method.

    Returns:
        A Heatmap with `values` `(N, h, w)`; its `resize()` gives them at the images' size.

    Raises:
        RequestError: something in the question does not exist or does not fit.
        NotInstalled: the backend's library is absent.
        NotOffered: the backend does not do this, or gives maps past the stage asked for.
        Failed: the backend broke.

    Warns:
        DegenerateMapWarning: a map is all zero, constant or not finite.
    """
    computation = specs.parse(method)
    options = {**computation.options, **options}
    host = backends.find(computation.backend)
    host.offer(computation.method, options)
    if stage not in list(Stage):
        raise unknown("stage", stage, Stage)
    images = check_images(model, images)
    model = bind(model, forward_args, forward_kwargs, output)
    if computation.backend == native.NAME:
        name = layer_name(model, layer, images)
        wanted = targets.resolve(target, len(images))
        settings = Settings(chunk, amp, progress)
        taken = native.evidence(model, name, images, wanted, computation.method, seed, settings)
        raw = native.heatmap(taken, computation.method, options)
    else:
        problem = pose(model, images, layer, target, seed)
        raw = backends.run(host, problem, computation.method, options)
    _warn(raw)
    return raw.at(stage)


def _warn(heatmap: Heatmap) -> None:
    for index, reason in enumerate(degenerate.reasons(heatmap)):
        if reason:
            warnings.warn(f"map {index} of {heatmap.method} is {reason}", DegenerateMapWarning, stacklevel=3)
