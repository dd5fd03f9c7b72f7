"""What the leaderboard page says and carries, as plain values for its template and script."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from camzoo.evaluation import cases, reading, readings
from camzoo.evaluation.batch import CONTROLS
from camzoo.evaluation.data import Item
from camzoo.evaluation.page import interval, number
from camzoo.evaluation.reading import Floats, Ranking, Results, Standing
from camzoo.leaderboard import photos, scales
from camzoo.leaderboard.scales import Scale
from camzoo.metrics import Mean, mean

MOST_CLASSES, CLASSES_SHOWN = 100, 12
MOST_APART, MOST_WORST = 8, 4
WAYS = readings.WAYS | {0: "neither way is better, so nothing is ranked"}
ARROWS = {1: "\u2191", -1: "\u2193", 0: ""}


@dataclass(slots=True)
class Gallery:
    """The images that the page shows, each once, in the order in which it names them."""

    results: Results
    items: Mapping[str, Item] = field(repr=False)
    shown: dict[int, int] = field(default_factory=dict)

    def show(self, image: int) -> dict[str, Any]:
        """An image's number on the page, its name, and the end of it for small places."""
        at, name = self.shown.setdefault(image, len(self.shown)), self.results.images[image]
        return {"at": at, "name": name, "short": name.rpartition("/")[2] or name}

    def carried(self) -> list[dict[str, Any]]:
        """What the script knows of each image, small picture and all."""
        return [self._entry(image) for image in self.shown]

    def _entry(self, image: int) -> dict[str, Any]:
        results = self.results
        name, target = results.images[image], int(results.targets[image])
        sure, item = float(results.model["probability"][image]), self.items.get(name)
        right = float(results.model["correct"][image]) if "correct" in results.model else math.nan
        told = {1.0: ", and the model is right", 0.0: ", and the model is wrong"}.get(right, "")
        return {
            "name": name,
            "said": f"explained: {_label(results, target)}, with probability {number(sure)}{told}",
            "url": photos.small(item),
            "command": photos.command(results.manifest, item, target),
            "values": {
                metric: [None if math.isnan(each) else number(each) for each in values[:, image].tolist()]
                for metric, values in results.values.items()
            },
        }


def said(results: Results, rankings: Sequence[Ranking], items: Mapping[str, Item]) -> dict[str, Any]:
    """Everything that the template shows.

    Args:
        results: of the evaluation.
        rankings: of every metric.
        items: the images of the data set by name, as far as they are there.
    """
    gallery = Gallery(results, items)
    costs = costs_of(results)
    panels = [_panel(results, ranking, costs, gallery) for ranking in rankings]
    shown, methods = gallery.carried(), _methods(results, rankings, costs)
    return {
        "title": f"{len(results.methods)} methods on {len(results.images):,} images of {results.manifest['title']}",
        "facts": _facts(results),
        "unfinished": 0 if results.complete else int(results.manifest["question"]["images"]),
        "controls": [(each.metric.name, line) for each in rankings for line in each.controls],
        "without": _without(results),
        "broken": list(results.broken.items()),
        "methods": methods,
        "starred": any(cell["value"] and cell["undefined"] for method in methods for cell in method["cells"]),
        "costs": costs,
        "panels": panels,
        "first": next((at for at, panel in enumerate(panels) if panel["better"] and panel["any"]), 0),
        "judged": [results.methods[at] for at in cases.methods(results)],
        "pictured": sum(bool(each["url"]) for each in shown),
        "shown": len(shown),
        "commands": any(each["command"] for each in shown),
        "command": _command(results.manifest),
        "origins": _origins(results.manifest),
        "carried": {"methods": results.methods, "images": shown},
    }


def costs_of(results: Results) -> dict[str, float]:
    """What each method costs in forward passes, of those whose cost was counted when the run began."""
    counted = results.manifest.get("costs") or {}
    return {method: float(counted[method]) for method in results.methods if method in counted}


