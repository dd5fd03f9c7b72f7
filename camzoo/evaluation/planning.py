"""What an evaluation will cost, from a few of its images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from camzoo.evaluation import batch
from camzoo.evaluation.batch import Question
from camzoo.evaluation.samples import Loading, Sample

IMAGES = 4
TRIES = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What every image costs, as a few have shown.

    Attributes:
        images: how many there are.
        tried: on how many it was found out.
        forwards: forward passes of the whole model for each image; a pass of 8 images counts as 8.
        seconds: for each image, reading it left out.
    """

    images: int
    tried: int
    forwards: float
    seconds: float

    def __str__(self) -> str:
        total, hours = self.images * self.forwards, self.images * self.seconds / 3600
        long = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
        return (
            f"{self.images:,} images x {self.forwards:,.1f} forward passes = {total:,.0f} forward passes, "
            f"about {long} ({self.seconds:.3g} s an image, as {self.tried} of them took on this device)"
        )


def plan(question: Question, loading: Loading) -> Plan | None:
    """What it would cost to evaluate every image; None where no image can be read.

    Some images are evaluated twice and nothing is kept: the first time, a device and a library are slower.

    Args:
        question: what is asked of every batch.
        loading: the images.
    """
    found = [each for number in range(min(TRIES, len(loading))) if isinstance(each := loading[number], Sample)]
    few = [each for each in found if each.truth is not None or not question.by_label][:IMAGES]
    if not few:
        return None
    batch.evaluate(question, few)
    with _counted(question.model) as count:
        began = time.perf_counter()
        batch.evaluate(question, few)
        seconds = time.perf_counter() - began
    return Plan(len(loading), len(few), count.images / len(few), seconds / len(few))


@dataclass(slots=True)
class _Count:
    images: int = field(default=0)


@contextmanager
def _counted(model: torch.nn.Module) -> Iterator[_Count]:
    """Counts the images that go through a model."""
    count = _Count()

    def add(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        count.images += len(inputs[0])

    handle = model.register_forward_pre_hook(add)
    try:
        yield count
    finally:
        handle.remove()
