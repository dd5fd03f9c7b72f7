"""An evaluation as Markdown, for people to read: rankings with intervals, what the controls say, what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from camzoo.evaluation import reading, readings
from camzoo.evaluation.curves import Curves, curves
from camzoo.evaluation.reading import Ranking, Results
from camzoo.evaluation.table import find
from camzoo.metrics import Mean, mean

FILE = "evaluation.md"
MOST_CLASSES, MOST_BROKEN = 20, 10
_WAYS = readings.WAYS | {0: "neither way is better: no ranking"}
_MARKUP = re.compile(r"([\\`*_\[\]#|~])")


def page(results: Results) -> str:
    """The whole page. It has no date and no time in it: the same rows give the same page."""
    rankings = [reading.ranking(results, name) for name in results.values]
    drawn = map(_curves, curves(results))
    tables = [*map(_table, rankings), *drawn]
    parts = [_head(results), _said_by_controls(rankings), *tables, _by_class(results), _missing(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """A text from outside as Markdown that shows just that."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", " ".join(escaped.split()))


def interval(found: Mean) -> str:
    """A mean with its interval."""
    if not found.images:
        return "undefined"
    between = f" ({number(found.low)} to {number(found.high)})" if not math.isnan(found.low) else ""
    return f"{number(found.value)}{between}"


def number(value: float) -> str:
    """Three decimals, and of what is smaller two digits."""
    return f"{value + 0:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


def _head(results: Results) -> str:
    asked = results.manifest["question"]
    explained = "the true class" if asked["target"] == "label" else "the class that the model prefers"
    lines = [
        f"# Evaluation of {len(results.methods)} methods on {plain(results.manifest['title'])}",
        "",
        f"{plain(asked['model'])}, layer `{asked['layer']}`; {len(results.images):,} images ({plain(asked['data'])}); "
        f"explained is {explained}. {_accuracy(results)}",
        "",
        "Intervals are 95 % bootstrap intervals over images. *behind* is the paired difference to the first method, on "
        "the images on which both have a value. *first* is how often a method takes the first place when images are "
        "drawn anew, on those on which every method has a value. A metric compares methods on this model and these "
        "images, and no metric is the truth about a map.",
    ]
    if not results.complete:
        lines += ["", f"**Not finished**: {asked['images']:,} images were asked for; go on with `--resume`."]
    return "\n".join(lines)


def _accuracy(results: Results) -> str:
    right, sure = (
        mean(results.model["correct"], seed=results.seed),
        mean(results.model["probability"], seed=results.seed),
    )
    told = f"Mean probability of the explained class: {interval(sure)}."
    return (
        f"{told} The model is right on {right.value:.1%} of {right.images:,} labelled images." if right.images else told
    )


def _said_by_controls(rankings: Sequence[Ranking]) -> str:
    said = [f"- {each.metric.name}: {plain(line)}" for each in rankings for line in each.controls]
    if not said:
        return "## Controls\n\nNo metric ranks a control as high as a method."
    why = (
        "A control knows nothing of the model. A metric that ranks one as high as a method says little about that "
        "method. In brackets: the interval of the paired difference."
    )
    return "\n".join(["## Controls", "", why, "", *said])


def _table(ranking: Ranking) -> str:
    metric = ranking.metric
    if not any(each.mean.images for each in ranking.standings):
        return f"## {metric.name}\n\nUndefined on every image, for every method."
    chance = f" By chance: {ranking.chance:.3f}." if ranking.chance is not None else ""
    lines = [
        f"## {metric.name}",
        "",
        f"{_WAYS[metric.better].capitalize()}.{chance} "
        f"On {ranking.together:,} images every method that has values has one.",
        "",
    ]
    head = ["", "method", "mean", "behind", "first", "N", "undefined"]
    rows = [
        [
            str(place) if metric.better and each.mean.images else "",
            plain(each.method) + (" (control)" if each.control else ""),
            interval(each.mean),
            interval(each.behind) if each.behind.images and metric.better else "",
            f"{each.first:.0%}" if not math.isnan(each.first) and metric.better else "",
            f"{each.mean.images:,}",
            f"{each.mean.undefined:,}",
        ]
        for place, each in enumerate(ranking.standings, start=1)
    ]
    return "\n".join([*lines, *_rows(head, rows)])


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    line = "|".join(["", *("---" for _ in head), ""])
    return ["| " + " | ".join(head) + " |", line, *("| " + " | ".join(row) + " |" for row in rows)]


