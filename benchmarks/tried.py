"""What was tried to make camzoo faster: each idea beside what is done today, in one run, and whether it was taken.

python benchmarks/tried.py                  # prints the table and writes benchmarks/results/tried-cpu.json
python benchmarks/tried.py --only compile   # part of it, printed only
python benchmarks/tried.py --device cuda    # the same on a GPU, and what needs one
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
from cost import RESULTS, explain, timed
from torch import nn

from camzoo import grids
from camzoo.timing import clock, conditions

Work = Callable[[], object]
CHANNELS = 64  # of Score-CAM's 512, so that a trial takes seconds


@dataclass(frozen=True)
class Trial:
    """One idea.

    Attributes:
        name: what is tried.
        instead_of: what is done today.
        make: gives today's work and the idea's.
        taken: what became of the idea, and why.
        devices: where it can be tried.
    """

    name: str
    instead_of: str
    make: Callable[[torch.device], tuple[Work, Work]]
    taken: str
    devices: tuple[str, ...] = ("cpu", "cuda")


def network(name: str, device: torch.device) -> nn.Module:
    """A torchvision network with seeded random weights."""
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval().to(device).requires_grad_(False)


def photos(count: int, device: torch.device, size: int = 224) -> torch.Tensor:
    """Seeded noise in the place of photos."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)).to(device)


def channels_last_image(device: torch.device) -> tuple[Work, Work]:
    """Grad-CAM of one image, the image laid out either way."""
    model, image, call = network("resnet50", device), photos(1, device), explain("gradcam")
    last = image.contiguous(memory_format=torch.channels_last)
    return lambda: call(model, image, "layer4", 7), lambda: call(model, last, "layer4", 7)


def scorecam(today: dict[str, object], idea: dict[str, object]) -> Callable[[torch.device], tuple[Work, Work]]:
    """Score-CAM with two settings."""

    def make(device: torch.device) -> tuple[Work, Work]:
        model, image = network("resnet18", device), photos(1, device)
        calls = [explain("scorecam", top_channels=CHANNELS, **options) for options in (today, idea)]
        first, second = (lambda call=call: call(model, image, "layer4", 7) for call in calls)
        return first, second

    return make


def compiled(build: Callable[[torch.device], tuple[nn.Module, torch.Tensor]]) -> Callable[..., tuple[Work, Work]]:
    """A part of a network without hooks, as it is and through `torch.compile`."""

    def make(device: torch.device) -> tuple[Work, Work]:
        part, inputs = build(device)
        faster = torch.compile(part)

        def run(module: Callable[..., object]) -> Work:
            def work() -> object:
                with torch.inference_mode():
                    return module(inputs)

            return work

        return run(part), run(faster)

    return make


def masked(device: torch.device) -> tuple[nn.Module, torch.Tensor]:
    """The whole network on a chunk of masked images."""
    return network("resnet18", device), photos(16, device).contiguous(memory_format=torch.channels_last)


def prefix(device: torch.device) -> tuple[nn.Module, torch.Tensor]:
    """What comes before the layer, on one image."""
    return nn.Sequential(*list(network("resnet50", device).children())[:-2]), photos(1, device)


def tail(device: torch.device) -> tuple[nn.Module, torch.Tensor]:
    """What comes after the layer, on a chunk of altered activations."""
    net = network("resnet18", device)
    after = nn.Sequential(net.layer4, net.avgpool, nn.Flatten(), net.fc)
    return after, torch.randn(64, 256, 14, 14, device=device)


def batched_gradients(device: torch.device) -> tuple[Work, Work]:
    """The gradients of eight classes at a layer: one backward pass each, or all in one batched pass."""
    net = network("resnet50", device)
    after = nn.Sequential(net.layer4, net.avgpool, nn.Flatten(), net.fc)
    leaf = torch.randn(1, 1024, 14, 14, device=device, requires_grad=True)

    def one_by_one() -> object:
        scores = after(leaf)[0, :8]
        return [torch.autograd.grad(scores[at], leaf, retain_graph=at < 7) for at in range(8)]

    def together() -> object:
        scores = after(leaf)[0, :8]
        return torch.autograd.grad(scores, leaf, torch.eye(8, device=device), is_grads_batched=True)

    return one_by_one, together


def fused_maps(device: torch.device) -> tuple[Work, Work]:
    """Scaling and enlarging eight maps, one by one or as one batch."""
    maps = torch.rand(8, 1, 7, 7, device=device)
    size = (224, 224)
    return (
        lambda: [grids.resize(grids.normalise(grids.rectify(each)), size) for each in maps],
        lambda: grids.resize(grids.normalise(grids.rectify(maps[:, 0])), size),
    )


