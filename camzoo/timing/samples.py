"""What a benchmark holds: the work, who does it, and every raw sample. Statistics are derived on reading."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Scope(enum.StrEnum):
    """Where the work ends."""

    MAP = "map"
    """The map on the device, at the layer's grid, as the formula gives it."""
    ARRAY = "array"
    """What a user gets: a full-size array on the host, 0 to 1."""


NOT_REACHED = "the run ended before it was timed"
"""The reason of a row that an interrupted run did not come to."""


class Outcome(enum.StrEnum):
    """What became of one contender in one case."""

    OK = "ok"
    NOT_INSTALLED = "not installed"
    NOT_OFFERED = "not offered"
    OUT_OF_MEMORY = "out of memory"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Case:
    """The same work for every contender.

    Attributes:
        model: as `camzoo.models.load` takes it.
        weights: as `--weights` was given; None for the model's trained weights.
        layer: dotted name; None for the rule's choice.
        batch: images at a time.
        size: height and width of the (square) images in pixels.
        dtype: of weights and images, "float32" or "bfloat16".
        device: "cpu", "cuda" ...
        scope: where the work ends.
        seed: of random weights, of the images and of every method.
        channels_last: whether weights and images are laid out so.
    """

    model: str
    weights: str | None = None
    layer: str | None = None
    batch: int = 1
    size: int = 224
    dtype: str = "float32"
    device: str = "cpu"
    scope: Scope = Scope.ARRAY
    seed: int = 0
    channels_last: bool = False

    @property
    def name(self) -> str:
        """One line for tables: what sets this case apart."""
        layer = f" {self.layer}" if self.layer else ""
        order = " channels-last" if self.channels_last else ""
        return f"{self.model}{layer} {self.batch}x{self.size} {self.dtype}{order} {self.device} {self.scope}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed call, between two forward passes of the same model on the same images.

    Attributes:
        process: number of the fresh process, from 0.
        round: number of the round within the process, from 0.
        seconds: wall clock, the device synchronised on both sides.
        passes: seconds of a plain forward pass in inference mode right before, and of one right after.
        device_seconds: of the call by CUDA events, on a CUDA device.
    """

    process: int
    round: int
    seconds: float
    passes: tuple[float, float]
    device_seconds: float | None = None

    @property
    def forward(self) -> float:
        """Seconds of a forward pass beside the call: the mean of the two."""
        return sum(self.passes) / 2

    @property
    def forwards(self) -> float:
        """The cost in forward passes."""
        return self.seconds / self.forward


@dataclass(frozen=True, slots=True)
class Counts:
    """What one call does, counted and not timed.

    Attributes:
        forwards: calls of the model itself.
        images: images that go into the model in them.
        tail_rows: rows that go through the model's last layer, from calls of the model or of its tail alone.
        backwards: runs of the autograd engine.
        synchronisations: reads of a tensor's value by the host: each makes the host wait for a GPU.
        copied_bytes: bytes copied between tensors, and from device to host.
        flops: floating-point operations of convolutions, matrix products and attention; forward and backward.
        flops_of_forward: the same of a plain forward pass.
    """

    forwards: int
    images: int
    tail_rows: int
    backwards: int
    synchronisations: int
    copied_bytes: int
    flops: int
    flops_of_forward: int


@dataclass(frozen=True, slots=True)
class Row:
    """One contender in one case.

    Attributes:
        case: the work.
        contender: `method@backend` with its options, or `package.module:implementation`.
        method: canonical name of the method that it computes.
        backend: who computes it.
        outcome: what became of it.
        reason: why, where it is not ok.
        verdict: of the check, in its words (`camzoo.conformance.verdicts.Verdict`); "" where it was not checked.
        verdict_reason: why, where it does not agree.
        first: seconds of the very first call of each process, apart from the samples.
        warmups: calls of each process after the first before the clock ran.
        alike: of each process whether its calls had become alike by then.
        samples: every timed call.
        counts: what one call does.
        peak_bytes: the most memory held at a time during a call, beyond what was held before; measured by itself.
        forward_peak_bytes: the same of a plain forward pass.
        distance: largest absolute difference from the reference over its largest absolute value, both NORMALISED.
        reference: what the distance is from, in words.
        layer: dotted name of the layer that was explained, also where the rule chose it; "" where it was not examined.
    """

    case: Case
    contender: str
    method: str
    backend: str
    outcome: Outcome
    reason: str = ""
    verdict: str = ""
    verdict_reason: str = ""
    first: tuple[float, ...] = ()
    warmups: tuple[int, ...] = ()
    alike: tuple[bool, ...] = ()
    samples: tuple[Sample, ...] = field(default=(), repr=False)
    counts: Counts | None = None
    peak_bytes: int | None = None
    forward_peak_bytes: int | None = None
    distance: float | None = None
    reference: str = ""
    layer: str = ""

    @property
    def unsettled(self) -> bool:
        """Whether in some process its calls never became alike before the clock ran."""
        return not all(self.alike)

    @property
    def reached(self) -> bool:
        """Whether its run came to time it, and did not end before."""
        return self.reason != NOT_REACHED


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark.

    Attributes:
        rows: cases x contenders.
        command: the command line that makes it again.
        environment: machine, versions and flags; load, clocks and temperature before and after all, and in `during` at
            the end of each process's rounds.
        finished: False where it was interrupted; `--resume` goes on.
    """

    rows: tuple[Row, ...] = field(repr=False)
    command: str
    environment: Mapping[str, Any] = field(repr=False)
    finished: bool = True

    @property
    def cases(self) -> list[Case]:
        """The cases, in order."""
        return list(dict.fromkeys(row.case for row in self.rows))

    def of(self, case: Case) -> list[Row]:
        """The rows of one case."""
        return [row for row in self.rows if row.case == case]
