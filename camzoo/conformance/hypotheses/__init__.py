"""What may have gone wrong in a map: tables of hypotheses, each exact, for every step from the tensor to the pixels.

A black box shows its last map only. So each hypothesis gives the map that one certain mistake would have made, and
what is shown is compared with it to the precision of its dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from camzoo import methods
from camzoo.conformance.hypotheses import scores, weights
from camzoo.conformance.hypotheses.batch import Batch, Early, Step
from camzoo.conformance.hypotheses.formulas import RIGHT
from camzoo.conformance.hypotheses.sources import activations, gradients
from camzoo.conformance.hypotheses.sums import sums, weighted_sum
from camzoo.conformance.hypotheses.weights import Weights, Wrong
from camzoo.oracles.grids import Floats
from camzoo.types import Evidence

__all__ = ["RIGHT", "Batch", "Early", "Step", "early"]

WRONG: Mapping[str, tuple[Wrong, ...]] = {
    "gradcam": weights.GRADCAM,
    "gradcam++": weights.PLUS_PLUS,
    "xgradcam": weights.XGRADCAM,
    "layercam": weights.LAYERCAM,
    "eigencam": weights.EIGENCAM,
    "scorecam": scores.SCORECAM,
    "ablationcam": scores.ABLATIONCAM,
}

OF_GRADIENTS = ("gradcam", "gradcam++", "xgradcam", "layercam", "hirescam")
"""Any of these may have been taken for another."""


def early(batch: Batch) -> Iterator[Early]:
    """Every hypothesis on the RAW map, from the latest step to the earliest."""
    yield from sums(RIGHT.get(batch.method))
    yield from _weights(batch.method)
    reads = {method.name: method.needs for method in methods.TABLE}.get(batch.method)
    if reads is None:  # an attribution that camzoo has no method of its own for: its endings are all that can be told
        return
    if Evidence.GRADIENTS in reads:
        yield from gradients()
    if batch.method in RIGHT or reads <= {Evidence.GRADIENTS}:
        yield from activations(batch)


def _weights(method: str) -> Iterator[Early]:
    for reason, wrong in WRONG.get(method, ()):
        yield Early(Step.WEIGHTS, f"the weights are {reason}", partial(_sum, weights=wrong))
    if method == "eigencam":
        for reason, raw in weights.PROJECTIONS:
            yield Early(Step.WEIGHTS, reason, raw)
    if method in OF_GRADIENTS:
        for other in [one for one in OF_GRADIENTS if one != method]:
            reason = f"the weights are those of {other}"
            yield Early(Step.WEIGHTS, reason, partial(_sum, weights=RIGHT[other]))
    if right := RIGHT.get(method):
        for reason, change in weights.CHANGED:
            reason = f"the weights are {reason}"
            yield Early(Step.WEIGHTS, reason, partial(_changed, weights=right, change=change))


def _sum(batch: Batch, weights: Weights) -> Floats:
    return weighted_sum(weights(batch), batch.A)


def _changed(batch: Batch, weights: Weights, change: Callable[[Floats], Floats]) -> Floats:
    return weighted_sum(change(weights(batch)), batch.A)
