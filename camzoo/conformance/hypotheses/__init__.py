"""What may have gone wrong in a map: tables of hypotheses, each exact, for every step from the tensor to the pixels.

A black box shows its last map only. So each hypothesis gives the map that one certain mistake would have made, and
what is shown is compared with it to the precision of its dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from camzoo import methods
from camzoo.conformance.hypotheses import scores, weights
from camzoo.conformance.hypotheses.batch import Batch, Early, Step
from camzoo.conformance.hypotheses.sources import activations, gradients
from camzoo.conformance.hypotheses.sums import sums, weighted_sum
from camzoo.conformance.hypotheses.weights import Weights, Wrong
from camzoo.types import Evidence

__all__ = ["RIGHT", "Batch", "Early", "Step", "early"]

RIGHT: Mapping[str, Weights] = {
    "gradcam": weights.gradcam,
    "gradcam++": weights.gradcam_plus_plus,
    "xgradcam": weights.xgradcam,
    "layercam": weights.layercam,
    "hirescam": weights.hirescam,
    "eigencam": weights.eigencam,
    "scorecam": scores.scorecam,
    "ablationcam": scores.ablationcam,
}
"""The right weights, where a method is a weighted sum of the channels."""

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
    reads = methods.find(batch.method).needs
    if Evidence.GRADIENTS in reads:
        yield from gradients(batch)
    if batch.method in RIGHT or reads <= {Evidence.GRADIENTS}:
        yield from activations(batch)


def _weights(method: str) -> Iterator[Early]:
    for reason, wrong in WRONG.get(method, ()):
        yield Early(Step.WEIGHTS, f"the weights are {reason}", lambda b, wrong=wrong: weighted_sum(wrong(b), b.A))
    if method == "eigencam":
        for reason, raw in weights.PROJECTIONS:
            yield Early(Step.WEIGHTS, reason, raw)
    if method in OF_GRADIENTS:
        for other in OF_GRADIENTS:
            reason = f"the weights are those of {other}"
            yield Early(Step.WEIGHTS, reason, lambda b, other=other: weighted_sum(RIGHT[other](b), b.A))
    if right := RIGHT.get(method):
        for reason, change in weights.CHANGED:
            reason = f"the weights are {reason}"
            yield Early(Step.WEIGHTS, reason, lambda b, change=change: weighted_sum(change(right(b)), b.A))
