"""`camzoo bench`: what does an explanation cost, on this model and this device?"""

from __future__ import annotations

import itertools
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from camzoo.cli import ranking
from camzoo.cli.application import DeviceOption, SeedOption, WeightsOption, app
from camzoo.cli.asking import device_of
from camzoo.cli.saying import stdout
from camzoo.errors import RequestError, unknown

if TYPE_CHECKING:
    from camzoo.timing.bench import Progress, Request
    from camzoo.timing.samples import Case, Run

METHODS = "gradcam@*,gradcam++@*,layercam@*,hirescam@*,xgradcam@*,eigencam@*,eigengradcam@*,ablationcam"
"""What is measured where nothing is named: whatever takes a few forward passes."""

QUICK = "gradcam@*,gradcam++,gradcam++@torchcam,layercam,layercam@torchcam,hirescam@captum,eigencam,ablationcam"
QUICK_ROUNDS, CALIBRATION_ROUNDS = 4, 3

OWN = (
    "Yours: package.module:thing=gradcam, called with (model, layer module, images, list of classes), gives rectified "
    "maps (N, h, w); =gradcam/raw where they are signed."
)
BUSY = 0.25
"""Above which load for each core the machine is said to have been busy."""

DTYPES = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16", "bfloat16": "bfloat16", "float16": "float16"}


@app.command()
def bench(
    context: typer.Context,
    model: Annotated[list[str] | None, typer.Option(help="As for compare; several times for several models.")] = None,
    weights: WeightsOption = None,
    layer: Annotated[str | None, typer.Option(help="Dotted name; `camzoo layers` lists them.")] = None,
    methods: Annotated[str | None, typer.Option(help="gradcam, gradcam@captum, *@torchcam, gradcam@*, *@* ...")] = None,
    own: Annotated[list[str] | None, typer.Option(help=OWN)] = None,
    device: DeviceOption = "cpu",
    batch: Annotated[str, typer.Option(help="Images at a time, several with commas.")] = "1",
    size: Annotated[str, typer.Option(help="Pixels of a side, several with commas.")] = "224",
    dtype: Annotated[str, typer.Option(help="float32, bf16 or fp16, several with commas.")] = "float32",
    scope: Annotated[str, typer.Option(help="Where the work ends: array (full-size, host), map, or both.")] = "array",
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Weights and images laid out so.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Of each process; 15.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes that take the time.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="A dozen contenders, few rounds.")] = False,
    check: Annotated[str, typer.Option(help="quick, or full: all problems and promises of `camzoo check`.")] = "quick",
    plan: Annotated[bool, typer.Option("--plan", help="What many images would cost, from a few calls.")] = False,
    images: Annotated[int, typer.Option(min=1, help="How many, for --plan.")] = 50_000,
    compare: Annotated[tuple[Path, Path] | None, typer.Option(help="Two earlier runs: what got slower?")] = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="Folder for samples, results and figures.")] = Path("camzoo-bench"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Measure what explanations cost: in forward passes of the same model, in seconds and in bytes."""
    if compare:
        _alone("compare", context)
        _compare(*compare)
        return
    from camzoo.timing import bench as bench_
    from camzoo.timing import contenders
    from camzoo.timing.samples import Outcome

    device_of(device)
    if check not in ("quick", "full"):
        raise unknown("extent for --check", check, ("quick", "full"))
    cases = _cases(model or [""], weights, layer, device, batch, size, dtype, scope, channels_last, seed)
    names = contenders.expand(methods or ([] if own else QUICK if quick else METHODS), own or ())
    usual = CALIBRATION_ROUNDS if plan else QUICK_ROUNDS if quick else bench_.ROUNDS
    request = bench_.Request(cases, tuple(names), rounds or usual, processes, check == "full")
    if not plan:  # which has no need of places
        _few(request)
    run = _measured(request, out, resume)
    ranking.show(run, stdout())
    _unsettled(run)
    _busy(run)
    if plan:
        _plan(run, images)
    print("wrote\n" + "\n".join(f"  {path}" for path in _files(run, out)))
    if any(row.outcome in (Outcome.FAILED, Outcome.OUT_OF_MEMORY) for row in run.rows):
        raise typer.Exit(1)


def _cases(
    models: list[str],
    weights: str | None,
    layer: str | None,
    device: str,
    batch: str,
    size: str,
    dtype: str,
    scope: str,
    channels_last: bool,
    seed: int,
) -> tuple[Case, ...]:
    """Every case that the options name.

    Raises:
        RequestError: something in them does not exist.
    """
    from camzoo import sources
    from camzoo.models import DEFAULT
    from camzoo.timing.samples import Case, Scope

    named = [model or DEFAULT for model in models]
    for model in named:
        sources.find(model)  # a name that nobody has is refused before any work is done
    kinds = [kind.strip() for kind in dtype.split(",")]
    for kind in kinds:
        if kind not in DTYPES:
            raise unknown("dtype", kind, DTYPES)
    if scope not in ("both", *Scope):
        raise unknown("scope", scope, ("both", *Scope))
    ends = list(Scope) if scope == "both" else [Scope(scope)]
    every = itertools.product(
        named, kinds, _numbers("--batch", batch, "1,8"), _numbers("--size", size, "224,448"), ends
    )
    cases = (
        Case(model, weights, layer, count, pixels, DTYPES[kind], device, end, seed, channels_last)
        for model, kind, count, pixels, end in every
    )
    return tuple(dict.fromkeys(cases))


def _numbers(option: str, text: str, example: str) -> list[int]:
    """Whole numbers with commas between them.

    Raises:
        RequestError: they are something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and int(part) for part in parts):
        raise RequestError(f"{option} takes whole numbers above 0, as in {option} {example}; not {text!r}")
    return [int(part) for part in parts]


