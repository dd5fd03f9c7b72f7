"""The metrics by name: what each needs, which way is better, what it costs, and how it is computed for a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import torch

from camzoo import metrics
from camzoo.boxes import Box
from camzoo.errors import NotOffered, RequestError, unknown
from camzoo.metrics import Explain, Score
from camzoo.metrics.box_accuracy import FITS

Values = Mapping[str, torch.Tensor]
"""From the name of a metric, or of a part of it, to its values `(N,)`, NaN where undefined."""

PART = "@"
BOX_THRESHOLDS = tuple(step / 20 for step in range(20))
"""Every fifth of `camzoo.metrics.box_accuracy.THRESHOLDS`: a fifth of the rows and a quarter of the time. A best
threshold between two of them is missed, which costs a point or two where the curve is steep."""


class Needs(StrEnum):
    """What a metric needs beside the maps; the words are told where an image does not have it."""

    BOXES = "no box of the explained class in view"
    MASKS = "no box or mask of the explained class in view"
    PLACE = "no label, or the explained class is another"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images of one size, the class that is explained in each, and what is known of it.

    Attributes:
        images: what the model is given, `(N, C, H, W)`.
        original: the softmax probability of the explained class, `(N,)`.
        score: the model.
        boxes: of the explained class, in the pixels of the images.
        masks: pixels of the explained class, `(N, H, W)`; empty where nothing is known.
        place: of the explained class in the model's ranking, where that is the true one, else -1, `(N,)`.
        seed: of every random number.
        chunk: how many images to run at a time; None for as many as memory allows.
    """

    images: torch.Tensor
    original: torch.Tensor
    score: Score
    boxes: tuple[tuple[Box, ...], ...]
    masks: torch.Tensor
    place: torch.Tensor
    seed: int = 0
    chunk: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """`(H, W)` of the images."""
        height, width = self.images.shape[2:]
        return height, width

    def lacking(self, need: Needs | None, image: int) -> str:
        """What a metric needs and an image does not have, in words; "" where it has it."""
        return str(need) if need and self.lacks(need, image) else ""

    def lacks(self, need: Needs, image: int) -> bool:
        """Whether an image does not have what a metric needs."""
        if need is Needs.BOXES:
            return not self.boxes[image]
        return not bool(self.masks[image].any()) if need is Needs.MASKS else bool(self.place[image] < 0)


def _no_cascade() -> Values:
    raise NotOffered("randomisation takes many images: it is a metric of `camzoo evaluate`")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The maps of one method for a batch.

    Attributes:
        batch: the images.
        maps: `(N, H, W)`, as `camzoo.metrics.shown` gives them.
        explain: the method.
        least: gives the maps of each image's least likely class, as `maps`.
        cascade: gives how alike the maps stay, `(N,)`, when the model loses what it learnt from its output down to a
            layer, by the layer.
    """

    batch: Batch
    maps: torch.Tensor
    explain: Explain
    least: Callable[[], torch.Tensor]
    cascade: Callable[[], Values] = _no_cascade
    _known: dict[Compute, Values] = field(default_factory=dict, init=False)

    def values(self, compute: Compute) -> Values:
        """What a function of this file gives, computed once."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]


