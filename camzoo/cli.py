"""The command line: each verb is a few lines that call one function of the package."""

from __future__ import annotations

import io
import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from camzoo.errors import CamzooError, RequestError, unknown
from camzoo.types import Settings, Status

if TYPE_CHECKING:
    import torch

    from camzoo.conformance.verdicts import Finding
    from camzoo.models import Classifier
    from camzoo.study import Progress, Study

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compare, check and time class-activation-map (CAM) methods across libraries.",
)

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

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="efficientnet-lite0, a torchvision name, timm:NAME or package.module:factory."),
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", help="A .safetensors or state-dict file, or 'random' (seeded).")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of every random number.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps ...")]


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
    settings = _settings(chunk, amp)
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


@app.command()
def methods() -> None:
    """List every method at every backend: ready, not installed or not offered."""
    from camzoo import backends

    rows = backends.rows()
    table = Table("method", *(row.backend for row in rows), box=None, header_style="bold")
    cells: dict[str, dict[str, Any]] = {}
    for cell in backends.coverage():
        cells.setdefault(cell.method, {})[cell.backend] = cell
    marks = {Status.READY: "ready", Status.NOT_INSTALLED: "not installed", Status.NOT_OFFERED: "not offered"}
    for method, at in cells.items():
        texts = [marks[at[row.backend].status] if row.backend in at else "" for row in rows]
        table.add_row(method, *(_styled(text) for text in texts))
    _stdout().print(table)
    for row in rows:
        print(" ".join(part for part in (f"{row.backend}: {row.status}", row.version, row.reason) if part))


@app.command()
def layers(
    model: ModelOption = None,
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    every: Annotated[bool, typer.Option("--all", help="Also the layers that give no grid.")] = False,
) -> None:
    """List the layers that can be explained, and which one is chosen by default and why."""
    from camzoo import layers as layers_

    classifier = _load(model, weights, seed)
    sample = classifier.preprocessing.sample()
    choice = layers_.choose(classifier.module, sample)
    table = Table("layer", "kind", "output", "grid", "parameters", box=None, header_style="bold")
    for info in layers_.trace(classifier.module, sample):
        if every or (info.layout and math.prod(info.layout.shape) > 1):
            name = f"[bold]{info.name}  <- default[/]" if info.name == choice.layer.name else info.name
            shape = " x ".join(map(str, info.shape)) if info.shape else "-"
            table.add_row(name, info.kind, shape, str(info.layout or "-"), f"{info.parameters:,}")
    _stdout().print(table)
    print(f"{classifier.name} ({classifier.weights}): default layer {choice.layer.name}, {choice.why}")


@app.command()
def check(
    what: Annotated[list[str] | None, typer.Argument(help="Photos, or package.module:implementation.")] = None,
    method: Annotated[str | None, typer.Option("--as", help="The method that the implementation computes.")] = None,
    stage: Annotated[str, typer.Option(help="What it returns: raw, rectified or normalised.")] = "rectified",
    model: ModelOption = None,
    weights: WeightsOption = None,
    layer: Annotated[str | None, typer.Option(help="Dotted name; `camzoo layers` lists them.")] = None,
    target: Annotated[str | None, typer.Option(help="A class index or label; the top class if left out.")] = None,
    methods: Annotated[str | None, typer.Option(help="gradcam, gradcam@captum, *@torchcam ...; all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer problems and promises.")] = False,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for what is found: camzoo-check or camzoo-change.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the maps of the photos as golden in a folder.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with the golden maps in a folder.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Of a golden map's largest value.")] = 1e-3,
    overwrite: Annotated[bool, typer.Option(help="Replace earlier golden maps or results in the folder.")] = False,
) -> None:
    """Hold implementations to the papers' equations: does each compute what it says?"""
    from camzoo.conformance import record

    given, where = what or [], out or Path("camzoo-check")
    asked: dict[str, object] = {
        "--model": model,
        "--weights": weights,
        "--layer": layer,
        "--target": target,
        "--methods": methods,
    }
    if against:
        _only(
            "--against asks again what was kept",
            {"photos": given, **asked, "--as": method, "--save": save},
            "--model",
            "--weights",
        )
        return _against(against, model, weights, device, tolerance, out or Path("camzoo-change"), overwrite)
    if save:
        return _save_golden(given, model, weights, layer, target, methods or "gradcam", device, seed, save, overwrite)
    record.check_free(where)
    if given and ":" in given[0] and not Path(given[0]).exists():
        _only("an implementation is checked at the built-in problems", asked)
        return _check_own(given, method, stage, quick, device, where)
    if method:
        raise RequestError("--as names the method of an implementation: camzoo check package.module:mine --as gradcam")
    if given:
        return _check_model(given, model, weights, layer, target, methods, quick, device, seed, where)
    if model or weights or layer or target:
        raise RequestError("a model is checked on photos: camzoo check --model M PHOTO...")
    return _check_all(methods, quick, device, where)