def _few(request: Request) -> None:
    """A word, before anything is measured, where there will be too few samples for places."""
    from camzoo.timing import statistics

    if not statistics.enough(request.rounds * request.processes, request.processes):
        print(
            f"camzoo: too few samples for places ({request.rounds} in each process, processes: {request.processes}): "
            f"they take {statistics.FEWEST_SAMPLES} in all and {statistics.FEWEST_PROCESSES} processes",
            file=sys.stderr,
        )


def _measured(request: Request, out: Path, resume: bool) -> Run:
    """The run; where it is interrupted, it is said how to go on."""
    from camzoo.timing import bench as bench_

    line = shlex.join(["camzoo", *(word for word in sys.argv[1:] if word != "--resume")])
    try:
        with _progress() as progress:
            return bench_.bench(request, out, resume=resume, command=line, progress=progress)
    except KeyboardInterrupt:
        print(f"camzoo: interrupted; what was measured is in {out}; go on with: {line} --resume", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def _progress() -> Iterator[Progress]:
    """Progress on stderr, drawn only when something has changed: nothing runs beside what is timed."""
    console = Console(stderr=True)
    if not console.is_terminal:
        said: set[str] = set()
        began = time.monotonic()

        def line(done: int, total: int, process: str, _name: str) -> None:
            if process and process not in said:
                said.add(process)
                gone = f"{time.monotonic() - began:.0f} s"
                print(f"[{done + 1}/{total}, {gone}] {process}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=None)

        def draw(done: int, total: int, process: str, name: str) -> None:
            words = escape(f"{process}: {name}" if name else process)
            bar.update(task, completed=done, total=total, description=words, refresh=True)

        yield draw


def _unsettled(run: Run) -> None:
    """A word where calls were still getting faster, or too slow to tell, when the clock began to run."""
    told = [row for row in run.rows if row.alike]
    names = list(dict.fromkeys(row.contender for row in told if row.unsettled))
    if names:
        count = sum(row.unsettled for row in told)
        print(f"calls never became alike before the clock ran in {count} of {len(told)} rows: {', '.join(names)}")


def _busy(run: Run) -> None:
    """A word where others were at work on the machine when the run began."""
    cores = run.environment.get("cores") or 1
    loads = [at["load"][0] for at in run.environment.get("before", ()) if at["load"]]
    if loads and max(loads) > BUSY * cores:
        print(f"the machine was busy: a load of {max(loads):.1f} on {cores} cores before the run began")


def _plan(run: Run, images: int) -> None:
    """What many images would cost."""
    from camzoo.timing import planning

    for case in run.cases:
        print(f"\n{case.name}")
        for each in planning.plan(run, images):
            if each.case == case:
                print(f"  {each}")


def _files(run: Run, out: Path) -> list[Path]:
    """Draws what the run shows; gives every file, the one to look at first before the others."""
    from camzoo import charts, figures
    from camzoo.timing import record, scaling

    drawn = {"cost": charts.dots, "memory": charts.memory, "pareto": charts.pareto}
    drawn |= {"scaling": charts.scaling} if scaling.along(run) else {}
    paths = []
    for name, draw in drawn.items():
        paths.append(out / f"{name}.png")
        paths[-1].write_bytes(figures.png(draw(run)))
    return [*paths, out / record.FILE, out / record.LINES]


def _alone(name: str, context: typer.Context) -> None:
    """Refuses other options beside one that measures nothing.

    Raises:
        RequestError: there are some.
    """
    sources = {other: context.get_parameter_source(other) for other in context.params if other != name}
    given = [other for other, source in sources.items() if source and source.name == "COMMANDLINE"]
    if given:
        options = ", ".join(f"--{other.replace('_', '-')}" for other in given)
        raise RequestError(f"--{name} reads two runs and measures nothing: leave out {options}")


def _compare(old: Path, new: Path) -> None:
    """What has become slower or faster between two runs; 1 where something has become slower."""
    from camzoo.timing import comparing, record, rehearsal

    before, after = record.load(old), record.load(new)
    for difference in comparing.differences(before, after):
        print(f"not alike: {difference}")
    for line in comparing.unfinished(before, after):
        print(line)
    changes = comparing.compare(before, after)
    if all(change.kind in (comparing.Kind.ONLY_OLD, comparing.Kind.ONLY_NEW) for change in changes):
        raise RequestError(
            f"{old} and {new} have nothing in common: no contender was asked about the same case in both"
        )
    for change in changes:
        print(change)
    print(rehearsal.sensitivity(after))
    if any(change.worse for change in changes):
        raise typer.Exit(1)
