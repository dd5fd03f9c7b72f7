"""What `camzoo evaluate` costs for each image, in the forward passes that its metrics need; and the memory it holds.

    python benchmarks/evaluation.py                 # 1,000 photos x 8 methods x all fast metrics, on a CPU
    python benchmarks/evaluation.py --images 96     # a try, printed only

Run it on an idle machine. It writes results/evaluation-cpu.json with every sample; `evaluated.py` reads it.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import evaluated
import numpy as np
import torch
from cost import EIGHT, RESULTS, plain, timed
from PIL import Image, ImageEnhance, ImageOps

from camzoo import images, models, noise, problems, specs
from camzoo.evaluation import local, opening, table
from camzoo.evaluation.batch import CONTROLS, Question
from camzoo.evaluation.samples import Loading, classes_of
from camzoo.timing import conditions

EVERY = 4
"""So many batches of the evaluation between two rounds of plain forward passes."""
FORMATS = {"as laid out here": torch.channels_last, "contiguous": torch.contiguous_format}
"""How the images of a plain pass lie in memory: as those of the evaluation's own passes do, which is faster for many
images, and as a model is given them by most."""

OBJECTS = {
    "astronaut": ("space shuttle", (0.70, 0.00, 0.89, 0.57)),
    "camera": ("tripod", (0.46, 0.35, 0.80, 1.00)),
    "chelsea": ("tiger cat", (0.05, 0.00, 0.90, 1.00)),
    "coffee": ("espresso", (0.28, 0.03, 0.70, 0.58)),
    "rocket": ("missile", (0.48, 0.30, 0.53, 0.96)),
    "stereo_motorcycle": ("moped", (0.12, 0.15, 0.93, 0.90)),
}
"""In photos that scikit-image carries: the class and its box, `left, top, right, bottom` as shares of the photo."""
SIDE = 500
"""Pixels of the longer side of each photo."""
CORNERS = 32
"""Of the polygon that is drawn as a mask: the ellipse in the box."""


def photos(folder: Path, count: int) -> Path:
    """Makes so many different photos, each a part of one above, some turned around, in other light, with its object.

    Args:
        folder: where they are written, as JPEG.
        count: how many.

    Returns:
        The COCO file of their boxes and masks.
    """
    originals = {name: images.sample(name) for name in OBJECTS}
    labels = sorted({label for label, _ in OBJECTS.values()})
    told: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels)],
    }
    for number in range(count):
        name = list(OBJECTS)[number % len(OBJECTS)]
        label, box = OBJECTS[name]
        photo, seen = _altered(originals[name], box, noise.generator(number))
        photo.save(folder / f"{number:04d}.jpg", quality=90)
        size = {"width": photo.width, "height": photo.height}
        told["images"].append({"id": number, "file_name": f"{number:04d}.jpg", **size})
        told["annotations"].append(
            {
                "id": number,
                "image_id": number,
                "category_id": labels.index(label),
                "bbox": [seen[0], seen[1], seen[2] - seen[0], seen[3] - seen[1]],
                "segmentation": [_ellipse(*seen)],
            }
        )
    path = folder / "photos.json"
    path.write_text(json.dumps(told))
    return path


def _altered(
    photo: Image.Image, box: tuple[float, ...], random: np.random.Generator
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """A part of a photo around the middle of its object, enlarged, and the box of the object in it."""
    wide, high = photo.size
    left, top, right, bottom = box[0] * wide, box[1] * high, box[2] * wide, box[3] * high
    share = random.uniform(0.7, 1)
    width, height = share * wide, share * high
    x = _beside((left + right) / 2, width, wide, random)
    y = _beside((top + bottom) / 2, height, high, random)
    scale = SIDE / max(width, height)
    size = (round(width * scale), round(height * scale))
    seen = photo.resize(size, Image.Resampling.BICUBIC, (x, y, x + width, y + height))
    edges = [(left - x) * scale, (top - y) * scale, (right - x) * scale, (bottom - y) * scale]
    if random.random() < 0.5:
        seen = ImageOps.mirror(seen)
        edges[0], edges[2] = size[0] - edges[2], size[0] - edges[0]
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        seen = change(seen).enhance(random.uniform(0.7, 1.3))
    return seen, (max(0, edges[0]), max(0, edges[1]), min(size[0], edges[2]), min(size[1], edges[3]))


def _beside(middle: float, part: float, whole: float, random: np.random.Generator) -> float:
    """Where a part of a photo may begin so that it holds the middle of the object."""
    return random.uniform(max(0, middle - 0.8 * part), min(whole - part, middle - 0.2 * part))


def _ellipse(left: float, top: float, right: float, bottom: float) -> list[float]:
    turns = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
    return [
        edge
        for turn in turns
        for edge in (
            (left + right) / 2 + (right - left) / 2 * math.cos(turn),
            (top + bottom) / 2 + (bottom - top) / 2 * math.sin(turn),
        )
    ]


class Watch:
    """Called as batches are done: keeps how long each took and the memory held, and now and then times plain passes."""

    def __init__(self, model: torch.nn.Module, inputs: torch.Tensor) -> None:
        """Times passes of one batch through a model."""
        self.model, self.passed, self.done = model, 0, 0
        self.inputs = {name: inputs.contiguous(memory_format=layout) for name, layout in FORMATS.items()}
        self.batches: list[dict] = []
        self.rounds: list[dict] = []
        self.began = time.perf_counter()

    def __call__(self, done: int, total: int) -> None:
        """A batch is done."""
        seconds = time.perf_counter() - self.began
        resident = [resident_bytes(process) for process in processes()]
        self.batches.append(
            {"images": done - self.done, "seconds": seconds, "passed": self.passed, "resident_bytes": resident}
        )
        if len(self.batches) % EVERY == 1 or done == total:
            self.round()
            print(f"{done:,} of {total:,} images, {seconds / (done - self.done):.3f} s an image", flush=True)
        self.done, self.passed, self.began = done, 0, time.perf_counter()

    def round(self) -> None:
        """Plain passes of each format, twice in random order, once the loading workers have nothing to do."""
        wait_for_workers()
        order = random.Random(len(self.rounds)).sample(2 * list(FORMATS), 2 * len(FORMATS))
        samples: dict[str, list[float]] = {name: [] for name in FORMATS}
        for name in order:
            samples[name].append(timed(lambda name=name: plain(self.model, self.inputs[name]), torch.device("cpu")))
        self.rounds.append({"after": len(self.batches), "images": len(self.inputs["contiguous"]), "seconds": samples})

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts the images that go through the model."""

        def add(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            self.passed += len(inputs[0])

        handle = self.model.register_forward_pre_hook(add)
        try:
            yield
        finally:
            handle.remove()


def processes() -> list[int]:
    """This process and its loading workers."""
    return [os.getpid(), *(each.pid for each in multiprocessing.active_children() if each.pid)]


def resident_bytes(process: int) -> int:
    """The memory that a process has."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def wait_for_workers(patience: float = 10.0) -> None:
    """Until the loading workers have loaded ahead as far as they go: they use no more of the processor."""

    def used() -> list[list[str]]:
        texts = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2] for each in processes()[1:]]
        return [text.split()[11:13] for text in texts]

    before, end = used(), time.perf_counter() + patience
    while time.perf_counter() < end:
        time.sleep(0.1)
        if (now := used()) == before:
            return
        before = now


def measure(count: int, size: int, workers: int, folder: Path) -> dict:
    """Evaluates so many photos, and gives every sample."""
    data = opening.open_data(photos(folder, count))
    classifier = models.load()
    layer = problems.layer_name(classifier.module, None, classifier.preprocessing.sample())
    fast = local.fitting(table.expand("fast"), data, by_label=True, named=True)
    methods = tuple(specs.expand([",".join(EIGHT), *CONTROLS]))
    question = Question(classifier.module, layer, methods, fast, by_label=True)
    loading = Loading(data.items, classifier.preprocessing, classes_of(data.labels, classifier.labels))
    inputs = torch.stack([loading[number].image for number in range(size)])
    for layout in FORMATS.values():
        plain(classifier.module, inputs.contiguous(memory_format=layout))
    watch = Watch(classifier.module, inputs)
    given = {"identity": {"model": classifier.name}, "size": size, "workers": workers}
    seen = (classifier.preprocessing, classifier.labels, folder / "evaluation")
    with watch.counting():
        local.run(question, data, *seen, **given, progress=watch)
    return {
        "question": {
            "model": f"{classifier.name}, {classifier.weights}",
            "pixels": list(classifier.preprocessing.image_size),
            "layer": layer,
            "methods": [str(each) for each in methods if each.method not in CONTROLS],
            "controls": list(CONTROLS),
            "metrics": [each.name for each in fast],
            "images": count,
            "batch": size,
            "workers": workers,
        },
        "batches": watch.batches,
        "forwards": watch.rounds,
    }


def main() -> None:
    """Measures, says what was found, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=local.BATCH)
    parser.add_argument("--workers", type=int, default=local.WORKERS)
    arguments = parser.parse_args()
    device = torch.device("cpu")
    before = conditions.now(device)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.images, arguments.batch, arguments.workers, Path(folder))
    made = {
        "command": f"python benchmarks/evaluation.py --images {arguments.images}",
        "environment": conditions.fixed(device) | {"before": before, "after": conditions.now(device)},
    }
    result = made | found
    print(evaluated.text(result))
    if arguments.images >= 1000:  # less is a try
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / "evaluation-cpu.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
