"""`camzoo bench`: what does an explanation cost, on this model and this device?"""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from camzoo.cli.application import DeviceOption, SeedOption, WeightsOption, app
from camzoo.cli.asking import device_of
from camzoo.cli.saying import stdout
from camzoo.errors import RequestError, unknown

if TYPE_CHECKING:
    from camzoo.timing.bench import Progress
    from camzoo.timing.samples import Case, Run

METHODS = "gradcam@*,gradcam++@*,layercam@*,hirescam@*,xgradcam@*,eigencam@*,eigengradcam,ablationcam"

QUICK = (
    "gradcam@*,gradcam++,gradcam++@torchcam,layercam,layercam@torchcam,hirescam,hirescam@captum,eigencam,ablationcam"
)

DTYPES = {"float32": "float32", "bf16": "bfloat16", "bfloat16": "bfloat16", "fp16": "float16", "float16": "float16"}


@app.command()
def bench(
    model: Annotated[list[str] | None, typer.Option(help="As for compare; several times for several models.")] = None,
    weights: WeightsOption = None,
    layer: Annotated[str | None, typer.Option(help="Dotted name; `camzoo layers` lists them.")] = None,
    methods: Annotated[str | None, typer.Option(help="gradcam, gradcam@captum, *@torchcam, gradcam@*, *@* ...")] = None,
    own: Annotated[list[str] | None, typer.Option(help="Yours: package.module:thing=gradcam, or =gradcam/raw.")] = None,
    device: DeviceOption = "cpu",
    batch: Annotated[str, typer.Option(help="Images at a time, several with commas.")] = "1",
    size: Annotated[str | None, typer.Option(help="Pixels of a side, several with commas; the model's own.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bf16 or fp16, several with commas.")] = "float32",
    scope: Annotated[str, typer.Option(help="What the work ends with: array (full-size, host), map, or both.")] = "array",
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Weights and images laid out so.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Of each process; 15.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes that take the time.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="A dozen contenders, few rounds.")] = False,
    check: Annotated[str, typer.Option(help="quick, or full: all problems and promises of the check.")] = "quick",
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="Folder for samples, results and figures.")] = Path("camzoo-bench"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Measure what explanations cost: in forward passes of the same model, seconds and bytes."""
    from camzoo.timing import bench as bench_
    from camzoo.timing import contenders

    device_of(device)
    if check not in ("quick", "full"):
        raise unknown("extent of the check", check, ("quick", "full"))
    cases = _cases(model or [None], weights, layer, device, batch, size, dtype, scope, channels_last, seed)
    names = contenders.expand(methods or (QUICK if quick else METHODS), own or [])
    request = bench_.Request(cases, tuple(names), rounds or (5 if quick else bench_.ROUNDS), processes, check == "full")
    line = shlex.join(["camzoo", *(word for word in sys.argv[1:] if word != "--resume")])
    try:
        with _progress() as progress:
            run = bench_.bench(request, out, resume=resume, command=line, progress=progress)
    except KeyboardInterrupt:
        print(f"camzoo: interrupted; what was measured is in {out}; go on with: {line} --resume", file=sys.stderr)
        raise typer.Exit(130) from None
    _report(run, out)


def _cases(
    models: list[str] | list[None],
    weights: str | None,
    layer: str | None,
    device: str,
    batch: str,
    size: str | None,
    dtype: str,
    scope: str,
    channels_last: bool,
    seed: int,
) -> tuple[Case, ...]:
    """Every case that the options name."""
    from camzoo import sources
    from camzoo.models import DEFAULT
    from camzoo.timing.samples import Case, Scope

    for each in dtype.split(","):
        if each not in DTYPES:
            raise unknown("dtype", each, DTYPES)
    if scope not in ("both", *Scope):
        raise unknown("scope", scope, ("both", *Scope))
    scopes = list(Scope) if scope == "both" else [Scope(scope)]
    named = [model or DEFAULT for model in models]
    for model in named:
        sources.find(model)  # a name that nobody has is refused before any work is done
    return tuple(
        Case(model, weights, layer, count, pixels, DTYPES[kind], device, end, seed, channels_last)
        for model, kind, count, pixels, end in itertools.product(
            named, dtype.split(","), _numbers("--batch", batch), _numbers("--size", size or "224"), scopes
        )
    )


def _numbers(option: str, text: str) -> list[int]:
    """Whole numbers with commas between them.

    Raises:
        RequestError: they are something else.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise RequestError(f"{option} takes whole numbers, as in {option} 1,8; not {text!r}")
    return [int(part) for part in parts]


@contextmanager
def _progress() -> Iterator[Progress]:
    """Progress on stderr; drawn only when something has changed, so that nothing runs beside what is timed."""
    console = Console(stderr=True)
    if not console.is_terminal:
        said: list[str] = []

        def line(done: int, total: int, process: str, _name: str) -> None:
            if process and process not in said:
                said.append(process)
                print(f"[{done + 1}/{total}] {process}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=None)

        def draw(done: int, total: int, process: str, name: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(f"{process}  {name}"), refresh=True)

        yield draw


def _report(run: Run, folder: Path) -> None:
    """The ranking, and what is not in it."""
    for case in run.cases:
        table = Table("contender", "outcome", "verdict", "forwards", "ms", "first ms", "MB", box=None, header_style="bold", title=case.name)
        for row in run.of(case):
            import statistics

            ratio = f"{statistics.median(s.forwards for s in row.samples):.2f}" if row.samples else ""
            ms = f"{1000 * statistics.median(s.seconds for s in row.samples):.1f}" if row.samples else ""
            first = f"{1000 * max(row.first):.0f}" if row.first else ""
            peak = f"{row.peak_bytes / 1e6:.1f}" if row.peak_bytes is not None else ""
            table.add_row(escape(row.contender), row.outcome, row.verdict, ratio, ms, first, peak)
        stdout().print(table)
    print("wrote\n" + "\n".join(f"  {folder / name}" for name in ("bench.json", "samples.jsonl")))