def bare_gradcam(model: nn.Module, image: torch.Tensor, target: int = 7) -> Callable[[], torch.Tensor]:
    """The formula of Grad-CAM at the last stage of a ResNet, and nothing beside it that the host would wait for."""
    *before, pool, last = model.children()
    prefix, tail = nn.Sequential(*before), nn.Sequential(pool, nn.Flatten(), last)

    def work() -> torch.Tensor:
        with torch.no_grad():
            activations = prefix(image)
        activations.requires_grad_()
        (slopes,) = torch.autograd.grad(tail(activations)[0, target], activations)
        return (slopes.mean((2, 3), keepdim=True) * activations.detach()).sum(1)

    return work


def captured(device: torch.device) -> tuple[Work, Work]:
    """Grad-CAM of one image: the public call, or its passes replayed from a CUDA graph, the image copied in."""
    model, image, call = network("resnet50", device), photos(1, device), explain("gradcam")
    static = image.clone()
    work = bare_gradcam(model, static)
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()  # a capture must not see what is set up at first calls
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = work()

    def replayed() -> object:
        static.copy_(image)
        graph.replay()
        return found.clone()  # the next replay writes over it

    return lambda: call(model, image, "layer4", 7), replayed


TODAY: dict[str, object] = {}
TRIALS = (
    Trial(
        "channels-last image, Grad-CAM",
        "the image as it comes",
        channels_last_image,
        "no: the layout of one image is its owner's; chunks of altered images are always channels-last",
    ),
    Trial(
        "autocast to bfloat16, Score-CAM",
        "float32",
        scorecam(TODAY, {"amp": torch.bfloat16}),
        "as a choice (--amp bf16), since it changes the map",
    ),
    *(
        Trial(
            f"chunks of {size}, Score-CAM",
            "chunks of 16",
            scorecam({"chunk": 16}, {"chunk": size}),
            "as a choice (--chunk)",
        )
        for size in (1, 4, 64)
    ),
    Trial(
        "compile the network, 16 masked images",
        "eager",
        compiled(masked),
        "no: compiling takes longer than one call saves, and the model is borrowed; one that its owner compiled is "
        "explained as it is",
    ),
    Trial("compile the prefix, one image", "eager", compiled(prefix), "no, as above"),
    Trial("compile the tail, 64 altered activations", "eager", compiled(tail), "no, as above"),
    Trial(
        "gradients of eight classes in one batched pass",
        "one backward pass each",
        batched_gradients,
        "no: batched gradients go through vmap, which not every module allows",
    ),
    Trial(
        "scale and enlarge eight maps as one batch",
        "map by map",
        fused_maps,
        "not yet: milliseconds of a comparison, whose maps may differ in grid and stage",
    ),
    Trial(
        "a CUDA graph replayed, Grad-CAM",
        "the public call",
        captured,
        "open until it is measured: a graph holds for one model, layer, shape and class, and keeps its memory",
        devices=("cuda",),
    ),
)


def measure(trial: Trial, rounds: int, device: torch.device) -> dict:
    """Raw samples of both, interleaved in random order, and the median of their ratios within a round."""
    works = dict(zip(("today", "idea"), trial.make(device), strict=True))
    calls = {which: (lambda work=work: round(timed(work, device), 6)) for which, work in works.items()}
    firsts = {which: call() for which, call in calls.items()}
    for call in calls.values():
        call()  # warm-up
    samples = clock.in_turns(calls, rounds)
    ratios = [idea / today for today, idea in zip(samples["today"], samples["idea"], strict=True)]
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "name": trial.name,
        "instead_of": trial.instead_of,
        "taken": trial.taken,
        "ratio": round(statistics.median(ratios), 3),
        "quartiles": [round(quarters[0], 3), round(quarters[2], 3)],
        "first_seconds": firsts,
        "seconds": samples,
    }


def main() -> None:
    """Measures every trial, prints the table and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="a part of the names of the trials")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    before, rows = conditions.now(device), []
    for trial in TRIALS:
        if device.type in trial.devices and arguments.only in trial.name:
            rows.append(done := measure(trial, arguments.rounds, device))
            low, high = done["quartiles"]
            first = done["first_seconds"]["idea"]
            print(
                f"{done['name']:50} {done['ratio']:6.3f} [{low:.3f}, {high:.3f}]  first call {first:.1f} s", flush=True
            )
    if not arguments.only:
        around = conditions.fixed(device) | {"before": before, "after": conditions.now(device)}
        path = RESULTS / f"tried-{device.type}.json"
        path.write_text(json.dumps({"environment": around, "rows": rows}, indent=1) + "\n")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