def _curves(found: Curves) -> str:
    """What its panel in the figure of curves shows, in numbers."""
    return _over_blocks(found) if found.at is None else _over_thresholds(found)


def _over_thresholds(found: Curves) -> str:
    few = range(0, len(found.parts), 4)
    level = "" if found.chance is None else f" By chance, with the box of the whole image: {found.chance:.3f}."
    why = (
        f"The share of images whose box fits, by the threshold as a share of the map's maximum.{level} The best "
        "threshold is chosen on these images, for each method its own, which flatters every method."
    )
    head = ["method", "best threshold", "share there", *(f"at {found.parts[at]}" for at in few)]
    rows = [
        [plain(each.method) + (" (control)" if each.control else ""), found.parts[each.best]]
        + [number(each.points[at].value) for at in (each.best, *few)]
        for each in found.methods
        if each.best is not None
    ]
    return "\n".join([f"## {found.title}: the curve", "", why, "", *_rows(head, rows)])


def _over_blocks(found: Curves) -> str:
    why = (
        "How alike a map stays, by Spearman's correlation, when the model loses what it learnt from its output down to "
        "a block. This finds errors and ranks nothing: a method that stays near 1 does not look at what those blocks "
        "have learnt, and one that falls is not thereby right. `random` is drawn anew each time, and so shows how "
        "alike maps are that have nothing to do with each other; other controls do not look at the model."
    )
    head = ["method", *(f"`{part}`" for part in found.parts)]
    rows = [
        [plain(each.method) + (" (control)" if each.control else "")]
        + [f"{interval(point)}, N {point.images:,}" for point in each.points]
        for each in found.methods
    ]
    return "\n".join([f"## {found.title}: the curve", "", why, "", *_rows(head, rows)])


def _by_class(results: Results) -> str:
    """The first ranked metric for each class, the classes with most images first."""
    ranked = [name for name in results.values if find(name).better]
    parts = reading.classes(results)
    if not ranked or len(parts) < 2:
        return ""
    name = ranked[0]
    methods = [at for at, method in enumerate(results.methods) if not reading.is_control(method)]
    rows = []
    for label, own in parts[:MOST_CLASSES]:
        means = [mean(own.values[name][at], seed=results.seed) for at in methods]
        rows.append([plain(label), f"{len(own.images):,}", *map(interval, means)])
    head = ["explained class", "images", *(plain(results.methods[at]) for at in methods)]
    more = (
        f"\n\n{len(parts) - MOST_CLASSES:,} classes more are in the Parquet files." if len(parts) > MOST_CLASSES else ""
    )
    return "\n".join([f"## {name}, class by class", "", *_rows(head, rows)]) + more


def _missing(results: Results) -> str:
    lines = []
    if results.broken:
        lines += ["", f"{len(results.broken):,} images could not be evaluated, such as:", ""]
        few = list(results.broken.items())[:MOST_BROKEN]
        lines += [f"- {plain(name)}: {plain(reason)}" for name, reason in few]
    if results.reasons:
        together: dict[tuple[str, str], list[str]] = {}
        places = {name: at for at, name in enumerate([*results.values, *results.methods])}
        for (metric, method, why), count in sorted(
            results.reasons.items(), key=lambda each: (places[each[0][0]], places[each[0][1]], each[0][2])
        ):
            together.setdefault((metric, why), []).append(f"{method} on {count:,}")
        rows = [[metric, plain(why), plain(", ".join(each))] for (metric, why), each in together.items()]
        lines += ["", *_rows(["metric", "no value because", "images"], rows)]
    return "\n".join(["## What has no value", *lines]) if lines else ""
