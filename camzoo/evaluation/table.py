"""The metrics by name: what each needs, which way is better, what it costs, and how it is computed for a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import torch

from camzoo import metrics
from camzoo.errors import unknown

if TYPE_CHECKING:
    from camzoo.evaluation.batch import Judged

Values = Mapping[str, torch.Tensor]
"""From the name of a metric to its values `(N,)`, NaN where undefined."""


class Needs(StrEnum):
    """What a metric needs beside the map."""

    SCORE = "score"
    EXPLAIN = "explain"
    BOXES = "boxes"
    MASK = "boxes or masks"
    CLASSES = "maps of two classes"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    Attributes:
        name: as in `--metrics`.
        compute: from the maps of a batch to values `(N,)`; metrics of one function are computed together.
        better: 1 where more is better, -1 where less is, 0 where neither: no ranking is made of it.
        needs: what it needs beside the map.
        forwards: how many forward passes it takes for each map, of an image of so many rows.
        chance: what is reached without a map, from the batch; None where there is no such level.
    """

    name: str
    compute: Callable[[Judged], Values] = field(repr=False)
    better: int
    needs: frozenset[Needs] = frozenset()
    forwards: Callable[[int], int] = field(default=lambda _rows: 0, repr=False)
    chance: Callable[[Judged], torch.Tensor] | None = field(default=None, repr=False)

    @property
    def fast(self) -> bool:
        """Whether it takes a forward pass for each map at most."""
        return self.forwards(1000) <= 1


def _confidence(judged: Judged) -> Values:
    found = metrics.confidence(judged.score, judged.images, judged.maps, original=judged.original, chunk=judged.chunk)
    return {"average-drop": found.drop, "increase": found.increase, "average-gain": found.gain}


def _complexity(judged: Judged) -> Values:
    return {"complexity": metrics.complexity(judged.maps, judged.size)}


def _entropy(judged: Judged) -> Values:
    return {"entropy": metrics.entropy(judged.maps, judged.size)}


def _pointing(judged: Judged) -> Values:
    return {"pointing": metrics.pointing(judged.maps, judged.masks, seed=judged.seed)}


def _energy(judged: Judged) -> Values:
    return {"energy": metrics.energy(judged.maps, judged.masks)}


def _box_iou(judged: Judged) -> Values:
    return {
        f"box-iou-{round(100 * share)}": metrics.box_iou(judged.maps, judged.boxes, judged.size, share=share)
        for share in (0.15, 0.2)
    }


def _pixels(judged: Judged) -> Values:
    return {"pixel-precision": metrics.average_precision(judged.maps, judged.masks)}


def _mask_iou(judged: Judged) -> Values:
    return {"mask-iou": metrics.mask_iou(judged.maps, judged.masks)}


def _curve(name: str, preset: str) -> Callable[[Judged], Values]:
    function, label = getattr(metrics, name), name if preset == "rise" else f"{name}-{preset}"

    def compute(judged: Judged) -> Values:
        given = (judged.score, judged.images, judged.maps)
        return {label: function(*given, preset=preset, seed=judged.seed, chunk=judged.chunk).area}

    return compute


def _road(judged: Judged) -> Values:
    impute = metrics.borrowed("road-imputer")
    given = (judged.score, judged.images, judged.maps, impute)
    return {"road": metrics.road(*given, seed=judged.seed, chunk=judged.chunk).value}


def _adcc(judged: Judged) -> Values:
    coherent, drop = _coherency(judged)["coherency"], judged.values_of(_confidence)["average-drop"]
    parts = (coherent, metrics.complexity(judged.maps, judged.size).to(coherent), drop.to(coherent))
    return {"coherency": coherent, "adcc": metrics.adcc(*parts)}


def _coherency(judged: Judged) -> Values:
    return {"coherency": metrics.coherency(judged.explain, judged.images, judged.maps, chunk=judged.chunk)}


def _infidelity(judged: Judged) -> Values:
    compute = metrics.borrowed("infidelity")
    return {"infidelity": metrics.infidelity(judged.score, judged.images, judged.maps, compute, seed=judged.seed)}


def _sensitivity(judged: Judged) -> Values:
    compute = metrics.borrowed("sensitivity-max")
    return {"sensitivity-max": metrics.sensitivity_max(judged.explain, judged.images, compute, seed=judged.seed)}
