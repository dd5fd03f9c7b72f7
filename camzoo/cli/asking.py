"""From words on the command line to models, devices, targets and studies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from camzoo.cli.saying import progress_bars
from camzoo.errors import RequestError, unknown
from camzoo.types import Settings

if TYPE_CHECKING:
    import torch

    from camzoo.models import Classifier
    from camzoo.study import Study


def load(model: str | None, weights: str | None, seed: int) -> Classifier:
    from camzoo import models

    return models.load(model, weights, seed)


def settings_of(chunk: int | None, amp: str | None) -> Settings:
    """How methods that run many inputs run them.

    Raises:
        RequestError: there is no such precision.
    """
    import torch

    precisions = {"bf16": torch.bfloat16, "fp16": torch.float16}
    if amp is not None and amp not in precisions:
        raise unknown("precision for --amp", amp, precisions)
    return Settings(chunk, precisions[amp] if amp else None)


def device_of(name: str) -> torch.device:
    """The device of a name, if a tensor can be put there.

    Raises:
        RequestError: there is no such device, or it is not to be had here.
    """
    import torch

    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception as error:  # each kind of device has errors of its own
        ready = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        ready += ["mps"] if torch.backends.mps.is_available() else []
        said = str(error).splitlines()[0].split(". ")[0]
        raise RequestError(f"no device {name!r}: {said}; ready here: {', '.join(ready)}") from None
    if device.type == "meta":
        raise RequestError("the device 'meta' computes nothing: use cpu or cuda")
    return device


def targets_of(text: object, labels: tuple[str, ...], count: int) -> object:
    """The target that was meant: as text for every photo alike, else as it is."""
    from camzoo import models

    if not isinstance(text, str) or (text.lower().startswith("top") and text[3:].isdigit()):
        return text
    parts = [text] if text in labels else [part.strip() for part in text.split(",")]  # a label may have a comma
    classes = [models.class_index(part, labels) for part in parts]
    return [classes] * count


def study_of(
    classifier: Classifier,
    views: list[tuple[str, Any]],
    layer: str | None,
    target: object,
    methods: str | list[str],
    device: torch.device,
    settings: Settings,
    seed: int,
) -> Study:
    """A Study of photos as the model sees them."""
    import torch

    from camzoo import study

    batch = torch.cat([classifier.preprocessing.tensor(view) for _, view in views]).to(device)
    with progress_bars() as (progress, inputs):
        return study.compare(
            classifier.module.to(device),
            batch,
            methods,
            layer=layer,
            target=targets_of(target, classifier.labels, len(views)),
            seed=seed,
            names=[name for name, _ in views],
            labels=classifier.labels,
            pictures=[view for _, view in views],
            model_name=f"{classifier.name} ({classifier.weights})",
            progress=progress,
            settings=replace(settings, progress=inputs),
        )
