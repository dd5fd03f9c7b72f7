"""From words on the command line to models, devices, targets and studies."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camzoo.cli.saying import progress_bars
from camzoo.errors import RequestError, unknown
from camzoo.types import Settings

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from camzoo.models import Classifier
    from camzoo.study import Study


MEANT = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps", "apple": "mps"}
"""Devices by other names than PyTorch's."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture from a file, and the file's hash."""

    name: str
    picture: Image.Image = field(repr=False)
    sha256: str


def photo_of(path: str) -> Photo:
    from camzoo import images

    return Photo(Path(path).name, images.read(path), _sha256(Path(path)))


def sample_of(name: str) -> Photo:
    """A photo that scikit-image carries."""
    from camzoo import images

    picture, package = images.sample(name), importlib.util.find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    return Photo(name, picture, _sha256(Path(package.origin).parent / "data" / images.SAMPLES[name]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(model: str | None, weights: str | None, seed: int) -> Classifier:
    from camzoo import models

    return models.load(model, weights, seed)


def load_all(models: Sequence[str], weights: Sequence[str], seed: int) -> list[Classifier]:
    """Every model that is named, by a name of its own; one model, or weights given once, go with all of the others.

    Raises:
        RequestError: their numbers do not go together, or two are the same.
    """
    named: list[str | None] = list(models) or [None]
    given: list[str | None] = list(weights) or [None]
    count = max(len(named), len(given))
    if not {len(named), len(given)} <= {1, count}:
        counts = f"{len(named)} models and {len(given)} weights"
        raise RequestError(f"{counts}: give --weights once for all models or once for each")
    named, given = named * (count // len(named)), given * (count // len(given))
    found = [load(model, file, seed) for model, file in zip(named, given, strict=True)]
    if _twice(found):  # files of one name in two folders: told as they were given
        found = [
            replace(each, weights=f"file {file}") if each.weights == f"file {Path(file or '').name}" else each
            for each, file in zip(found, given, strict=True)
        ]
    if again := _twice(found):
        raise RequestError(f"{again} is named twice: give each --model with its --weights once")
    if len({id(each.module) for each in found}) < count:  # the weights of the last one would be those of all
        raise RequestError(f"{found[0].name} is one module that is there once: name a factory that makes a new one")
    return found


def _twice(classifiers: Sequence[Classifier]) -> str:
    """The first of the models' names that stands for two of them, if there is one."""
    name, count = Counter(map(title, classifiers)).most_common(1)[0]
    return name if count > 1 else ""


def title(classifier: Classifier) -> str:
    """A model with its weights, for people to read."""
    return f"{classifier.name} ({classifier.weights})"


def provenance_of(photos: Sequence[Photo], classifiers: Sequence[Classifier], seed: int) -> dict[str, Any]:
    """What it takes to ask the same again, and to know that it is the same."""
    return {
        "command": ["camzoo", *sys.argv[1:]],
        "photos": [{"name": photo.name, "sha256": photo.sha256} for photo in photos],
        "weights_sha256": [weights_sha256(classifier.module) for classifier in classifiers],
        "seed": seed,
    }


def weights_sha256(module: torch.nn.Module) -> str:
    """The hash of a state dict: of each tensor its name, type, shape and bytes."""
    import torch

    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


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

    if (kind := name.partition(":")[0]) in MEANT:
        raise RequestError(f"no device {name!r}: did you mean {name.replace(kind, MEANT[kind], 1)}?")
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
    weigh: bool = False,
    metrics: str = "",
    masks: torch.Tensor | None = None,
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
            model_name=title(classifier),
            progress=progress,
            settings=replace(settings, progress=inputs),
            weigh=weigh,
            metrics=metrics,
            masks=masks,
        )