Compute = Callable[[Judged], Values]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    Attributes:
        name: as in `--metrics`.
        compute: from the maps of a batch to values; metrics of one function are computed together.
        better: 1 where more is better, -1 where less is, 0 where neither, so that no ranking is made of it.
        cost: for each map, in words.
        fast: whether that is one forward pass at most, and little beside it.
        needs: what an image must have for it.
        chance: what is reached without looking, `(N,)`, where there is such a level.
        parts: whether an image has several values, a row `name@part` for each.
        fits: of MaxBoxAcc and MaxBoxAccV2, whose parts are thresholds and whose best threshold is that of all images:
            from which IoUs on a box fits.
    """

    name: str
    compute: Compute = field(repr=False)
    better: int
    cost: str = "none"
    fast: bool = True
    needs: Needs | None = None
    chance: Callable[[Batch], torch.Tensor] | None = field(default=None, repr=False)
    parts: bool = False
    fits: tuple[float, ...] = ()

    def rows(self, values: Values) -> Values:
        """Of the values that a function gives those of this metric, by the name of their row."""
        if not self.parts:
            return {self.name: values[self.name]}
        return {name: each for name, each in values.items() if metric_of(name) == self.name}


def row_of(metric: str, part: str) -> str:
    """The name of a row that has one part of a metric."""
    return f"{metric}{PART}{part}"


def metric_of(row: str) -> str:
    """The metric of a row."""
    return row.partition(PART)[0]


def part_of(row: str) -> str:
    """Which part of its metric a row has; nothing where it has the whole."""
    return row.partition(PART)[2]


def expand(wanted: str | Iterable[str]) -> tuple[Metric, ...]:
    """The metrics that a list names, each once, in the order of the table.

    Args:
        wanted: names, `fast` or `all`; or one text with commas between them.

    Raises:
        RequestError: a name is unknown, or none is given.
    """
    texts = wanted.split(",") if isinstance(wanted, str) else wanted
    names = {name for text in texts if (name := text.strip())}
    known = {metric.name for metric in TABLE}
    for name in sorted(names - {"fast", "all"}):
        if name not in known:
            raise unknown("metric", name, known | {"fast", "all"})
    if not names:
        raise RequestError(f"no metric is named: there is fast, all, {', '.join(metric.name for metric in TABLE)}")
    return tuple(
        metric for metric in TABLE if "all" in names or metric.name in names or ("fast" in names and metric.fast)
    )


def find(name: str) -> Metric:
    """The metric of a name."""
    (found,) = expand([name])
    return found


def _confidence(judged: Judged) -> Values:
    given = (judged.batch.score, judged.batch.images, judged.maps)
    found = metrics.confidence(*given, original=judged.batch.original, chunk=judged.batch.chunk)
    return {"average-drop": found.drop, "increase": found.increase, "average-gain": found.gain}


def _complexity(judged: Judged) -> Values:
    return {"complexity": metrics.complexity(judged.maps, judged.batch.size)}


def _entropy(judged: Judged) -> Values:
    return {"entropy": metrics.entropy(judged.maps, judged.batch.size)}


def _insertion(judged: Judged, preset: str, name: str) -> Values:
    given = (judged.batch.score, judged.batch.images, judged.maps)
    return {name: metrics.insertion(*given, preset=preset, seed=judged.batch.seed, chunk=judged.batch.chunk).area}


def _deletion(judged: Judged, preset: str, name: str) -> Values:
    given = (judged.batch.score, judged.batch.images, judged.maps)
    return {name: metrics.deletion(*given, preset=preset, seed=judged.batch.seed, chunk=judged.batch.chunk).area}


def _road(judged: Judged) -> Values:
    """Of ARCC's four shares too, which is why both are here."""
    impute = metrics.borrowed("road-imputer")
    found = metrics.road(
        judged.batch.score, judged.batch.images, judged.maps, impute, seed=judged.batch.seed, chunk=judged.batch.chunk
    )
    return {"road": found.value, "of four": ((found.least - found.most) / 2)[:, 1:8:2].mean(1)}


def _coherency(judged: Judged) -> Values:
    return {"coherency": metrics.coherency(judged.explain, judged.batch.images, judged.maps, chunk=judged.batch.chunk)}


def _adcc(judged: Judged) -> Values:
    return {"adcc": metrics.adcc(*_parts(judged), judged.values(_confidence)["average-drop"].double())}


def _arcc(judged: Judged) -> Values:
    return {"arcc": metrics.arcc(*_parts(judged), judged.values(_road)["of four"].double())}


def _parts(judged: Judged) -> tuple[torch.Tensor, torch.Tensor]:
    return judged.values(_coherency)["coherency"].double(), judged.values(_complexity)["complexity"].double()


def _infidelity(judged: Judged) -> Values:
    compute = metrics.borrowed("infidelity")
    return {
        "infidelity": metrics.infidelity(
            judged.batch.score, judged.batch.images, judged.maps, compute, seed=judged.batch.seed
        )
    }


def _sensitivity(judged: Judged) -> Values:
    compute = metrics.borrowed("sensitivity-max")
    return {
        "sensitivity-max": metrics.sensitivity_max(judged.explain, judged.batch.images, compute, seed=judged.batch.seed)
    }


def _class_sensitivity(judged: Judged) -> Values:
    return {"class-sensitivity": metrics.class_sensitivity(judged.maps, judged.least(), judged.batch.size)}


def _pointing(judged: Judged) -> Values:
    return {"pointing": metrics.pointing(judged.maps, judged.batch.masks, seed=judged.batch.seed)}


def _energy(judged: Judged) -> Values:
    return {"energy": metrics.energy(judged.maps, judged.batch.masks)}


def _box_iou(judged: Judged, share: float, name: str) -> Values:
    return {name: metrics.box_iou(judged.maps, judged.batch.boxes, judged.batch.size, share=share)}


def _error(judged: Judged, top: int, name: str) -> Values:
    overlap = judged.values(BOX_15)["box-iou-15"]
    place = judged.batch.place.to(overlap.device)
    values = metrics.localisation_error(overlap, place, top=top)
    return {name: values.masked_fill(place < 0, torch.nan)}


