"""The metrics with several values for each image as curves: box accuracy over thresholds, similarity over depths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from camzoo.evaluation.reading import Results, is_control
from camzoo.evaluation.table import find
from camzoo.metrics import Mean, mean
from camzoo.metrics.box_accuracy import fits


@dataclass(frozen=True, slots=True)
class Curve:
    """One method.

    Attributes:
        method: `method@backend`.
        points: the mean over images at each part, with its interval.
        best: the number of the point that is highest, None where highest is not best or nothing has a value.
        control: whether it is one.
    """

    method: str
    points: tuple[Mean, ...] = field(repr=False)
    best: int | None
    control: bool


@dataclass(frozen=True, slots=True)
class Curves:
    """Every method, in one metric.

    Attributes:
        metric: its name.
        at: from which IoU on a box fits; None where no box is asked for.
        parts: thresholds or blocks, in order.
        methods: in the order in which they were asked for.
        chance: what is reached without looking, None where there is no such level.
    """

    metric: str
    at: float | None
    parts: tuple[str, ...]
    methods: tuple[Curve, ...]
    chance: float | None = None

    @property
    def title(self) -> str:
        """The metric, and the IoU where there is one."""
        return self.metric if self.at is None else f"{self.metric}, IoU from {self.at:g}"


def curves(results: Results) -> Sequence[Curves]:
    """Every curve that there is: of MaxBoxAccV2 one for each of its IoUs.

    Args:
        results: of an evaluation.
    """
    found = []
    for name, parts in results.parts.items():
        every = np.stack(list(parts.values()), axis=1)
        for at in find(name).fits or (None,):
            values = every if at is None else np.stack([fits(each, (at,)) for each in every])
            methods = tuple(
                _curve(method, own, at is not None, results.seed)
                for method, own in zip(results.methods, values, strict=True)
            )
            found.append(Curves(name, at, tuple(parts), methods, None if at is None else _chance(results, name, at)))
    return found


def _chance(results: Results, metric: str, at: float) -> float | None:
    """At one IoU: a box that fits from a high one on fits from the lower ones on, so the mean says from which."""
    level, ious = results.chance[metric], find(metric).fits
    passed = np.round(level[~np.isnan(level)] * len(ious))
    return float((passed > ious.index(at)).mean()) if len(passed) else None


def _curve(method: str, values: np.ndarray[tuple[int, int], np.dtype[np.float64]], highest: bool, seed: int) -> Curve:
    points = tuple(mean(each, seed=seed) for each in values)
    means = np.array([each.value for each in points])
    best = int(np.nanargmax(means)) if highest and not np.isnan(means).all() else None
    return Curve(method, points, best, is_control(method))