def _only(why: str, given: Mapping[str, object], *welcome: str) -> None:
    """Refuses what would be passed over in silence."""
    if unused := [name for name, value in given.items() if value and name not in welcome]:
        raise RequestError(f"{why}: leave out {', '.join(unused)}")


def _check_all(methods: str | None, quick: bool, device: str, out: Path) -> None:
    """Every method at every backend, at the built-in problems."""
    from camzoo import specs
    from camzoo.conformance import check as check_

    computations, where = specs.expand(methods or "*@*"), _device(device)
    with _progress() as (progress, _):
        findings = check_.check(computations, quick, where, progress)
    _verdicts(findings, out, BUILT_IN, where)


def _check_own(given: list[str], method: str | None, stage: str, quick: bool, device: str, out: Path) -> None:
    """The user's own implementation, at the built-in problems."""
    from camzoo import sources
    from camzoo.conformance import check as check_
    from camzoo.conformance import subjects
    from camzoo.types import Stage

    if len(given) > 1:
        raise RequestError(f"one implementation at a time: {given[0]}, and then {given[1]}")
    known = check_.claimable()
    if method is None or method not in known:
        raise unknown("method for --as", method or "", known)
    if stage not in list(Stage):
        raise unknown("stage", stage, Stage)
    subject = subjects.of_callable(sources.attribute(given[0]), method, Stage(stage), given[0])
    where = _device(device)
    _verdicts([check_.of_subject(subject, quick, where)], out, BUILT_IN, where)


def _check_model(
    photos: list[str],
    model: str | None,
    weights: str | None,
    layer: str | None,
    target: str | None,
    methods: str | None,
    quick: bool,
    device: str,
    seed: int,
    out: Path,
) -> None:
    """Methods at the user's own model and photos."""
    import torch

    from camzoo import images, models, specs
    from camzoo.conformance import check as check_
    from camzoo.conformance.stands import Given

    computations, where = specs.expand(methods or "*@*"), _device(device)
    classifier = _load(model, weights, seed)
    views = [classifier.preprocessing.view(images.read(photo)) for photo in photos]
    batch = torch.cat([classifier.preprocessing.tensor(view) for view in views])
    classes = None if target is None else [models.class_index(target, classifier.labels)] * len(photos)
    stand = Given(classifier.name, classifier.module, batch, layer, classes, seed)
    with _progress() as (progress, _):
        findings = check_.on_model(computations, stand, quick, where, progress)
    named = ", ".join(Path(photo).name for photo in photos)
    at = f"{classifier.name} ({classifier.weights}), layer {layer or 'by the rule'}, target {target or 'the top class'}"
    _verdicts(findings, out, f"{at}, seed {seed}, {named}", where)


BUILT_IN = "the built-in problems"


