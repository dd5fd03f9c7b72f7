"""What evaluation.py measured: figures, words and a picture, derived from its samples on reading."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from camzoo import metrics
from camzoo.metrics import Mean

FROM = 100
"""The image from which on memory has to be flat."""
KEYS = ("methods", "controls", "metrics")
HERE, PLAIN = "as laid out here", "contiguous"
INK, FAINT, COLOUR, OTHER = "#222222", "#777777", "#0072B2", "#D55E00"


@dataclass(frozen=True, slots=True)
class Found:
    """What a run says.

    Attributes:
        images: how many have been done after each batch, `(B,)`.
        forwards: images that went through the model, for each image evaluated, from the second batch on.
        cost: of each stretch between two rounds of plain passes, over the passes that were made in it, by how the
            images of a plain pass lie in memory.
        middles: of each stretch the number of images done at its middle.
        seconds: for each image, from the second batch on.
        begin: seconds of the first batch, before which the loading workers start and each method's cost is found out.
        resident: bytes of all processes together after each batch, `(B,)`.
    """

    images: NDArray[np.int64]
    forwards: float
    cost: Mapping[str, NDArray[np.float64]]
    middles: list[float]
    seconds: float
    begin: float
    resident: NDArray[np.float64]

    def ratio(self, layout: str) -> Mean:
        """The mean over the stretches, with its interval."""
        return metrics.mean(self.cost[layout])

    @property
    def steady(self) -> NDArray[np.float64]:
        """The memory from image 100 on, over its median."""
        late = self.resident[self.images >= FROM]
        return late / np.median(late)


def read(result: Mapping[str, Any]) -> Found:
    """Derives the figures. A stretch is held against the plain passes right before and right after it."""
    batches, rounds = result["batches"], result["forwards"]
    images = np.cumsum([each["images"] for each in batches])
    cost: dict[str, list[float]] = {HERE: [], PLAIN: []}
    middles = []
    for one, other in itertools.pairwise(rounds):
        part = batches[one["after"] : other["after"]]
        seconds, passed = (sum(each[name] for each in part) for name in ("seconds", "passed"))
        for layout, ratios in cost.items():
            each = np.mean([*one["seconds"][layout], *other["seconds"][layout]]) / one["images"]
            ratios.append(seconds / (passed * each))
        middles.append(float(images[one["after"] - 1] + images[other["after"] - 1]) / 2)
    return Found(
        images=images,
        forwards=sum(each["passed"] for each in batches[1:]) / (images[-1] - images[0]),
        cost={layout: np.array(ratios) for layout, ratios in cost.items()},
        middles=middles,
        seconds=sum(each["seconds"] for each in batches[1:]) / (images[-1] - images[0]),
        begin=batches[0]["seconds"],
        resident=np.array([sum(each["resident_bytes"]) for each in batches], dtype=np.float64),
    )


def text(result: Mapping[str, Any]) -> str:
    """The figures as a table in Markdown."""
    found, asked = read(result), result["question"]
    rows = [
        ("images", f"{found.images[-1]:,}"),
        ("forward passes that the metrics need, for each image", f"{found.forwards:.2f}"),
        ("cost over these passes", _ratio(found.ratio(HERE))),
        ("cost over passes of contiguous images", _ratio(found.ratio(PLAIN))),
        ("images a second", f"{1 / found.seconds:.2f}"),
        ("seconds until the first batch is done, once", f"{found.begin:.1f}"),
    ]
    if len(found.steady):
        gib = np.median(found.resident[found.images >= FROM]) / 2**30
        rows += [
            (f"memory of all processes from image {FROM} on, median", f"{gib:.2f} GiB"),
            ("its least and most, over the median", f"{found.steady.min():.3f} to {found.steady.max():.3f}"),
        ]
    head = f"{len(asked['methods'])} methods, {len(asked['controls'])} controls, {len(asked['metrics'])} metrics"
    return "\n".join([f"| {head} | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)])


def _ratio(found: Mean) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def section(result: Mapping[str, Any], json: str, figure: str) -> str:
    """The part of docs/performance.md.

    Args:
        result: what evaluation.py wrote.
        json: path of its file, from the page.
        figure: path of the figure, from the page.
    """
    asked, machine = result["question"], result["environment"]
    height, width = asked["pixels"]
    methods, controls, measured = (", ".join(f"`{each}`" for each in asked[key]) for key in KEYS)
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"""## An evaluation over a data set: {machine["device"]} ({machine["cpu"]})

