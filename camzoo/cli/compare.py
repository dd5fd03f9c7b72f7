"""`camzoo compare` and `camzoo demo`: photos in, folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from camzoo.cli.application import DeviceOption, ModelOption, SeedOption, WeightsOption, app
from camzoo.cli.asking import device_of, load, settings_of, study_of
from camzoo.cli.saying import summary
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
    model: ModelOption = None,
    weights: WeightsOption = None,
    layer: Annotated[str | None, typer.Option(help="Dotted name; `camzoo layers` lists them.")] = None,
    target: Annotated[str | None, typer.Option(help="A class index or label, several with commas, or top3.")] = None,
    methods: Annotated[str, typer.Option(help="gradcam, gradcam@captum, *@torchcam, gradcam@*, *@* ...")] = COMPARED,
    device: DeviceOption = "cpu",
    chunk: Annotated[int | None, typer.Option(min=1, help="Inputs at a time, in methods that run many.")] = None,
    amp: Annotated[str | None, typer.Option(help="Autocast in methods that run many: bf16 or fp16.")] = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("camzoo-out"),
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Run several methods on photos, and show them side by side."""
    from camzoo import images

    pictures = [(Path(photo).name, images.read(photo)) for photo in photos]
    settings = settings_of(chunk, amp)
    _compare(pictures, model, weights, layer, target, methods, device, settings, seed, out, overwrite)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-out"),
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Compare all backends on three real photos with a trained classifier, offline."""
    from camzoo import images

    pictures = [(name, images.sample(name)) for name in DEMO_PHOTOS]
    listed, settings = ",".join(DEMO_METHODS), Settings()
    _compare(pictures, "efficientnet-lite0", None, None, None, listed, "cpu", settings, 0, out, overwrite)


def _compare(
    photos: list[tuple[str, Any]],
    model: str | None,
    weights: str | None,
    layer: str | None,
    target: str | None,
    methods: str,
    device: str,
    settings: Settings,
    seed: int,
    out: Path,
    overwrite: bool,
) -> None:
    """What `compare` and `demo` share: photos in, folder out."""
    from camzoo import specs, store

    specs.expand(methods)  # what cannot be carried out is refused before any work is done
    store.check_free(out, overwrite)
    where = device_of(device)
    classifier = load(model, weights, seed)
    views = [(name, classifier.preprocessing.view(photo)) for name, photo in photos]
    result = study_of(classifier, views, layer, target, methods, where, settings, seed)
    files = result.save(out, overwrite)
    summary(result, files)
    if any(cell.status is Status.FAILED for cell in result.cells):
        raise typer.Exit(1)
