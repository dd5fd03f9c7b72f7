"""The images that are worth a look: those on which methods disagree most, and those on which a method does worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from camzoo.evaluation import reading
from camzoo.evaluation.reading import Results
from camzoo.evaluation.table import find


def methods(results: Results) -> list[int]:
    """Where the methods stand that are no controls."""
    return [at for at, method in enumerate(results.methods) if not reading.is_control(method)]


def disagreements(results: Results, name: str, most: int) -> list[tuple[int, float]]:
    """The images on which a metric tells the methods apart most.

    Args:
        results: the values.
        name: of the metric.
        most: how many images.

    Returns:
        Images with the standard deviation of the metric over the methods that have a value there, controls left out;
        the largest first, those in which it is no more than rounding not among them.
    """
    values = results.values[name][methods(results)]
    known = ~np.isnan(values)
    count = known.sum(0)
    means = np.where(known, values, 0).sum(0) / np.maximum(count, 1)
    spread = np.sqrt(np.where(known, (values - means) ** 2, 0).sum(0) / np.maximum(count, 1))
    relative, absolute = reading.ROUNDING
    apart = (count > 1) & (spread > absolute + relative * abs(means))
    order = np.argsort(-spread, kind="stable")
    return [(int(at), float(spread[at])) for at in order if apart[at]][:most]


def worst(results: Results, name: str, method: int, most: int) -> list[int]:
    """The images on which a method does worst by a metric that has a better way.

    Of images with the same value, as there are many where it is 0 or 1, those come first on which the other methods do
    better.

    Args:
        results: the values.
        name: of the metric.
        method: where it stands among the methods.
        most: how many images.
    """
    sign = find(name).better
    own = sign * results.values[name][method]
    others = sign * results.values[name][[at for at in methods(results) if at != method]]
    known = ~np.isnan(others)
    mean = np.where(known, others, 0).sum(0) / np.maximum(known.sum(0), 1)
    order = np.lexsort((-mean, own))  # by the last key first; NaN comes last
    return [int(at) for at in order if not np.isnan(own[at])][:most]


def front(costs: Mapping[str, float], goods: Mapping[str, float]) -> list[str]:
    """The Pareto front: methods to which no other is better at the same or a lower cost, nor as good at a lower one.

    Args:
        costs: by method, less is better.
        goods: by method, more is better.

    Returns:
        Methods that have both, the cheapest first.
    """
    both = sorted((name for name in goods if name in costs), key=lambda name: (costs[name], -goods[name]))
    found: list[str] = []
    for name in both:
        same = bool(found) and (costs[name], goods[name]) == (costs[found[-1]], goods[found[-1]])
        if not found or goods[name] > goods[found[-1]] or same:
            found.append(name)
    return found


def of_classes(results: Results, most: int) -> list[tuple[str, NDArray[np.intp]]]:
    """The classes that were explained, with most images first, and where their images stand."""
    labels: Sequence[str] = results.manifest["labels"]
    targets, counts = np.unique(results.targets, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(labels[targets[at]], np.flatnonzero(results.targets == targets[at])) for at in order]
