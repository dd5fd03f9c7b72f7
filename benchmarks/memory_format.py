"""What channels-last inputs do to a forward pass of 16 images: why methods that run many inputs lay them out so.

python benchmarks/memory_format.py    # prints the table and writes benchmarks/results/memory-format-cpu.json
"""

from __future__ import annotations

import json
import statistics

import torch
import torchvision
from cost import RESULTS, plain, timed

from camzoo.timing import clock, conditions

MODELS = ("resnet18", "resnet50", "mobilenet_v3_large", "efficientnet_b0", "vgg16", "densenet121")
FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
CPU = torch.device("cpu")


def measure(name: str, rounds: int = 15) -> dict:
    """Raw samples of both formats, interleaved in random order, and the median of their ratios within a round."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    images = torch.randn(16, 3, 224, 224)
    inputs = {name: images.contiguous(memory_format=format) for name, format in FORMATS.items()}
    calls = {
        which: (lambda laid_out=laid_out: timed(lambda: plain(model, laid_out), CPU))
        for which, laid_out in inputs.items()
    }
    clock.in_turns(calls, 2)  # warm-up
    samples = clock.in_turns(calls, rounds)
    ratios = [last / first for first, last in zip(samples["contiguous"], samples["channels-last"], strict=True)]
    return {"model": name, "ratio": round(statistics.median(ratios), 3), "seconds": samples}


def main() -> None:
    """Measures every model, prints the table and writes the result."""
    before, rows = conditions.now(CPU), []
    for name in MODELS:
        rows.append(measure(name))
        print(f"{name:20} channels-last over contiguous {rows[-1]['ratio']:.3f}", flush=True)
    around = conditions.fixed(CPU) | {"before": before, "after": conditions.now(CPU)}
    (RESULTS / "memory-format-cpu.json").write_text(json.dumps({"environment": around, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