def _box_accuracy(judged: Judged) -> Values:
    """The IoU at each threshold, from which the accuracies over all images are made."""
    batch = judged.batch
    curves = metrics.box_curves(judged.maps, batch.boxes, batch.size, thresholds=BOX_THRESHOLDS)
    return {
        row_of(name, f"{share:.2f}"): overlaps[:, at]
        for name, overlaps in (("max-box-acc", curves.largest), ("max-box-acc-v2", curves.any))
        for at, share in enumerate(BOX_THRESHOLDS)
    }


def _whole_image_fits(batch: Batch, at: tuple[float, ...]) -> torch.Tensor:
    """What the box of the whole image adds, which a map of noise reaches at a threshold low enough."""
    whole = _whole_image(batch)
    passed = torch.stack([(whole >= each).to(whole) for each in at]).mean(0)
    return passed.masked_fill(whole.isnan(), torch.nan)


def _randomisation(judged: Judged) -> Values:
    return {row_of("randomisation", layer): alike for layer, alike in judged.cascade().items()}


def _precision(judged: Judged) -> Values:
    return {"pixel-precision": metrics.average_precision(judged.maps, judged.batch.masks)}


def _mask_iou(judged: Judged) -> Values:
    return {"mask-iou": metrics.mask_iou(judged.maps, judged.batch.masks)}


def _whole_image(batch: Batch) -> torch.Tensor:
    return metrics.box_iou_chance(batch.boxes, batch.size)


BOX_15 = partial(_box_iou, share=0.15, name="box-iou-15")
ONE_FIT = (0.5,)
_MASKED, _ONE_EXPLAINED = "one masked forward pass, shared", "one explanation"
_BOXED = "boxes at 20 thresholds, shared"

TABLE: tuple[Metric, ...] = (
    Metric("average-drop", _confidence, -1, _MASKED),
    Metric("increase", _confidence, 1, _MASKED),
    Metric("average-gain", _confidence, 1, _MASKED),
    Metric("complexity", _complexity, 0),
    Metric("entropy", _entropy, 0),
    Metric("pointing", _pointing, 1, needs=Needs.MASKS, chance=lambda batch: metrics.pointing_chance(batch.masks)),
    Metric("energy", _energy, 1, needs=Needs.MASKS, chance=lambda batch: metrics.area(batch.masks)),
    Metric("box-iou-15", BOX_15, 1, needs=Needs.BOXES, chance=_whole_image),
    Metric("box-iou-20", partial(_box_iou, share=0.2, name="box-iou-20"), 1, needs=Needs.BOXES, chance=_whole_image),
    Metric("error-top-1", partial(_error, top=1, name="error-top-1"), -1, needs=Needs.PLACE),
    Metric("error-top-5", partial(_error, top=5, name="error-top-5"), -1, needs=Needs.PLACE),
    Metric(
        "pixel-precision",
        _precision,
        1,
        needs=Needs.MASKS,
        chance=lambda batch: metrics.average_precision_chance(batch.masks),
    ),
    Metric("mask-iou", _mask_iou, 1, needs=Needs.MASKS, chance=lambda batch: metrics.mask_iou_chance(batch.masks)),
    Metric(
        "max-box-acc",
        _box_accuracy,
        1,
        _BOXED,
        fast=False,
        needs=Needs.BOXES,
        chance=partial(_whole_image_fits, at=ONE_FIT),
        parts=True,
        fits=ONE_FIT,
    ),
    Metric(
        "max-box-acc-v2",
        _box_accuracy,
        1,
        _BOXED,
        fast=False,
        needs=Needs.BOXES,
        chance=partial(_whole_image_fits, at=FITS),
        parts=True,
        fits=FITS,
    ),
    Metric("insertion", partial(_insertion, preset="rise", name="insertion"), 1, "a forward pass for each row", False),
    Metric("deletion", partial(_deletion, preset="rise", name="deletion"), -1, "a forward pass for each row", False),
    Metric("insertion-mean", partial(_insertion, preset="mean", name="insertion-mean"), 1, "33 forward passes", False),
    Metric("deletion-mean", partial(_deletion, preset="mean", name="deletion-mean"), -1, "33 forward passes", False),
    Metric("road", _road, 1, "18 forward passes", False),
    Metric("coherency", _coherency, 1, _ONE_EXPLAINED, False),
    Metric("adcc", _adcc, 1, f"{_ONE_EXPLAINED} and {_MASKED}", False),
    Metric("arcc", _arcc, 1, f"{_ONE_EXPLAINED} and 18 forward passes, shared", False),
    Metric("infidelity", _infidelity, -1, "51 forward passes", False),
    Metric("sensitivity-max", _sensitivity, -1, "11 explanations", False),
    Metric("class-sensitivity", _class_sensitivity, -1, _ONE_EXPLAINED, False),
    Metric("randomisation", _randomisation, 0, "an explanation for each depth", False, parts=True),
)