def _verdicts(findings: list[Finding], out: Path, at: str, device: torch.device) -> None:
    """Says what was found, keeps it with where it was found, and fails where something is wrong."""
    from camzoo.conformance import page, record
    from camzoo.environment import environment

    table = Table("computation", "verdict", "stage", "error", "with the change", "", box=None, header_style="bold")
    for found in findings:
        numbers = [f"{value:.1e}" if value is not None else "" for value in (found.error, found.residual)]
        kind = f"{found.kind}: " if found.kind else ""
        verdict = f"[{_COLOURS[found.verdict.good]}]{found.verdict}[/]"
        table.add_row(escape(found.name), verdict, found.stage, *numbers, escape(kind + found.reason))
    _stdout().print(table)
    around = environment(device) | {"checked_at": at}
    files = [record.save(findings, around, out), page.save(findings, around, out)]
    print(", ".join(f"{count} {verdict}" for verdict, count in Counter(found.verdict for found in findings).items()))
    print("wrote\n" + "\n".join(f"  {path}" for path in files))
    if not all(found.verdict.good for found in findings):
        raise typer.Exit(1)


_COLOURS = {True: "green", False: "red"}


def _save_golden(
    photos: list[str],
    model: str | None,
    weights: str | None,
    layer: str | None,
    target: str | None,
    methods: str,
    device: str,
    seed: int,
    folder: Path,
    overwrite: bool,
) -> None:
    """Keeps the maps of some photos."""
    from camzoo import golden, images, specs, store

    if not photos:
        raise RequestError("golden maps are of photos: camzoo check --save DIR PHOTO...")
    specs.expand(methods)
    store.check_free(folder, overwrite)
    where, pictures = _device(device), [(Path(photo).name, images.read(photo)) for photo in photos]
    classifier = _load(model, weights, seed)
    views = [(name, classifier.preprocessing.view(picture)) for name, picture in pictures]
    result = _study(classifier, views, layer, target, methods, where, Settings(), seed)
    _summary(result, golden.save(result, model, weights, folder, overwrite))


def _against(
    folder: Path, model: str | None, weights: str | None, device: str, tolerance: float, out: Path, overwrite: bool
) -> None:
    """Asks again what golden maps answer, and shows what has changed."""
    from camzoo import figures, golden, store

    kept, question = golden.load(folder)
    store.check_free(out, overwrite)
    where = _device(device)
    classifier = _load(model or question.model, weights or question.weights, question.seed)
    classes, methods = [list(wanted) for wanted in question.classes], list(question.methods)
    colours = len(classifier.preprocessing.mean)
    now = _study(
        classifier, golden.views(kept, colours), question.layer, classes, methods, where, Settings(), question.seed
    )
    changed = golden.changes(kept, now, tolerance)
    for change in changed:
        print(f"{kept.rows[change.row].name}: {change.name}: {change.reason}")
    print(f"{len(changed)} of {len(kept.cells)} maps have changed")
    if changed:
        files = now.save(out, overwrite)
        (out / "change.png").write_bytes(figures.png(figures.changes(kept, changed)))
        print("wrote\n" + "\n".join(f"  {path}" for path in [out / "change.png", *files]))
        raise typer.Exit(1)


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
    where = _device(device)
    classifier = _load(model, weights, seed)
    views = [(name, classifier.preprocessing.view(photo)) for name, photo in photos]
    result = _study(classifier, views, layer, target, methods, where, settings, seed)
    files = result.save(out, overwrite)
    _summary(result, files)
    if any(cell.status is Status.FAILED for cell in result.cells):
        raise typer.Exit(1)


