"""The application that every verb joins, and the options that verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compare, check and time class-activation-map (CAM) methods across libraries.",
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
