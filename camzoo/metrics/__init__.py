"""Metrics of maps: pure functions from tensors to one value for each image, NaN where undefined.

They know no model: a metric that needs one is given a `Score`, the softmax probability of the class that is frozen from
the unaltered image, or an `Explain`, the method. Every map goes through `camzoo.metrics.maps.shown` first. Maps and
masks are tensors on the device of the images.
"""

from camzoo.metrics.box_accuracy import BoxCurves, accuracy_curve, box_curves, max_box_accuracy, max_box_accuracy_v2
from camzoo.metrics.composed import adcc, arcc, coherency, complexity, entropy
from camzoo.metrics.confidence import Confidence, confidence
from camzoo.metrics.curves import Curve, deletion, insertion
from camzoo.metrics.libraries import borrowed
from camzoo.metrics.localisation import (
    area,
    average_precision,
    average_precision_chance,
    box_iou,
    box_iou_chance,
    box_masks,
    energy,
    localisation_error,
    mask_iou,
    mask_iou_chance,
    pointing,
    pointing_chance,
)
from camzoo.metrics.maps import reasons, shown
from camzoo.metrics.quantus import for_quantus
from camzoo.metrics.road import Road, road
from camzoo.metrics.robustness import infidelity, sensitivity_max
from camzoo.metrics.sanity import class_sensitivity, randomised, similarity
from camzoo.metrics.scores import Explain, Score, unaltered
from camzoo.metrics.statistics import Mean, mean, paired, stability

__all__ = [
    "BoxCurves",
    "Confidence",
    "Curve",
    "Explain",
    "Mean",
    "Road",
    "Score",
    "accuracy_curve",
    "adcc",
    "arcc",
    "area",
    "average_precision",
    "average_precision_chance",
    "borrowed",
    "box_curves",
    "box_iou",
    "box_iou_chance",
    "box_masks",
    "class_sensitivity",
    "coherency",
    "complexity",
    "confidence",
    "deletion",
    "energy",
    "entropy",
    "for_quantus",
    "infidelity",
    "insertion",
    "localisation_error",
    "mask_iou",
    "mask_iou_chance",
    "max_box_accuracy",
    "max_box_accuracy_v2",
    "mean",
    "paired",
    "pointing",
    "pointing_chance",
    "randomised",
    "reasons",
    "road",
    "sensitivity_max",
    "shown",
    "similarity",
    "stability",
    "unaltered",
]
