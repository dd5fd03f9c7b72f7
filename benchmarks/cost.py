"""What camzoo's own methods cost, in forward passes of the same model on the same input.

Every figure is a ratio to a plain forward pass in inference mode, taken in the same round: contenders are interleaved
in random order, and the figure is the median over the rounds of the ratio within each. Run it on an idle machine:

    python benchmarks/cost.py                  # prints the table and writes benchmarks/results/cost-cpu.json
    python benchmarks/cost.py --device cuda    # the same on a GPU
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision

import camzoo
from camzoo.timing import clock, conditions
from camzoo.timing.memory import traced

EIGHT = ("gradcam", "gradcam++", "hirescam", "gradcam-elementwise", "xgradcam", "layercam", "eigencam", "eigengradcam")
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: what is measured.
        model: a torchvision name.
        layer: dotted name, or None for the rule's choice.
        call: which public call is made, with the model, the images and the layer.
        limit: the most forward passes that it may cost.
        per: by what the ratio is divided, such as the number of channels.
        target: the class, or None for the top one.
    """

    name: str
    model: str
    layer: str | None
    call: str
    limit: float
    per: int = 1
    target: int | None = 7


def explain(method: str, **options: object) -> Callable[..., object]:
    """A call of `camzoo.explain`."""
    return lambda model, images, layer, target: camzoo.explain(
        model, images, method, layer=layer, target=target, stage="raw", **options
    )


CALLS: dict[str, Callable[..., object]] = {
    "gradcam": explain("gradcam"),
    "eigencam": explain("eigencam"),
    "ablationcam by the tail": explain("ablationcam", closed_form=False),
    "ablationcam in closed form": explain("ablationcam"),
    "ablationcam": explain("ablationcam"),
    "scorecam": explain("scorecam"),
    "eight together": lambda model, images, layer, target: camzoo.compare(
        model, images, EIGHT, layer=layer, target=target
    ),
}

CASES = (
    Case("gradcam, ResNet-50", "resnet50", "layer4", "gradcam", 1.10),
    Case("gradcam, ResNet-50, top class", "resnet50", "layer4", "gradcam", 1.10, target=None),
    Case("gradcam, VGG-16", "vgg16", "features.29", "gradcam", 1.10),
    Case("eight (A, G) and A methods, ResNet-50", "resnet50", "layer4", "eight together", 1.35),
    Case("eight, ResNet-50, top class", "resnet50", "layer4", "eight together", 1.35, target=None),
    Case("eigencam, ResNet-50", "resnet50", "layer4", "eigencam", 1.10),
    Case("ablationcam by the tail, ResNet-50", "resnet50", "layer4", "ablationcam by the tail", 12),
    Case("ablationcam in closed form, ResNet-50", "resnet50", "layer4", "ablationcam in closed form", 1.2),
    Case("ablationcam, DenseNet-121", "densenet121", "features", "ablationcam", 20),
    Case("ablationcam, VGG-16", "vgg16", "features.29", "ablationcam", 20),
    Case("ablationcam, MobileNetV3", "mobilenet_v3_large", "features", "ablationcam", 20),
    Case("ablationcam by the tail, EfficientNet-B0", "efficientnet_b0", "features", "ablationcam by the tail", 20),
    Case("scorecam, ResNet-18, a channel", "resnet18", "layer4", "scorecam", 0.80, per=512),
)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    return clock.timed(work, device).seconds


def plain(model: torch.nn.Module, images: torch.Tensor) -> None:
    """The unit: one forward pass in inference mode."""
    with torch.inference_mode():
        model(images)


def measure(cases: list[Case], rounds: int, device: torch.device) -> list[dict]:
    """The raw samples of cases of one model, each beside the forward passes of its round."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(cases[0].model, weights=None).eval().to(device)
    images = torch.randn(1, 3, 224, 224, device=device)

    def unit() -> None:
        plain(model, images)

    def call(case: Case) -> tuple[float, float]:
        """Seconds of the call, and of the forward passes beside it."""
        work = functools.partial(CALLS[case.call], model, images, case.layer, case.target)
        timing, passes = clock.between(lambda: clock.timed(work, device), unit, device)
        return timing.seconds, sum(passes) / 2

    calls = {case.name: functools.partial(call, case) for case in cases}
    for each in calls.values():
        clock.steady(lambda each=each: each()[0])
    samples = clock.in_turns(calls, rounds)
    return [row(case, samples[case.name]) for case in cases]


def row(case: Case, samples: list[tuple[float, float]]) -> dict:
    """One row with its samples and its figure."""
    ratios = [seconds / forward / case.per for seconds, forward in samples]
    quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    figure = {
        "forwards": round(statistics.median(ratios), 4),
        "quartiles": [round(quarters[0], 4), round(quarters[2], 4)],
        "met": statistics.median(ratios) <= case.limit,
        "seconds": [round(seconds, 6) for seconds, _ in samples],
        "forward_seconds": [round(forward, 6) for _, forward in samples],
    }
    return asdict(case) | figure


def peak(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes that tensors held at a time during a call, beyond what was held before: the allocator's count."""
    work()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    return traced(work)


def memory(device: torch.device) -> dict:
    """Peak of `gradcam` over that of a plain pass, ResNet-50, 16 images; and of a pass that keeps its graph."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50(weights=None).eval().to(device)
    images = torch.randn(16, 3, 224, 224, device=device)
    peaks = {
        "plain": peak(lambda: plain(model, images), device),
        "gradcam": peak(lambda: camzoo.explain(model, images, "gradcam", layer="layer4", target=7), device),
        "with a graph over the whole network": peak(lambda: model(images), device),
    }
    share = peaks["gradcam"] / peaks["plain"] - 1
    return {
        "name": "memory of gradcam above a plain pass",
        "share": round(share, 4),
        "limit": 0.10,
        "peak_bytes": peaks,
    }


def main() -> None:
    """Measures every case, prints the table and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="a part of the names of the cases to measure")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    before, rows = conditions.now(device), []
    for model in dict.fromkeys(case.model for case in CASES):
        cases = [case for case in CASES if case.model == model and arguments.only in case.name]
        for done in measure(cases, arguments.rounds, device) if cases else []:
            rows.append(done)
            low, high = done["quartiles"]
            mark = f"at most {done['limit']:5.2f}  {'ok' if done['met'] else 'MISSED'}"
            print(f"{done['name']:44} {done['forwards']:8.3f} [{low:.3f}, {high:.3f}]  {mark}", flush=True)
    if not arguments.only:
        held = memory(device)
        print(f"{held['name']:44} {held['share']:8.3f}                   at most  0.10")
        around = conditions.fixed(device) | {"before": before, "after": conditions.now(device)}
        path = RESULTS / f"cost-{device.type}.json"
        path.write_text(json.dumps({"environment": around, "rows": rows, "memory": held}, indent=1) + "\n")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
