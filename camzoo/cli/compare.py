"""`camzoo compare` and `camzoo demo`: photos in, folder out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camzoo.cli.application import DeviceOption, SeedOption, app
from camzoo.cli.asking import (
    Photo,
    device_of,
    load_all,
    photo_of,
    provenance_of,
    sample_of,
    settings_of,
    study_of,
    targets_of,
    title,
)
from camzoo.cli.saying import summary
from camzoo.errors import RequestError
from camzoo.types import Settings, Status

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from camzoo.models import Classifier

COMPARED = "gradcam,gradcam@*"

DEMO_PHOTOS = ("chelsea", "coffee", "rocket")

DEMO_METHODS = (
    "gradcam",
    "gradcam@captum",
    "gradcam@torchcam",
    "gradcam@pytorch-grad-cam",
    "gradcam++",
    "gradcam++@torchcam",
    "gradcam++@pytorch-grad-cam",
    "layercam",
    "eigencam",
    "eigencam@pytorch-grad-cam",
    "ablationcam",
    "finercam",
    "refinecam@torchcam",
    "fullgrad@pytorch-grad-cam",
    "integrated-gradients@captum",
    "occlusion@captum",
)


@app.command()
def compare(
    photos: Annotated[list[str], typer.Argument(help="Image files.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="As efficientnet-lite0, resnet18, timm:NAME or package.module:factory; several, one each."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="A .safetensors or state-dict file, or 'random' (seeded); once for all, or for each model."),
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Dotted name; `camzoo layers` lists them.")] = None,
    layers: Annotated[str | None, typer.Option(help="Several layers with commas, each in rows of its own.")] = None,
    target: Annotated[str | None, typer.Option(help="A class index or label, several with commas, or top3.")] = None,
    methods: Annotated[str, typer.Option(help="gradcam, gradcam@captum, *@torchcam, gradcam@*, *@* ...")] = COMPARED,
    device: DeviceOption = "cpu",
    chunk: Annotated[int | None, typer.Option(min=1, help="Inputs at a time, in methods that run many.")] = None,
    amp: Annotated[str | None, typer.Option(help="Autocast in methods that run many: bf16 or fp16.")] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Also its memory on a CPU: each runs once more.")] = False,
    metrics: Annotated[str, typer.Option(help="Read off each map: fast, all, or names as in evaluate.")] = "",
    masks: Annotated[
        Path | None, typer.Option(help="Folder with NAME.png or NAME_mask.png: where in the photo the object is.")
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("camzoo-out"),
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Run several methods on photos, and show them side by side."""
    if layer is not None and layers is not None:
        raise RequestError("--layer names one layer and --layers several: leave out one of them")
    named = [layer] if layers is None else _listed(layers)
    pictures, settings = [photo_of(photo) for photo in photos], settings_of(chunk, amp)
    models, files = model or [], weights or []
    judged = Judging(metrics, _masks(masks, metrics, pictures))
    _compare(pictures, models, files, named, target, methods, device, settings, memory, judged, seed, out, overwrite)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-out"),
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Compare all backends on three real photos with a trained classifier, offline."""
    pictures = [sample_of(name) for name in DEMO_PHOTOS]
    listed, settings = ",".join(DEMO_METHODS), Settings()
    nothing, models = Judging(), ["efficientnet-lite0"]
    _compare(pictures, models, [], [None], None, listed, "cpu", settings, False, nothing, 0, out, overwrite)


@dataclass(frozen=True, slots=True)
class Judging:
    """What is read off the maps.

    Attributes:
        metrics: names, "" for none.
        masks: of each photo in its own pixels, None where it has none; empty where nobody gave any.
    """

    metrics: str = ""
    masks: Sequence[Image.Image | None] = ()

    def check(self) -> None:
        """Refuses what cannot be read.

        Raises:
            RequestError: a metric is unknown, or needs masks and there are none.
        """
        if self.metrics:
            from camzoo.evaluation import judging

            judging.fitting(self.metrics, bool(self.masks))

    def seen(self, classifier: Classifier) -> torch.Tensor | None:
        """The masks as the model sees the photos, `(N, H, W)`; all false where a photo has none."""
        if not self.masks:
            return None
        import torch

        from camzoo.evaluation.samples import mask_in_view

        seen, nothing = classifier.preprocessing, torch.zeros(classifier.preprocessing.image_size, dtype=torch.bool)
        return torch.stack([nothing if mask is None else mask_in_view(mask, seen) for mask in self.masks])


def _masks(folder: Path | None, metrics: str, photos: Sequence[Photo]) -> list[Image.Image | None]:
    """The mask of each photo, from a file of its stem, or of its stem and `_mask`.

    Raises:
        RequestError: nothing is read off the maps, there is no mask, or one is of another size than its photo.
    """
    if folder is None:
        return []
    if not metrics:
        raise RequestError("--masks is for metrics: name some with --metrics")
    from camzoo import images

    names = [(f"{Path(photo.name).stem}.png", f"{Path(photo.name).stem}_mask.png") for photo in photos]
    files = [next((folder / name for name in each if (folder / name).is_file()), None) for each in names]
    if not any(files):
        raise RequestError(f"{folder} has no mask of these photos: it would be named {' or '.join(names[0])}")
    masks = [None if file is None else images.read(file) for file in files]
    for photo, file, mask in zip(photos, files, masks, strict=True):
        if mask and mask.size != photo.picture.size:
            (wide, high), (across, down) = mask.size, photo.picture.size
            raise RequestError(f"{file} has {wide}x{high} pixels, {photo.name} has {across}x{down}")
    return masks


def _listed(layers: str) -> list[str]:
    """Names with commas between them, each once.

    Raises:
        RequestError: there is none.
    """
    named = [name for part in layers.split(",") if (name := part.strip())]
    if not named:
        raise RequestError("no layer is named with --layers; `camzoo layers` lists them")
    return list(dict.fromkeys(named))


def _compare(
    photos: Sequence[Photo],
    models: Sequence[str],
    weights: Sequence[str],
    layers: Sequence[str | None],
    target: str | None,
    methods: str,
    device: str,
    settings: Settings,
    weigh: bool,
    judging: Judging,
    seed: int,
    out: Path,
    overwrite: bool,
) -> None:
    """What `compare` and `demo` share: photos in, folder out."""
    from camzoo import layers as layers_
    from camzoo import specs, store, study

    specs.expand(methods)  # what cannot be carried out is refused before any work is done
    judging.check()
    store.check_free(out, overwrite)
    where = device_of(device)
    classifiers = load_all(models, weights, seed)
    asked = [(classifier, layer) for classifier in classifiers for layer in layers]
    for classifier, layer in asked:
        targets_of(target, classifier.labels, len(photos))
        if layer is not None:
            layers_.name_of(classifier.module, layer)
    provenance = provenance_of(photos, classifiers, seed)
    studies = []
    for classifier, layer in asked:
        if len(asked) > 1:
            print(f"{title(classifier)}, layer {layer or 'by the rule'}", file=sys.stderr, flush=True)
        views = [(photo.name, classifier.preprocessing.view(photo.picture)) for photo in photos]
        judged = (judging.metrics, judging.seen(classifier))
        studies.append(study_of(classifier, views, layer, target, methods, where, settings, seed, weigh, *judged))
    # All were made by one process: their environments differ in the second at most.
    result = replace(study.joined(studies), provenance=provenance, environment=studies[-1].environment)
    files = result.save(out, overwrite)
    summary(result, files)
    failed = any(reading.status == Status.FAILED for cell in result.cells for reading in cell.readings.values())
    if failed or any(cell.status is Status.FAILED for cell in result.cells):
        raise typer.Exit(1)
