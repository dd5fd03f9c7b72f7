"""The benchmarks whose results are committed, as a table of problems; each is one run of `camzoo bench`.

    python benchmarks/scenarios.py                         # all that are meant for a CPU
    python benchmarks/scenarios.py --device cuda           # all that are meant for a GPU
    python benchmarks/scenarios.py --only batch channels   # some of them
    python benchmarks/scenarios.py --only models --again   # a repetition, against which the first is held
    python benchmarks/scenarios.py --list

Each writes results/NAME-DEVICE.json. What is interrupted goes on where it was when it is started again: without --only,
a result of this very code, on this machine and with these versions, is kept.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from camzoo.errors import RequestError
from camzoo.timing import bench, conditions, contenders, record
from camzoo.timing.samples import Case, Run, Scope

HERE = Path(__file__).parent
RESULTS, UNFINISHED = HERE / "results", HERE / "unfinished"

MODELS = ("resnet50", "vgg16", "densenet121", "efficientnet_b0", "vit_b_16")
ONE_PASS = "gradcam@*,gradcam++@*,hirescam@*,xgradcam@*,layercam@*,eigencam@*,eigengradcam@*,ablationcam"
OTHERS = (
    "gradcam-elementwise@*,kpcacam@*,segeigencam@*,fem@*,finercam@*,shapleycam@*,refinecam@*,cam@*,fullgrad@*,"
    "ablationcam(closed_form=False),smoothgradcam++@*,uniform,random"
)
MANY_PASSES = "scorecam@*,ablationcam@*,sscam@*,iscam@*,groupcam,rise,occlusion@*"
AUTOCAST = "benchmarks.autocast:scorecam=scorecam"
GROWING = "gradcam@*,eigencam@*,ablationcam(closed_form=False)"
CHANNELS = {"layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048}
COUNTS = (1, 2, 4, 8)
BOTH = ("cpu", "cuda")


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    Attributes:
        title: heading on the page.
        cases: the work; the device is put in when it is run.
        methods: who takes part, as `camzoo bench --methods` takes it.
        own: implementations outside of the libraries.
        devices: where it is meant to be run.
        rounds: of each process.
        along: what varies and how it is called, where the run is about growth; see `camzoo.timing.scaling`.
    """

    title: str
    cases: tuple[Case, ...]
    methods: str = "gradcam"
    own: tuple[str, ...] = ()
    devices: tuple[str, ...] = BOTH
    rounds: int = 15
    along: Mapping[str, Any] = field(default_factory=dict)


def cases(models: tuple[str, ...] = ("resnet50",), **varied: tuple[object, ...]) -> tuple[Case, ...]:
    """Every combination, on random weights."""
    combined = itertools.product(models, *varied.values())
    return tuple(Case(model, "random", **dict(zip(varied, values, strict=True))) for model, *values in combined)


def own(kind: str) -> tuple[str, ...]:
    """Implementations in together.py."""
    return tuple(f"benchmarks.together:{kind}_{count}=gradcam" for count in COUNTS)


def named(kind: str) -> dict[str, int]:
    """As they are called in a run, with how many methods they compute."""
    return {f"benchmarks.together:{kind}_{count}": count for count in COUNTS}


