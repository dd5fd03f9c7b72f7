"""`camzoo methods` and `camzoo layers`: what there is."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer
from rich.table import Table

from camzoo.cli.application import ModelOption, SeedOption, WeightsOption, app
from camzoo.cli.asking import load
from camzoo.cli.saying import stdout, styled
from camzoo.types import Status


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
        table.add_row(method, *(styled(text) for text in texts))
    stdout().print(table)
    for row in rows:
        print(" ".join(part for part in (f"{row.backend}: {row.status}", row.version, row.reason) if part))


@app.command()
def layers(
    model: ModelOption = None,
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    every: Annotated[bool, typer.Option("--all", help="Also the layers that give no grid.")] = False,
) -> None:
    """List the layers that can be explained, with their size, and which one is chosen by default and why."""
    from camzoo import layers as layers_

    classifier = load(model, weights, seed)
    sample = classifier.preprocessing.sample()
    choice = layers_.choose(classifier.module, sample)
    table = Table("layer", "kind", "output", "grid", box=None, header_style="bold")
    for number in ("parameters", "cumulative", "memory"):
        table.add_column(number, justify="right")
    traced = layers_.trace(classifier.module, sample)
    for info in traced:
        if every or (info.layout and math.prod(info.layout.shape) > 1):
            name = f"[bold]{info.name}  <- default[/]" if info.name == choice.layer.name else info.name
            shape = " x ".join(map(str, info.shape)) if info.shape else "-"
            numbers = (f"{info.parameters:,}", f"{info.cumulative:,}", _size(info.memory) if info.memory else "-")
            table.add_row(name, info.kind, shape, str(info.layout or "-"), *numbers)
    stdout().print(table)
    learnt, outputs = list(classifier.module.parameters()), _size(sum(info.memory for info in traced))
    weights_of_all = _size(sum(each.nbytes for each in learnt))
    image = " x ".join(map(str, sample.shape[1:]))
    print(
        f"{sum(each.numel() for each in learnt):,} parameters in {weights_of_all}; "
        f"the outputs of all layers for one image {image} in {outputs}"
    )
    print(f"{classifier.name} ({classifier.weights}): default layer {choice.layer.name}, {choice.why}")


def _size(count: int) -> str:
    """A number of bytes for people: 13.4 MB."""
    unit, factor = next((unit for unit in _UNITS if count >= unit[1]), _UNITS[-1])
    return f"{count / factor:.{0 if factor == 1 else 1}f} {unit}"


_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1))
