"""What an adapter adds to its library's own call: both side by side in one process, one image, by paired ratios.

python benchmarks/adapters.py                    # prints the table and writes benchmarks/results/adapters-cpu.json
python benchmarks/adapters.py --only ResNet-50   # part of it, printed only

The plain call is what a user of the library writes by its README: its object is built, asked and let go each time, as
it has to be where several libraries share a model. Beside the ratio stands what is counted: of passes, operations and
waits of the host an adapter may add none, of copies that of the images.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from camzoo import backends, guard, problems
from camzoo.timing import clock, conditions, counting
from camzoo.timing.samples import Counts
from camzoo.types import Problem

Plain = Callable[[Problem], object]
RESULTS = Path(__file__).parent / "results"
NETS = ("small net", "ResNet-50")
CPU = torch.device("cpu")


def of_pytorch_grad_cam(name: str) -> Plain:
    """One image's map at its size, 0 to 1, in NumPy."""

    def call(problem: Problem) -> object:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with getattr(pytorch_grad_cam, name)(model=problem.model, target_layers=[problem.layer_module]) as cam:
            return cam(input_tensor=problem.images, targets=[ClassifierOutputTarget(problem.classes[0])])

    return call


def of_captum(name: str) -> Plain:
    """One image's map at the layer, its channels summed."""

    def call(problem: Problem) -> object:
        from captum import attr

        library = getattr(attr, name)(problem.model, problem.layer_module)
        return library.attribute(problem.images, target=problem.classes[0]).sum(1)

    return call


def of_torchcam(name: str) -> Plain:
    """One image's map at the layer."""

    def call(problem: Problem) -> object:
        from torchcam import methods

        with getattr(methods, name)(problem.model, problem.layer) as extractor:
            return extractor(problem.classes[0], problem.model(problem.images), normalized=False)[0]

    return call


PLAIN: dict[tuple[str, str], Plain] = {
    **{
        (method, "pytorch-grad-cam"): of_pytorch_grad_cam(name)
        for method, name in {
            "gradcam": "GradCAM",
            "gradcam++": "GradCAMPlusPlus",
            "hirescam": "HiResCAM",
            "xgradcam": "XGradCAM",
            "layercam": "LayerCAM",
        }.items()
    },
    ("gradcam", "captum"): of_captum("LayerGradCam"),
    ("hirescam", "captum"): of_captum("LayerGradientXActivation"),
    **{
        (method, "torchcam"): of_torchcam(name)
        for method, name in {
            "gradcam": "GradCAM",
            "gradcam++": "GradCAMpp",
            "xgradcam": "XGradCAM",
            "layercam": "LayerCAM",
        }.items()
    },
}
"""By method and library what its user writes."""


def small_net() -> nn.Module:
    """Two convolutions: next to nothing is computed, so that what an adapter does itself stands out."""
    stem, last = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
    return nn.Sequential(stem, nn.ReLU(), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def posed(net: str) -> Problem:
    """One image, random weights; the class is named."""
    torch.manual_seed(0)
    small = net == NETS[0]
    model = small_net() if small else torchvision.models.resnet50(weights=None)
    size, layer = (64, "2") if small else (224, "layer4")
    return problems.pose(model.eval(), torch.randn(1, 3, size, size), layer, target=3)


def works(problem: Problem, method: str, library: str) -> dict[str, Callable[[], object]]:
    """The plain call and the adapter's."""
    backend, plain = backends.find(library), PLAIN[method, library]
    backends.load(backend)
    return {"plain": lambda: plain(problem), "adapter": lambda: backend.explain(problem, method, {})}


def counted(problem: Problem, method: str, library: str) -> dict[str, Counts]:
    """What either call does."""
    with guard.borrowed(problem.model), torch.enable_grad():
        asked = works(problem, method, library).items()
        return {name: counting.count(work, problem.model, problem.images)[0] for name, work in asked}


def measure(problem: Problem, method: str, library: str, rounds: int) -> dict:
    """Raw samples of both, the median of their ratios within a round, and the median difference."""
    with guard.borrowed(problem.model), torch.enable_grad():
        asked = works(problem, method, library)
        calls = {name: (lambda work=work: clock.timed(work, CPU).seconds) for name, work in asked.items()}
        for call in calls.values():
            clock.steady(call)
        samples = clock.in_turns(calls, rounds)
    pairs = list(zip(samples["plain"], samples["adapter"], strict=True))
    quarters = statistics.quantiles([adapter / plain for plain, adapter in pairs], n=4)
    counts = counted(problem, method, library)
    return {
        "contender": f"{method}@{library}",
        "ratio": round(quarters[1], 3),
        "quartiles": [round(quarters[0], 3), round(quarters[2], 3)],
        "added_seconds": round(statistics.median(adapter - plain for plain, adapter in pairs), 6),
        "added_flops": counts["adapter"].flops - counts["plain"].flops,
        "added_copied_bytes": counts["adapter"].copied_bytes - counts["plain"].copied_bytes,
        "seconds": {name: [round(each, 6) for each in taken] for name, taken in samples.items()},
    }


def main() -> None:
    """Measures every pair, prints the table and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", default="", choices=("", *NETS))
    arguments = parser.parse_args()
    before, rows = conditions.now(CPU), []
    for net in NETS:
        problem = posed(net) if arguments.only in net else None
        for method, library in PLAIN if problem else ():
            rows.append(row := {"net": net, **measure(problem, method, library, arguments.rounds)})
            low, high = row["quartiles"]
            added = (
                f"{1e3 * row['added_seconds']:6.2f} ms, {row['added_flops']:,} flops, {row['added_copied_bytes']:,} B"
            )
            print(f"{net:10} {row['contender']:28} {row['ratio']:6.3f} [{low:.3f}, {high:.3f}]  {added}", flush=True)
    if not arguments.only:
        around = conditions.fixed(CPU) | {"before": before, "after": conditions.now(CPU)}
        path = RESULTS / "adapters-cpu.json"
        path.write_text(json.dumps({"environment": around, "rows": rows}, indent=1) + "\n")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