def _label(results: Results, target: int) -> str:
    labels = results.manifest["labels"]
    return str(labels[target]) if 0 <= target < len(labels) else f"class {target}"


def _facts(results: Results) -> list[tuple[str, str]]:
    asked, model = results.manifest["question"], results.model
    sure = mean(model["probability"], seed=results.seed)
    right = mean(model["correct"], seed=results.seed) if "correct" in model else None
    explained = "the true class" if asked["target"] == "label" else "the class that the model prefers"
    facts = [
        ("model", asked["model"]),
        ("layer", asked["layer"]),
        ("data", f"{results.manifest['title']}, {asked['data']}"),
        ("images", f"{len(results.images):,}"),
        ("explained", f"{explained}, probability {interval(sure)}"),
    ]
    if right and right.images:
        facts.append(("model is right on", f"{right.value:.1%} of {right.images:,} labelled images"))
    return facts


def _without(results: Results) -> list[tuple[str, str, list[str]]]:
    """Why there is no value: metric, reason, and on how many images of which methods."""
    places = {name: at for at, name in enumerate([*results.values, *results.methods])}
    found: dict[tuple[str, str], list[str]] = {}
    order = sorted(results.reasons.items(), key=lambda each: (places[each[0][0]], places[each[0][1]], each[0][2]))
    for (metric, method, why), count in order:
        found.setdefault((metric, why), []).append(f"{method} on {count:,}")
    return [(metric, why, who) for (metric, why), who in found.items()]


def _scale(ranking: Ranking) -> Scale:
    """Of means, intervals and chance; the better end is on the right."""
    ends = [end for each in ranking.standings for end in (each.mean.value, each.mean.low, each.mean.high)]
    return scales.around([*ends, math.nan if ranking.chance is None else ranking.chance], ranking.metric.better < 0)


def _strip(scale: Scale, found: Mean, chance: float | None) -> dict[str, Any] | None:
    """A mean with its interval and the chance level as places on a line."""
    if not found.images:
        return None
    ends = None if math.isnan(found.low) else sorted((scale.at(found.low), scale.at(found.high)))
    return {"at": scale.at(found.value), "ends": ends, "chance": None if chance is None else scale.at(chance)}


def _methods(results: Results, rankings: Sequence[Ranking], costs: Mapping[str, float]) -> list[dict[str, Any]]:
    """The rows of the table of all metrics."""
    drawn = [(ranking, _scale(ranking), {each.method: each for each in ranking.standings}) for ranking in rankings]
    return [
        {
            "name": method,
            "control": reading.is_control(method),
            "cost": _cost(costs.get(method)),
            "cost_sorts": costs.get(method),
            "cells": [_cell(ranking, scale, of[method]) for ranking, scale, of in drawn],
        }
        for method in results.methods
    ]


def _cell(ranking: Ranking, scale: Scale, standing: Standing) -> dict[str, Any]:
    found = standing.mean
    best = bool(ranking.metric.better) and standing.method == ranking.standings[0].method
    return {
        "value": number(found.value) if found.images else "",
        "between": _between(found),
        "sorts": (ranking.metric.better or 1) * found.value if found.images else None,
        "best": best and found.images,
        "strip": _strip(scale, found, ranking.chance),
        "told": f"{standing.method}, {ranking.metric.name}: {interval(found)}; N = {found.images:,}, "
        f"undefined on {found.undefined:,}",
        "undefined": found.undefined,
    }


def _between(found: Mean) -> str:
    return "" if not found.images or math.isnan(found.low) else f"{number(found.low)} to {number(found.high)}"


def _cost(cost: float | None) -> str:
    return "" if cost is None else f"{_rounded(cost):,.2f}" if cost < 100 else f"{_rounded(cost):,.0f}"


def _rounded(cost: float) -> float:
    """A cost as it is shown: how a library takes the same derivative is no reason to prefer it."""
    return round(cost, 2 if cost < 100 else 0)


