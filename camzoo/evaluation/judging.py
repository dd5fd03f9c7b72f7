"""Metrics of maps that are there already: those of one image, whatever method gave them, in one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from camzoo import backends, guard, metrics
from camzoo.errors import NotOffered, RequestError
from camzoo.evaluation import readings, table
from camzoo.evaluation.readings import Reading
from camzoo.evaluation.table import Batch, Judged, Metric, Needs
from camzoo.specs import Computation
from camzoo.targets import ClassLogit, select
from camzoo.types import Problem

NO_CLASS = "what is explained is no class, and so has no probability that a metric could follow"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A map that is there.

    Attributes:
        computation: what gave it, and gives it again for altered images.
        raw: `(1, h, w)`, of any stage.
        class_index: the class that it explains, None where it explains something else.
    """

    computation: Computation
    raw: torch.Tensor
    class_index: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What all maps of one image share.

    Attributes:
        problem: the model, the layer and the image, `(1, C, H, W)`; its target is not read.
        outputs: of the model for the image, `(classes,)` where they are classes.
        mask: `(H, W)`, the pixels of what is explained, or None where nobody told.
        chunk: how many altered images to run at a time; None for as many as memory allows.
    """

    problem: Problem
    outputs: torch.Tensor
    mask: torch.Tensor | None = None
    chunk: int | None = None


def fitting(wanted: str | Iterable[str], masked: bool) -> tuple[Metric, ...]:
    """The metrics that a list names, as far as single images can have what they need.

    Args:
        wanted: names as in `camzoo evaluate`, or `fast` or `all`, which leave out what does not fit.
        masked: whether there is a mask of what is explained.

    Raises:
        RequestError: a name is unknown, or that metric needs something that is not there.
    """
    names = {name.strip() for name in (wanted.split(",") if isinstance(wanted, str) else wanted)}
    lacking = {
        Needs.MASKS: "masks of what is explained",
        Needs.BOXES: "boxes, which `camzoo evaluate` reads",
        Needs.PLACE: "boxes and labels, which `camzoo evaluate` reads",
    }
    if masked:
        del lacking[Needs.MASKS]
    found = table.expand(names)
    for metric in found:
        if metric.name in names and metric.needs in lacking:
            raise RequestError(f"{metric.name} needs {lacking[metric.needs]}")
        if metric.name in names and metric.parts:
            raise RequestError(f"{metric.name} is said of many images together: use `camzoo evaluate`")
    return tuple(metric for metric in found if metric.needs not in lacking and not metric.parts)


def judge(
    wanted: Sequence[Metric], asked: Asked, maps: Sequence[Given], told: Callable[[str], None] = lambda _: None
) -> list[dict[str, Reading]]:
    """Every metric of every map of one image: what breaks is told in its own reading, and stops nothing.

    The altered images of all maps go through the model together. Each map is followed by the softmax probability of
    the class that it explains; of what is no class only those metrics can be told that ask no model.

    Args:
        wanted: rows of the table.
        asked: the image.
        maps: of it.
        told: called with the name of each metric before its turn.

    Returns:
        Of each map its readings by the metric's name, in the order of the table.
    """
    found: list[dict[str, Reading]] = [{} for _ in maps]
    groups = []
    for classes in (True, False):
        places = [at for at, given in enumerate(maps) if (given.class_index is not None) is classes]
        alike = [maps[at] for at in places]
        groups += [(places, alike, _judged(asked, alike))] if places else []
    for metric in wanted:
        told(metric.name)
        for places, alike, judged in groups:
            for at, reading in zip(places, _readings(metric, asked, alike, judged), strict=True):
                found[at][metric.name] = reading
    return found


def _readings(metric: Metric, asked: Asked, maps: Sequence[Given], judged: Judged) -> list[Reading]:
    """One metric of all maps together; where that breaks, of each alone, so that it breaks only for its cause."""
    try:
        values = judged.values(metric.compute)[metric.name].tolist()
        chances = metric.chance(judged.batch).tolist() if metric.chance else [None] * len(maps)
    except Exception as error:  # somebody else's method or metric must not take the others down
        if len(maps) == 1:
            return [readings.refused(error)]
        return [each for one in maps for each in _readings(metric, asked, [one], _judged(asked, [one]))]
    return [
        _reading(metric, judged.batch, at, *each) for at, each in enumerate(zip(maps, values, chances, strict=True))
    ]


def _reading(metric: Metric, batch: Batch, at: int, given: Given, value: float, chance: float | None) -> Reading:
    level = None if chance is None or math.isnan(chance) else chance
    (why,) = metrics.reasons(given.raw) if math.isnan(value) else ("",)
    return readings.read(value, batch.lacking(metric.needs, at), why, level)


def _judged(asked: Asked, maps: Sequence[Given]) -> Judged:
    """Maps of one image as a batch: the image once for each of them."""
    problem, image = asked.problem, asked.problem.images
    height, width = image.shape[2:]
    many = image.expand(len(maps), -1, -1, -1)
    frozen = [given.class_index for given in maps]
    classes = torch.tensor([-1 if index is None else index for index in frozen], device=image.device)
    known = None not in frozen

    def score(inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if not known:
            raise NotOffered(NO_CLASS)
        with guard.evaluating(problem.model):
            return select(problem.model(inputs)).softmax(1).gather(1, classes[rows, None])[:, 0]

    def explain(inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if not known:
            raise NotOffered(NO_CLASS)
        return _again(problem, maps, inputs, rows, classes)

    def least() -> torch.Tensor:
        if not known:
            raise NotOffered(NO_CLASS)
        lowest = asked.outputs.argmin().expand(len(maps))
        return _again(problem, maps, many, torch.arange(len(maps), device=image.device), lowest)

    mask = torch.zeros(height, width, dtype=torch.bool) if asked.mask is None else asked.mask
    batch = Batch(
        images=many,
        original=asked.outputs.softmax(0)[classes] if known else image.new_full((len(maps),), torch.nan),
        score=score,
        boxes=((),) * len(maps),
        masks=mask.to(image.device).expand(len(maps), -1, -1),
        place=torch.full_like(classes, -1),
        seed=problem.seed,
        chunk=asked.chunk,
    )
    shown = [metrics.shown(given.raw, (height, width)) for given in maps]
    return Judged(batch, torch.cat(shown), explain, least)


def _again(
    problem: Problem, maps: Sequence[Given], inputs: torch.Tensor, rows: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """The maps of altered images, each by the method that gave the map of its row, as they are shown."""
    found, places = [], []
    for row in sorted(set(rows.tolist())):
        mine = (rows == row).nonzero()[:, 0]
        target, computation = ClassLogit((int(classes[row]),) * len(mine)), maps[row].computation
        again = replace(problem, images=inputs[mine], target=target, classes=target.classes)
        backend = backends.find(computation.backend)
        raw = torch.as_tensor(backends.run(backend, again, computation.method, computation.options).values)
        found.append(metrics.shown(raw.to(inputs.device), tuple(inputs.shape[2:])))
        places.append(mine)
    return torch.cat(found)[torch.cat(places).argsort()]
