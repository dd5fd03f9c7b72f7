"""What the rows of an evaluation say: means with intervals, paired differences, how firm a ranking is, and controls."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camzoo import native
from camzoo.errors import RequestError
from camzoo.evaluation import files
from camzoo.evaluation.batch import CHANCE, CONTROLS, FAILED, MODEL, OK
from camzoo.evaluation.table import Metric, find, metric_of, part_of
from camzoo.metrics import Mean, mean, paired, stability
from camzoo.metrics.box_accuracy import at_best, best, fits
from camzoo.metrics.statistics import Summary

Floats = NDArray[np.float64]

ROUNDING = 1e-4, 1e-5
"""By how much values of one formula differ between two ways to compute it in single precision: relative, absolute."""


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """Every value, by metric, method and image.

    Attributes:
        manifest: what was asked.
        images: their names, in the order of the data set; those that could not be read are not among them.
        targets: the class that was explained in each, `(N,)`.
        methods: `method@backend`, in the order in which they were asked for.
        values: of each metric `(methods, N)`, NaN where there is none; of one with parts their mean, or what an image
            adds at the threshold that is best for all.
        parts: of each metric that has them by the part, in order, `(methods, N)`.
        chance: of each metric that has one the chance level, `(N,)`.
        model: what is said of the model, "probability" and "correct", `(N,)`.
        broken: of each image that could not be evaluated the reason.
        reasons: how often a method has no value in a metric for a reason.
    """

    manifest: Mapping[str, Any] = field(repr=False)
    images: tuple[str, ...] = field(repr=False)
    targets: NDArray[np.int64] = field(repr=False)
    methods: tuple[str, ...]
    values: Mapping[str, Floats] = field(repr=False)
    parts: Mapping[str, Mapping[str, Floats]] = field(repr=False)
    chance: Mapping[str, Floats] = field(repr=False)
    model: Mapping[str, Floats] = field(repr=False)
    broken: Mapping[str, str] = field(repr=False)
    reasons: Counter[tuple[str, str, str]] = field(repr=False)

    @property
    def seed(self) -> int:
        """Of the bootstraps."""
        return int(self.manifest["question"]["seed"])

    @property
    def complete(self) -> bool:
        """Whether every image of the question is here."""
        return len(self.images) + len(self.broken) == int(self.manifest["question"]["images"])

    @property
    def failed(self) -> bool:
        """Whether a method or a metric broke, on whatever image."""
        return any(why.startswith(f"{FAILED}:") for _, _, why in self.reasons)

    def of_class(self, target: int) -> Results:
        """The images alone in which one class was explained."""
        which = np.flatnonzero(self.targets == target)

        def of(many: Mapping[str, Floats]) -> dict[str, Floats]:
            return {name: each[..., which] for name, each in many.items()}

        return replace(
            self,
            images=tuple(self.images[at] for at in which),
            targets=self.targets[which],
            values=of(self.values),
            parts={},  # so the best threshold stays that of all images
            chance=of(self.chance),
            model=of(self.model),
            broken={},
            reasons=Counter(),
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How one method does in one metric.

    Attributes:
        method: `method@backend`.
        mean: over its images.
        behind: the paired difference to the first one, on the images of both; below 0 is worse. NaN for the first.
        first: the share of resamples in which it takes the first place; NaN where no image has all values.
        control: whether it is one.
    """

    method: str
    mean: Mean
    behind: Mean
    first: float
    control: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """The methods by one metric.

    Attributes:
        metric: row of the table.
        standings: the best first; those without a value last.
        chance: the mean chance level, None where there is none.
        together: images on which all methods that have values have one.
        controls: sentences, one for each control that does as well as a method or better.
    """

    metric: Metric
    standings: tuple[Standing, ...]
    chance: float | None
    together: int
    controls: tuple[str, ...]


def read(folder: Path) -> Results:
    """The results in a folder, of a run that is finished or not.

    Raises:
        RequestError: there are none, or they cannot be read.
        NotInstalled: pyarrow is absent.
    """
    manifest = files.read_manifest(folder)
    pa = files.arrow()
    parts = [files.part(folder, number) for number in sorted(files.done(folder))]
    if not parts:
        raise RequestError(f"{folder} has no results yet: go on with --resume")
    try:
        rows = pa.concat_tables([pa.parquet.read_table(path, schema=files.schema()) for path in parts])
    except (OSError, pa.ArrowException) as error:
        raise RequestError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from None
    return _results(manifest, rows)


def _results(manifest: Mapping[str, Any], rows: Any) -> Results:
    compute = files.arrow().compute
    metric = rows["metric"]
    bad = rows.filter(compute.equal(metric, ""))
    rows = rows.filter(compute.not_equal(metric, ""))
    images, image = _coded(rows["image"])
    metrics_, metric = _coded(rows["metric"])
    joined = compute.binary_join_element_wise(rows["method"], rows["backend"], "@")
    methods, method = _coded(joined)
    values = np.full((len(metrics_), len(methods), len(images)), math.nan)
    values[metric, method, image] = rows["value"].to_numpy(zero_copy_only=False)
    targets = np.full(len(images), -1, dtype=np.int64)
    targets[image] = rows["target"].to_numpy(zero_copy_only=False)
    at = {name: number for number, name in enumerate(methods)}
    judged = [name for name in methods if name not in (f"{MODEL}@", f"{CHANCE}@")]
    asked = manifest["question"]["metrics"]
    of = {name: values[number] for number, name in enumerate(metrics_)}
    without = rows.filter(compute.not_equal(rows["status"], OK))
    told = ["metric", "method", "backend", "status", "reason"]
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in without.group_by(told, use_threads=False).aggregate([([], "count_all")]).to_pylist():
        if row["method"] not in (MODEL, CHANCE):
            method_, metric_ = _shown(f"{row['method']}@{row['backend']}"), metric_of(row["metric"])
            key = (metric_, method_, f"{row['status']}: {row['reason']}")
            counted[key] = max(counted[key], row["count_all"])  # of a metric with parts the one that has most
    rows_of = [at[each] for each in judged]
    found = {name: each[rows_of] for name, each in of.items()}
    parts = {name: _parts(name, found) for name in asked if find(name).parts}
    whole = {name: _whole(find(name), parts[name]) if parts.get(name) else found.get(name) for name in asked}
    return Results(
        manifest=manifest,
        images=tuple(images),
        targets=targets,
        methods=tuple(map(_shown, judged)),
        values={name: each for name, each in whole.items() if each is not None},
        parts={name: each for name, each in parts.items() if each},
        chance={name: of[name][at[f"{CHANCE}@"]] for name in asked if name in of and find(name).chance},
        model={name: of[name][at[f"{MODEL}@"]] for name in ("probability", "correct") if name in of},
        broken={row["image"]: row["reason"] for row in bad.select(["image", "reason"]).to_pylist()},
        reasons=counted,
    )


