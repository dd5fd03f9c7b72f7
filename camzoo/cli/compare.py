"""`camzoo compare` and `camzoo demo`: photos in, folder out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

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
    _compare(pictures, models, files, named, target, methods, device, settings, memory, seed, out, overwrite)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-out"),
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Compare all backends on three real photos with a trained classifier, offline."""
    pictures = [sample_of(name) for name in DEMO_PHOTOS]
    listed, settings = ",".join(DEMO_METHODS), Settings()
    _compare(pictures, ["efficientnet-lite0"], [], [None], None, listed, "cpu", settings, False, 0, out, overwrite)


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
    seed: int,
    out: Path,
    overwrite: bool,
) -> None:
    """What `compare` and `demo` share: photos in, folder out."""
    from camzoo import layers as layers_
    from camzoo import specs, store, study

    specs.expand(methods)  # what cannot be carried out is refused before any work is done
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
        studies.append(study_of(classifier, views, layer, target, methods, where, settings, seed, weigh))
    # All were made by one process: their environments differ in the second at most.
    result = replace(study.joined(studies), provenance=provenance, environment=studies[-1].environment)
    files = result.save(out, overwrite)
    summary(result, files)
    if any(cell.status is Status.FAILED for cell in result.cells):
        raise typer.Exit(1)