TABLE: dict[str, Scenario] = {
    "models": Scenario(
        "Methods of one or a few passes, on five models",
        cases(MODELS),
        ONE_PASS,
        rounds=5,
    ),
    "map": Scenario(
        "Up to the map on the device, on ResNet-50",
        cases(scope=(Scope.MAP,)),
        ONE_PASS,
        rounds=5,
    ),
    "others": Scenario(
        "Further methods, on ResNet-50",
        cases(),
        OTHERS,
        rounds=3,
    ),
    "many-passes": Scenario(
        "Methods of many passes, on five models",
        cases(MODELS),
        MANY_PASSES,
        own=(AUTOCAST,),
        devices=("cuda",),
        rounds=3,
    ),
    "many-passes-resnet18": Scenario(
        "Methods of many passes, on ResNet-18",
        cases(("resnet18",)),
        "scorecam@*,ablationcam@*,groupcam,rise(masks=500)",
        devices=("cpu",),
        rounds=2,
    ),
    "precision": Scenario(
        "Precision and memory format: error against cost",
        cases(dtype=("float32", "bfloat16"), channels_last=(False, True)),
        "gradcam,layercam,hirescam,xgradcam,gradcam++,eigencam,finercam,ablationcam(closed_form=False)",
        rounds=5,
    ),
    "batch": Scenario(
        "Growth with the batch, on ResNet-18",
        cases(("resnet18",), batch=(1, 2, 4, 8)),
        GROWING,
        devices=("cpu",),
        rounds=3,
    ),
    "batch-gpu": Scenario("Growth with the batch", cases(batch=(1, 4, 16, 64, 256)), GROWING, devices=("cuda",)),
    "resolution": Scenario(
        "Growth with the resolution, on ResNet-18", cases(("resnet18",), size=(112, 160, 224, 320)), GROWING, rounds=3
    ),
    "channels": Scenario(
        "Growth with the number of channels, on ResNet-50",
        cases(layer=tuple(CHANNELS)),
        "gradcam@*,eigencam@*,kpcacam",
        rounds=3,
        along={"along": "layer", "label": "channels of the layer", "sizes": CHANNELS},
    ),
    "channels-scorecam": Scenario(
        "Score-CAM: growth with the number of channels",
        cases(layer=tuple(CHANNELS)),
        "scorecam@*",
        devices=("cuda",),
        rounds=3,
        along={"along": "layer", "label": "channels of the layer", "sizes": CHANNELS},
    ),
    "methods": Scenario(
        "Growth with the number of methods compared, on ResNet-50",
        cases(scope=(Scope.MAP,)),
        own=own("together") + own("apart"),
        rounds=5,
        along={
            "along": "contender",
            "label": "methods compared",
            "sizes": named("together") | named("apart"),
            "lines": dict.fromkeys(named("together"), "camzoo.compare, all together")
            | dict.fromkeys(named("apart"), "camzoo.explain, one by one"),
        },
    ),
}


def request(scenario: Scenario, device: str) -> bench.Request:
    """What `camzoo bench` is asked."""
    work = tuple(replace(case, device=device) for case in scenario.cases)
    names = contenders.expand(scenario.methods, scenario.own)
    return bench.Request(work, tuple(names), scenario.rounds, bench.PROCESSES, False)


def measure(name: str, device: str, again: bool = False) -> Path:
    """Runs one scenario, or goes on with it, and keeps its result."""
    scenario = TABLE[name]
    file = f"{name}{'-again' if again else ''}-{device}"
    folder = UNFINISHED / file
    resume = (folder / record.LINES).exists()
    command = f"python benchmarks/scenarios.py --device {device} --only {name}{' --again' if again else ''}"
    run = bench.bench(request(scenario, device), folder, resume=resume, command=command, progress=progress)
    path = record.save(told(run, name, scenario), RESULTS / f"{file}.json")
    shutil.rmtree(folder)  # every sample is in the result
    return path


def is_kept(path: Path, device: str) -> bool:
    """Whether there is a result that measuring again would only repeat."""
    try:
        run = record.load(path)
    except RequestError:  # there is none, or it is of another time
        return False
    return run.finished and not bench.unlike(run.environment, conditions.fixed(torch.device(device)))


def told(run: Run, name: str, scenario: Scenario) -> Run:
    """A run that says which scenario it is."""
    says = {"name": name, "title": scenario.title, **scenario.along}
    return replace(run, environment={**run.environment, "scenario": says})


@functools.cache
def _said(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def progress(done: int, total: int, process: str, _contender: str) -> None:
    """One line for each process on stderr."""
    if process:
        _said(f"[{done + 1}/{total}] {process}")


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=BOTH)
    parser.add_argument("--only", nargs="+", default=[], choices=TABLE, metavar="NAME", help="names in the table")
    parser.add_argument("--again", action="store_true", help="a repetition of what was measured")
    parser.add_argument("--list", action="store_true", help="the table, and nothing is run")
    arguments = parser.parse_args()
    names = arguments.only or [name for name, scenario in TABLE.items() if arguments.device in scenario.devices]
    for name in names:
        if arguments.list:
            asked = request(TABLE[name], arguments.device)
            print(f"{name:22} {len(asked.cases):3} cases {len(asked.names):3} contenders  {TABLE[name].title}")
        elif not arguments.only and is_kept(path := RESULTS / f"{name}-{arguments.device}.json", arguments.device):
            print(f"kept {path}, which is of this code and machine", flush=True)
        else:
            print(f"wrote {measure(name, arguments.device, arguments.again)}", flush=True)


if __name__ == "__main__":
    main()