def _panel(results: Results, ranking: Ranking, costs: Mapping[str, float], gallery: Gallery) -> dict[str, Any]:
    """Everything of one metric."""
    metric = ranking.metric
    return {
        "name": metric.name,
        "better": metric.better,
        "arrow": ARROWS[metric.better],
        "way": WAYS[metric.better],
        "chance": None if ranking.chance is None else number(ranking.chance),
        "together": ranking.together,
        "any": any(each.mean.images for each in ranking.standings),
        "controls": ranking.controls,
        "standings": _standings(ranking, costs),
        "ends": _ends(_scale(ranking)),
        "scatter": _scatter(ranking, costs) if metric.better and costs else None,
        "classes": _classes(results, metric.name, metric.better),
        "apart": [_apart(results, metric.name, *each, gallery) for each in _apart_most(results, metric.name)],
        "worst": _worst(results, metric.name, gallery) if metric.better else [],
    }


def _ends(scale: Scale) -> list[tuple[str, float]]:
    return [(_tick(tick), scale.at(tick)) for tick in scales.ticks(scale, 4)]


def _tick(value: float) -> str:
    return f"{value:g}"


def _standings(ranking: Ranking, costs: Mapping[str, float]) -> list[dict[str, Any]]:
    scale, ranked = _scale(ranking), bool(ranking.metric.better)
    return [
        {
            "place": place if ranked and each.mean.images else "",
            "name": each.method,
            "control": each.control,
            "mean": number(each.mean.value) if each.mean.images else "undefined",
            "between": _between(each.mean),
            "behind": number(each.behind.value) if ranked and each.behind.images else "",
            "behind_between": _between(each.behind) if ranked else "",
            "first": f"{each.first:.0%}" if ranked and not math.isnan(each.first) else "",
            "images": f"{each.mean.images:,}",
            "undefined": f"{each.mean.undefined:,}" if each.mean.undefined else "",
            "cost": _cost(costs.get(each.method)),
            "strip": _strip(scale, each.mean, ranking.chance),
        }
        for place, each in enumerate(ranking.standings, start=1)
    ]


def _scatter(ranking: Ranking, costs: Mapping[str, float]) -> dict[str, Any] | None:
    """Points of metric against cost in percent of the plot, better above, with the front as a stair."""
    there = [each for each in ranking.standings if each.mean.images and each.method in costs]
    if not there:
        return None
    sign = ranking.metric.better
    across = scales.of_costs(costs.values())
    up = scales.around(end for each in there for end in (each.mean.value, each.mean.low, each.mean.high))
    up = Scale(up.low, up.high, turned=sign > 0)  # the top is 0 % of a picture
    goods = {each.method: sign * each.mean.value for each in there if not each.control}
    front = cases.front({name: _rounded(cost) for name, cost in costs.items()}, goods)
    points = [
        {
            "name": each.method,
            "control": each.control,
            "front": each.method in front,
            "x": _across(across, costs[each.method]),
            "y": up.at(each.mean.value),
            "ends": None if math.isnan(each.mean.low) else (up.at(each.mean.low), up.at(each.mean.high)),
            "told": f"{each.method}: {_cost(costs[each.method])} forward passes, {interval(each.mean)}"
            + (", on the front" if each.method in front else ""),
        }
        for each in there
    ]
    steps = [(_across(across, costs[name]), up.at(sign * goods[name])) for name in front]
    return {
        "points": points,
        "front": front,
        "stair": _stair(steps),
        "across": [(_tick(tick), across.at(tick)) for tick in scales.ticks(across)],
        "up": [(_tick(tick), up.at(tick)) for tick in scales.ticks(up, 5)],
    }


def _across(scale: Scale, cost: float) -> float:
    """Where a cost stands; what costs nothing that is counted stands on the edge."""
    return scale.at(cost) if cost > 0 else 0.0