`camzoo evaluate` over {asked["images"]:,} photos: {methods}, and the controls that run in every evaluation, {controls};
all fast metrics: {measured}. {asked["model"]}, {height} x {width} pixels, {asked["batch"]} images at a time,
{machine["threads"]} threads and {asked["workers"]} processes that load photos.
Made by `{result["command"]}`, [every sample]({json}).

{text(result)}

![memory and cost along an evaluation]({figure})

The metrics need one forward pass of each image, which decides the class and gives all maps, and one of the image seen
through each map; a map that shows nothing needs none. They are counted as they are made. The cost is everything that
the evaluation does, loading and keeping too, from the second batch on, over the time of as many plain passes of as many
images at a time; before the first, workers start and the cost of each method is found out, whatever the number of
images. The plain passes are timed in the same process every few batches, while the workers wait, and each stretch is
held against those before and after it. The evaluation lays out its images channels-last, in which many of them go
faster through a model: the first figure is over plain passes of images that are laid out so too, the second over passes
of contiguous images. The memory is what the process and its loading workers have resident after each batch, pages that
they share counted in each. The photos are different parts of six, mirrored or not and in other light; the boxes of
their objects were drawn by hand, and a mask is the ellipse in its box.

Measured with {versions}; load before {machine["before"]["load"][0]:.2f}, after {machine["after"]["load"][0]:.2f}.
"""


def figure(result: Mapping[str, Any]) -> Figure:
    """Along the images the memory, with the band of 5 % around its median, and the cost of each stretch."""
    found = read(result)
    drawn = Figure(figsize=(6.4, 3.4), dpi=160, facecolor="white", layout="constrained")
    above, below = drawn.subplots(2, 1, sharex=True)
    above.plot(found.images, found.resident / 2**30, color=COLOUR, linewidth=1.2, marker="o", markersize=2)
    if len(found.steady):
        middle = np.median(found.resident[found.images >= FROM]) / 2**30
        above.fill_between(
            [FROM, found.images[-1]], 0.95 * middle, 1.05 * middle, color=COLOUR, alpha=0.25, linewidth=0
        )
    above.set_ylim(0, 1.15 * found.resident.max() / 2**30)
    above.set_ylabel("GiB", fontsize=7, color=INK)
    for layout, colour, marker, line in ((HERE, COLOUR, "o", "-"), (PLAIN, OTHER, "s", "--")):
        label = "over passes of images laid out as here" if layout == HERE else "over passes of contiguous images"
        below.plot(
            found.middles, found.cost[layout], line, color=colour, marker=marker, markersize=3, linewidth=1, label=label
        )
    below.axhline(1, color=FAINT, linewidth=0.7, linestyle=(0, (1, 2)))
    below.set_ylim(0, 1.1 * max(1.3, *(ratios.max() for ratios in found.cost.values())))
    below.set_ylabel("times the\nforward passes", fontsize=7, color=INK)
    below.set_xlabel("images done", fontsize=7, color=INK)
    below.legend(fontsize=6, frameon=False, loc="lower right", labelcolor=INK)
    titles = (f"Memory of all processes, and 5 % around its median from image {FROM} on", "Cost of each stretch")
    for axes, title in zip((above, below), titles, strict=True):
        axes.set_title(title, fontsize=7.5, fontweight="bold", color=INK, loc="left")
        axes.tick_params(labelsize=6.5, length=2, colors=FAINT, labelcolor=INK)
        axes.spines[["top", "right"]].set_visible(False)
    return drawn
