"""`camzoo evaluate`: which method is better, over a data set?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from camzoo.cli.application import DeviceOption, ModelOption, SeedOption, WeightsOption, app
from camzoo.cli.asking import device_of, load, title, weights_sha256
from camzoo.cli.saying import now_and_then
from camzoo.errors import RequestError, unknown

if TYPE_CHECKING:
    import torch

    from camzoo.evaluation.batch import Question
    from camzoo.evaluation.data import Data
    from camzoo.evaluation.local import Executor, Progress
    from camzoo.models import Classifier

EVALUATED = "gradcam,gradcam++,hirescam,xgradcam,layercam,eigencam,eigengradcam"
"""What is evaluated where nothing is named: whatever one forward pass gives."""
TARGETS = ("predicted", "label")
EXECUTORS = ("local", "ray")


@app.command()
def evaluate(
    data: Annotated[str, typer.Argument(help="A folder of photos or of classes, VOC, .csv, .parquet or COCO .json.")],
    model: ModelOption = None,
    weights: WeightsOption = None,
    layer: Annotated[str | None, typer.Option(help="Dotted name; `camzoo layers` lists them.")] = None,
    methods: Annotated[str, typer.Option(help="As for compare; controls are added.")] = EVALUATED,
    metrics: Annotated[str, typer.Option(help="fast (a forward pass each at most), all, or names.")] = "fast",
    target: Annotated[str, typer.Option(help="The class that is explained: predicted, or label.")] = "predicted",
    photos: Annotated[str | None, typer.Option(help="Where the photos of a table or COCO file are.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many images, drawn by the seed.")] = None,
    device: DeviceOption = "cpu",
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 16,
    chunk: Annotated[int | None, typer.Option(min=1, help="Altered images at a time.")] = None,
    executor: Annotated[
        str, typer.Option(help="local, or ray: spread over a cluster, with a GPU each on cuda.")
    ] = "local",
    workers: Annotated[int, typer.Option(min=0, help="Processes: local, that load photos; ray, that evaluate.")] = 2,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("camzoo-evaluation"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="What it would cost, from a few images.")] = False,
) -> None:
    """Judge methods over a data set: one row for each image, method and metric, and who is better in the end."""
    from camzoo import leaderboard
    from camzoo.evaluation import files, local, opening, reading, table

    files.arrow()
    if target not in TARGETS:
        raise unknown("class to explain", target, TARGETS)
    if executor not in EXECUTORS:
        raise unknown("executor", executor, EXECUTORS)
    wanted, computations = table.expand(metrics), _methods(methods)
    found, where = opening.open_data(data, photos).limited(limit, seed), device_of(device)
    fitting = local.fitting(wanted, found, target == "label", metrics.strip() not in ("fast", "all"))
    classifier = load(model, weights, seed)
    question = _question(classifier, layer, computations, fitting, target == "label", where, seed, chunk)
    if plan:
        print(_plan(question, found, classifier))
        return
    identity = {"model": title(classifier), "weights": weights_sha256(classifier.module)}
    seen, labels = classifier.preprocessing, classifier.labels
    given: dict[str, Any] = {"identity": identity, "size": batch, "workers": workers, "resume": resume}
    origin = {"data": data, "photos": photos, "model": model, "weights": weights, "limit": limit}
    try:
        with _executor(executor, where) as over, _progress() as told:
            local.run(question, found, seen, labels, out, **given, progress=told, over=over, origin=origin)
    except KeyboardInterrupt:
        line = shlex.join(["camzoo", *(word for word in sys.argv[1:] if word != "--resume")])
        print(f"camzoo: interrupted; what is finished is in {out}; go on with: {line} --resume", file=sys.stderr)
        raise typer.Exit(130) from None
    results = reading.read(out)
    items = {item.name: item for item in found.items}
    written = leaderboard.write(results, out, items)
    print("wrote\n" + "\n".join(f"  {path}" for path in [out / files.PARTS, *written]))
    if results.failed:
        raise typer.Exit(1)


def _methods(named: str) -> tuple[Any, ...]:
    """What is named, and the controls."""
    from camzoo import specs
    from camzoo.evaluation.batch import CONTROLS

    return tuple(specs.expand([named, *CONTROLS]))


def _question(
    classifier: Classifier,
    layer: str | None,
    methods: tuple[Any, ...],
    metrics: tuple[Any, ...],
    by_label: bool,
    device: Any,
    seed: int,
    chunk: int | None,
) -> Question:
    from camzoo import problems
    from camzoo.evaluation.batch import Question

    name = problems.layer_name(classifier.module, layer, classifier.preprocessing.sample())
    return Question(classifier.module.to(device), name, methods, metrics, by_label, seed, chunk)


def _plan(question: Question, data: Data, classifier: Classifier) -> str:
    """What it would cost, in one line.

    Raises:
        RequestError: not one image can be read.
    """
    from camzoo.evaluation import planning, samples

    classes = samples.classes_of(data.labels, classifier.labels)
    found = planning.plan(question, samples.Loading(data.items, classifier.preprocessing, classes))
    if found is None:
        raise RequestError(f"none of the first images of {data.name} can be evaluated, so nothing can be said of cost")
    return str(found)


@contextmanager
def _executor(name: str, device: torch.device) -> Iterator[Executor]:
    """Who evaluates the batches; a cluster is reached before anything is written."""
    from camzoo.evaluation import cluster, local

    if name == "local":
        yield local.here
        return
    with cluster.connected(device), redirect_stdout(sys.stderr):  # where Ray tells of workers that died
        yield cluster.spread


@contextmanager
def _progress() -> Iterator[Progress]:
    """Progress on stderr: a bar on a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield now_and_then(lambda done, total: print(f"{done:,} of {total:,} images", file=sys.stderr, flush=True))
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("images", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
