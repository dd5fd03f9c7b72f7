"""The methods that are a weighted sum of the channels, for whole batches and fast enough to be tried often."""

from __future__ import annotations

from collections.abc import Mapping

from camzoo.conformance.hypotheses import scores, weights
from camzoo.conformance.hypotheses.batch import Batch
from camzoo.conformance.hypotheses.sums import weighted_sum
from camzoo.conformance.hypotheses.weights import Weights
from camzoo.oracles.grids import Floats

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


def raw(batch: Batch) -> Floats:
    """The RAW maps of a batch whose evidence was changed; the literal reference where there is nothing faster."""
    if batch.method not in RIGHT:
        return batch.raw
    return weighted_sum(RIGHT[batch.method](batch), batch.A)