def _parts(metric: str, found: Mapping[str, Floats]) -> dict[str, Floats]:
    return {part_of(row): each for row, each in found.items() if metric_of(row) == metric and part_of(row)}


def _whole(metric: Metric, parts: Mapping[str, Floats]) -> Floats:
    """One value for each method and image of a metric with parts."""
    every = np.stack(list(parts.values()), axis=1)
    return np.stack([at_best(each, metric.fits) for each in every]) if metric.fits else every.mean(1)


def _coded(column: Any) -> tuple[list[str], NDArray[np.int64]]:
    """The different texts in their order, and the number of each row's."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)


def _shown(method: str) -> str:
    return method.removesuffix(f"@{native.NAME}")


def is_control(method: str) -> bool:
    """Whether a `method@backend` is one of the controls."""
    return method.partition("(")[0] in CONTROLS


def ranking(results: Results, name: str) -> Ranking:
    """The methods by one metric.

    Args:
        results: the values.
        name: of the metric.
    """
    metric = find(name)
    drawn, summary = _drawn(results, metric)
    values = _alike(drawn)
    sign = metric.better or 1
    means = [mean(row, seed=results.seed, summary=summary) for row in values]
    have = [at for at, each in enumerate(means) if each.images]
    order = sorted(have, key=lambda at: -sign * _rounded(means[at].value))
    places = stability(sign * values[have], seed=results.seed, summary=summary) if have else np.empty((0, 0))
    first = dict(zip(have, places[:, :1].ravel().tolist(), strict=True))
    nothing = Mean(math.nan, math.nan, math.nan, 0, 0)
    standings = [
        Standing(
            method=results.methods[at],
            mean=means[at],
            behind=paired(sign * values[at], sign * values[order[0]], seed=results.seed, summary=summary)
            if at in order[1:]
            else nothing,
            first=first.get(at, math.nan),
            control=is_control(results.methods[at]),
        )
        for at in [*order, *(at for at in range(len(values)) if at not in have)]
    ]
    level = results.chance.get(name)
    known = level[~np.isnan(level)] if level is not None else np.empty(0)
    return Ranking(
        metric=metric,
        standings=tuple(standings),
        chance=float(known.mean()) if len(known) else None,
        together=int((~np.isnan(values[have]).reshape(-1, values.shape[-1]).any(0)).sum()) if have else 0,
        controls=tuple(_controls(results, values, sign, summary)) if metric.better else (),
    )


def _rounded(value: float) -> float:
    """To six digits, so that rounding does not order what is equal: that stays in the order in which it was named."""
    return float(f"{value:.6g}")


def _drawn(results: Results, metric: Metric) -> tuple[Floats, Summary | None]:
    """What a bootstrap draws anew, `(methods, N)`; or `(methods, tests, N)`, of whose shares the value is made."""
    if not metric.fits or metric.name not in results.parts:
        return results.values[metric.name], None
    every = np.stack(list(results.parts[metric.name].values()), axis=1)
    return np.stack([fits(each, metric.fits) for each in every]), partial(best, count=len(metric.fits))


def _alike(values: Floats) -> Floats:
    """Methods that differ by rounding on every image have the values of the first of them, so that they tie.

    Else rounding would decide who takes the first place: of a pooled linear head several methods are one formula.
    """
    rows: list[Floats] = []
    for row in values:
        same = (each for each in rows if np.allclose(row, each, *ROUNDING, equal_nan=True))
        rows.append(next(same, row))
    return np.stack(rows)


def _controls(results: Results, values: Floats, sign: int, summary: Summary | None) -> list[str]:
    """Where a control is no worse than methods on the images of both, in words."""
    found = []
    for control, own in zip(results.methods, values, strict=True):
        above: list[str] = []
        alike: list[str] = []
        for method, other in zip(results.methods, values, strict=True):
            if not is_control(control) or is_control(method):
                continue
            ahead = paired(sign * own, sign * other, seed=results.seed, summary=summary)
            if ahead.images > 1 and ahead.high >= 0:
                (above if ahead.low > 0 else alike).append(f"{method} ({ahead.low:+.3f} to {ahead.high:+.3f})")
        if above:
            found.append(f"the control {control} is ranked above {', '.join(above)}")
        if alike:
            found.append(f"the control {control} cannot be told from {', '.join(alike)}")
    return found


def classes(results: Results) -> Sequence[tuple[str, Results]]:
    """The results of each class that was explained, those with most images first, by label."""
    labels = results.manifest["labels"]
    counted = Counter(results.targets.tolist())
    return [(labels[target], results.of_class(target)) for target, _ in counted.most_common()]
