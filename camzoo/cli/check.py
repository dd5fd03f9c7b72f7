"""`camzoo check`: does each implementation compute what it says?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from camzoo.cli.application import DeviceOption, ModelOption, SeedOption, WeightsOption, app
from camzoo.cli.asking import device_of, load, study_of
from camzoo.cli.saying import progress_bars, stdout, summary
from camzoo.errors import RequestError, unknown
from camzoo.types import Settings

if TYPE_CHECKING:
    import torch

    from camzoo.conformance.verdicts import Finding


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

    computations, where = specs.expand(methods or "*@*"), device_of(device)
    with progress_bars() as (progress, _):
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
    where = device_of(device)
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

    computations, where = specs.expand(methods or "*@*"), device_of(device)
    classifier = load(model, weights, seed)
    views = [classifier.preprocessing.view(images.read(photo)) for photo in photos]
    batch = torch.cat([classifier.preprocessing.tensor(view) for view in views])
    classes = None if target is None else [models.class_index(target, classifier.labels)] * len(photos)
    stand = Given(classifier.name, classifier.module, batch, layer, classes, seed)
    with progress_bars() as (progress, _):
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
    stdout().print(table)
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
    where, pictures = device_of(device), [(Path(photo).name, images.read(photo)) for photo in photos]
    classifier = load(model, weights, seed)
    views = [(name, classifier.preprocessing.view(picture)) for name, picture in pictures]
    result = study_of(classifier, views, layer, target, methods, where, Settings(), seed)
    summary(result, golden.save(result, model, weights, folder, overwrite))


def _against(
    folder: Path, model: str | None, weights: str | None, device: str, tolerance: float, out: Path, overwrite: bool
) -> None:
    """Asks again what golden maps answer, and shows what has changed."""
    from camzoo import figures, golden, store

    kept, question = golden.load(folder)
    store.check_free(out, overwrite)
    where = device_of(device)
    classifier = load(model or question.model, weights or question.weights, question.seed)
    classes, methods = [list(wanted) for wanted in question.classes], list(question.methods)
    colours = len(classifier.preprocessing.mean)
    now = study_of(
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
