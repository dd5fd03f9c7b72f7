"""What a map of each method costs, in forward passes: counted and not timed, so that it is always the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from camzoo.evaluation import batch, files
from camzoo.evaluation.batch import Question
from camzoo.evaluation.samples import Loading, Sample
from camzoo.specs import Computation
from camzoo.timing import counting

TRIES = 20
"""So many images are tried until one can be read."""


def keep(question: Question, loading: Loading, folder: Path) -> None:
    """Adds the costs to the manifest of a run that has begun, where they are not there yet.

    They are those of the first image that can be read, and so the same for a run that was killed in between.

    Args:
        question: what is asked of every batch.
        loading: the images.
        folder: of the run.

    Raises:
        RequestError: the manifest cannot be read or written.
    """
    manifest = files.read_manifest(folder)
    if "costs" in manifest:
        return
    first = (loading[number] for number in range(min(TRIES, len(loading))))
    image = next((each.image for each in first if isinstance(each, Sample)), None)
    manifest["costs"] = {} if image is None else costs(question, image)
    files.write(folder / files.MANIFEST, files.text(manifest))


def costs(question: Question, image: torch.Tensor) -> dict[str, float]:
    """The cost of each method for one image, explained by itself.

    `cost = F(method) / F(forward)`, where `F` counts the floating-point operations of convolutions, matrix products and
    attention, those of backward passes included. A method by itself takes its evidence itself: in the evaluation
    camzoo's own share one capture, so that together they cost less than the sum.

    What is not counted misleads where it is most of the work: decompositions (as of EigenCAM), sorting, resizing,
    segmenting an image, and whatever a library does on the host outside of PyTorch. The figure is then too low, and
    `camzoo bench`, which takes the time, says by how much. It does not see memory either.

    Args:
        question: whose model, layer and methods are meant; the class that the model prefers is explained.
        image: `(C, H, W)`, as the model takes it; what some methods run depends on it.

    Returns:
        By the name of the method, 0 where nothing was counted. Methods that break are left out, and every one where
        the model itself breaks or has no such operation.
    """
    try:
        posed = batch.pose(replace(question, by_label=False), [Sample(0, "", None, None, image)])
    except Exception:  # the evaluation of the first batch will meet it too, and tell
        return {}
    found = {str(each): _cost(posed, each) for each in question.methods}
    return {name: cost for name, cost in found.items() if cost is not None}


def _cost(posed: batch.Posed, computation: Computation) -> float | None:
    first = torch.zeros(1, dtype=torch.int64, device=posed.images.device)
    try:
        counts, _ = counting.count(
            lambda: posed.again(computation, posed.images, first, least=False), posed.question.model, posed.images
        )
    except Exception:  # somebody else's method must not take the others down; its rows tell what is wrong
        return None
    return counts.flops / counts.flops_of_forward if counts.flops_of_forward else None