def _stair(steps: Sequence[tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    """The lines of a front that goes right, then up, and on to the edge."""
    lines = []
    for at, (x, y) in enumerate(steps):
        next_x, next_y = steps[at + 1] if at + 1 < len(steps) else (100.0, y)
        lines += [(x, y, next_x, y), (next_x, y, next_x, next_y)]
    return [line for line in lines if line[:2] != line[2:]]


def _classes(results: Results, name: str, better: int) -> dict[str, Any] | None:
    """A metric for each class, the classes with most images first."""
    count, judged = len(np.unique(results.targets)), cases.methods(results)
    if count < 2 or not judged:
        return None
    rows = []
    for label, which in cases.of_classes(results, MOST_CLASSES):
        means = means_of(results.values[name][judged][:, which], results.seed)
        goods = [better * each.value for each in means if each.images]
        rows.append(
            {
                "label": label,
                "images": f"{len(which):,}",
                "cells": [
                    {
                        "value": number(each.value) if each.images else "",
                        "between": _between(each),
                        "best": bool(better and each.images and better * each.value == max(goods)),
                    }
                    for each in means
                ],
            }
        )
    return {"shown": rows[:CLASSES_SHOWN], "folded": rows[CLASSES_SHOWN:], "more": count - len(rows)}


def means_of(values: Floats, seed: int) -> list[Mean]:
    """The mean of every row, `camzoo.metrics.mean` for each."""
    return [mean(row, seed=seed) for row in values]


def _apart_most(results: Results, name: str) -> list[tuple[int, float]]:
    return cases.disagreements(results, name, MOST_APART)


def _apart(results: Results, name: str, image: int, spread: float, gallery: Gallery) -> dict[str, Any]:
    """An image with its values on a line, the highest and the lowest by name."""
    judged = [at for at in cases.methods(results) if not math.isnan(results.values[name][at, image])]
    values = {results.methods[at]: float(results.values[name][at, image]) for at in judged}
    order = sorted(values, key=lambda method: -values[method])
    scale = scales.around(results.values[name][cases.methods(results)].ravel().tolist())
    return {
        **gallery.show(image),
        "label": _label(results, int(results.targets[image])),
        "spread": number(spread),
        "dots": [scale.at(value) for value in values.values()],
        "high": (order[0], number(values[order[0]])),
        "low": (order[-1], number(values[order[-1]])),
    }


def _worst(results: Results, name: str, gallery: Gallery) -> list[dict[str, Any]]:
    """The methods, and for each the images on which it does worst."""
    return [
        {
            "method": results.methods[at],
            "images": [
                {**gallery.show(image), "value": number(results.values[name][at, image])}
                for image in cases.worst(results, name, at, MOST_WORST)
            ],
        }
        for at in cases.methods(results)
    ]


def _command(manifest: Mapping[str, Any]) -> str:
    """The command line that asks the same; "" where the data came from Python."""
    asked, origin = manifest["question"], manifest.get("origin") or {}
    if not origin.get("data"):
        return ""
    line = ["camzoo", "evaluate", str(origin["data"]), *photos.model(origin), "--layer", asked["layer"]]
    line += ["--methods", ",".join(each for each in asked["methods"] if each not in CONTROLS)]
    line += ["--metrics", ",".join(asked["metrics"]), "--target", asked["target"], "--seed", str(asked["seed"])]
    for name in ("photos", "limit"):
        line += [f"--{name}", str(origin[name])] if origin.get(name) else []
    return shlex.join(line)


def _origins(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What says that it is the same: hashes, seed and versions; no date, so that equal results give equal pages."""
    asked = manifest["question"]
    found = [
        ("seed", asked.get("seed")),
        ("images in a batch", asked.get("batch")),
        ("device", asked.get("device")),
        ("weights", asked.get("weights")),
        ("listing of the data", asked.get("listing")),
    ]
    versions = (manifest.get("environment") or {}).get("versions") or {}
    return [(name, str(value)) for name, value in [*found, *versions.items()] if value is not None]