def _study(
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
    with _progress() as (progress, inputs):
        return study.compare(
            classifier.module.to(device),
            batch,
            methods,
            layer=layer,
            target=_targets(target, classifier.labels, len(views)),
            seed=seed,
            names=[name for name, _ in views],
            labels=classifier.labels,
            pictures=[view for _, view in views],
            model_name=f"{classifier.name} ({classifier.weights})",
            progress=progress,
            settings=replace(settings, progress=inputs),
        )


def _load(model: str | None, weights: str | None, seed: int) -> Classifier:
    from camzoo import models

    return models.load(model, weights, seed)


def _settings(chunk: int | None, amp: str | None) -> Settings:
    """How methods that run many inputs run them.

    Raises:
        RequestError: there is no such precision.
    """
    import torch

    precisions = {"bf16": torch.bfloat16, "fp16": torch.float16}
    if amp is not None and amp not in precisions:
        raise unknown("precision for --amp", amp, precisions)
    return Settings(chunk, precisions[amp] if amp else None)


def _device(name: str) -> torch.device:
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


def _targets(text: object, labels: tuple[str, ...], count: int) -> object:
    """The target that was meant: as text for every photo alike, else as it is."""
    from camzoo import models

    if not isinstance(text, str) or (text.lower().startswith("top") and text[3:].isdigit()):
        return text
    parts = [text] if text in labels else [part.strip() for part in text.split(",")]  # a label may have a comma
    classes = [models.class_index(part, labels) for part in parts]
    return [classes] * count


@contextmanager
def _progress() -> Iterator[tuple[Progress, Callable[[int, int], None]]]:
    """Progress on stderr, of the computations and of the inputs of one: bars on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line, _now_and_then(_inputs_line)
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True) as bar:
        outer, inner = bar.add_task("", total=None), bar.add_task("inputs", total=None, visible=False)

        def computation(done: int, total: int, name: str) -> None:
            bar.update(outer, completed=done, total=total, description=escape(name))
            bar.update(inner, visible=False)

        yield computation, lambda done, total: bar.update(inner, completed=done, total=total, visible=True)


def _line(done: int, total: int, name: str) -> None:
    if name:
        print(f"[{done + 1}/{total}] {name}", file=sys.stderr, flush=True)


def _inputs_line(done: int, total: int) -> None:
    print(f"    {done} of {total} inputs", file=sys.stderr, flush=True)


def _now_and_then(report: Callable[[int, int], None], pause: float = 10) -> Callable[[int, int], None]:
    """The same report, but not more often than every few seconds."""
    last = time.monotonic()

    def seldom(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= pause:
            last = time.monotonic()
            report(done, total)

    return seldom


def _summary(result: Study, files: list[Path]) -> None:
    out = _stdout()
    print(f"{result.model}, layer {result.layer} ({result.layout})")
    for row in result.rows:
        print(f"{row.name}: {row.title}" + (f", {row.target} {row.score:.3f}" if row.class_index is not None else ""))
    table = Table("computation", "status", "seconds", "stage", "", box=None, header_style="bold")
    for computation in result.computations:
        cells = [cell for cell in result.cells if str(cell.computation) == str(computation)]
        cell = next((cell for cell in cells if cell.status is not Status.OK), cells[0])
        warned = [f"{result.rows[it.row].name}: {it.warning}" for it in cells if it.warning]
        seconds = f"{cell.seconds:.3f}" if cell.seconds is not None else ""
        stage = f"{cell.heatmap.stage}, {cell.heatmap.resolution} grid" if cell.heatmap else ""
        notes = list(cell.heatmap.notes) if cell.heatmap else []
        table.add_row(
            escape(str(computation)),
            _styled(cell.status),
            seconds,
            stage,
            escape("; ".join(said for said in (cell.reason, *warned, *notes) if said)),
        )
    out.print(table)
    print("wrote")
    for path in files:
        print(f"  {path}")


def _styled(status: str) -> str:
    colour = {"ok": "green", "ready": "green", "failed": "red", "not installed": "yellow"}.get(status, "dim")
    return f"[{colour}]{status}[/]"


def _stdout() -> Console:
    """A console on stdout that does not cut lines where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def main() -> None:
    """Runs the command line: 0 ok, 1 some cell failed, 2 the request could not be carried out."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may have what a terminal cannot show
    try:
        app()
    except CamzooError as error:
        print("camzoo:", " ".join(str(error).splitlines()), file=sys.stderr)
        raise SystemExit(2) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(2) from None
