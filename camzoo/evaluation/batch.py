"""A batch of images x methods x metrics: one row each. All that is evaluated, wherever it runs, goes through here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from camzoo import backends, capture, chunks, guard, metrics, native, noise
from camzoo.errors import RequestError
from camzoo.evaluation import cascade, readings
from camzoo.evaluation.readings import UNDEFINED, Reading
from camzoo.evaluation.samples import Broken, Sample
from camzoo.evaluation.table import Batch, Judged, Metric, Values
from camzoo.specs import Computation
from camzoo.targets import ClassLogit, TopClass, select
from camzoo.types import Capture, Layout, Problem, Settings, Status

OWN = "own"
"""The backend of map functions that are given from Python."""
MODEL, CHANCE = "model", "chance"
"""What stands in the place of a method: the model itself, and what is reached without looking."""
OK, FAILED = str(Status.OK), str(Status.FAILED)
CONTROLS = ("random", "uniform", "center", "sobel")
"""Run in every evaluation: a method that is no better than these explains nothing."""

Own = Callable[[torch.Tensor, Sequence[Sample]], torch.Tensor]
"""From images `(M, C, H, W)` and the sample that each was made from to maps `(M, h, w)`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the results.

    Attributes:
        image: its name in the data set.
        label: its class in the words of the data set, or None.
        target: the class that was explained, None where none was.
        method: with its options; `model` for what is said of the model, `chance` for a metric's chance level.
        backend: who computed the map.
        metric: the name.
        value: None where there is none.
        status: ok, undefined, not installed, not offered or failed.
        reason: why there is no value.
    """

    image: str
    label: str | None
    target: int | None
    method: str
    backend: str
    metric: str
    value: float | None
    status: str = OK
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked of every batch.

    Attributes:
        model: in eval mode, on its device.
        layer: dotted name.
        methods: controls among them.
        metrics: rows of the table.
        by_label: whether the true class is explained, and not the one that the model prefers.
        seed: of every random number.
        chunk: how many altered images to run at a time; None for as many as memory allows.
        own: map functions by the names that methods of the backend `own` have.
    """

    model: torch.nn.Module
    layer: str
    methods: tuple[Computation, ...]
    metrics: tuple[Metric, ...]
    by_label: bool = False
    seed: int = 0
    chunk: int | None = None
    own: Mapping[str, Own] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next((each.device for each in self.model.parameters()), torch.device("cpu"))


def evaluate(question: Question, loaded: Sequence[Sample | Broken]) -> list[Record]:
    """Every row of a batch: of each image in their order, of each method, of each metric.

    One forward pass gives the evidence for all of camzoo's own methods, the class that is explained, and its score.

    Args:
        question: what is asked.
        loaded: the images; what could not be read becomes a row with the reason.

    Raises:
        RequestError: the layer does not fit the model, or the batch the memory.
    """
    rows: dict[int, list[Record]] = {each.number: [] for each in loaded}
    for each in loaded:
        if isinstance(each, Broken):
            rows[each.number].append(Record(each.name, each.label, None, "", "", "", None, FAILED, each.reason))
        elif question.by_label and each.truth is None:
            why = "it has no label" if each.label is None else f"the model has no class {each.label!r}"
            rows[each.number].append(Record(each.name, each.label, None, "", "", "", None, UNDEFINED, why))
    asked = [each for each in loaded if isinstance(each, Sample) and not rows[each.number]]
    for shape in dict.fromkeys(each.image.shape for each in asked):
        alike = [each for each in asked if each.image.shape == shape]
        for sample, found in zip(alike, _of_one_size(question, alike), strict=True):
            rows[sample.number] += found
    return [record for found in rows.values() for record in found]


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """A batch with its class decided: the evidence that methods share, and the numbers that metrics share."""

    question: Question
    samples: Sequence[Sample]
    images: torch.Tensor
    taken: Capture
    layout: Layout
    classes: torch.Tensor
    least: torch.Tensor

    def again(self, computation: Computation, images: torch.Tensor, rows: torch.Tensor, least: bool) -> torch.Tensor:
        """The RAW maps of a method for altered images, at the class that is frozen for each, or at the least likely."""
        frozen = (self.least if least else self.classes)[rows]
        samples = [self.samples[row] for row in rows.tolist()]
        target, question = ClassLogit(tuple(frozen.tolist())), self.question
        if computation.backend == OWN:
            return question.own[computation.method](images, samples)
        if computation.backend == native.NAME:
            given = (question.model, question.layer, images, target, computation.method, question.seed)
            taken = native.evidence(*given, Settings(question.chunk))
            return _own_map(taken, computation, samples)
        return self._foreign(computation, images, target)

    def maps(self, computation: Computation) -> torch.Tensor:
        """The RAW maps of a method for the images themselves."""
        if computation.backend == native.NAME:
            return _own_map(self.taken, computation, self.samples)
        return self.again(computation, self.images, torch.arange(len(self.images), device=self.images.device), False)

    def _foreign(self, computation: Computation, images: torch.Tensor, target: ClassLogit) -> torch.Tensor:
        question, images = self.question, images.contiguous()  # a library may rely on it
        given = (question.model, question.layer, self.layout, images, target, target.classes, question.seed)
        found = backends.run(
            backends.find(computation.backend), Problem(*given), computation.method, computation.options
        )
        return torch.as_tensor(found.values).to(images.device)


def _own_map(taken: Capture, computation: Computation, samples: Sequence[Sample]) -> torch.Tensor:
    """A map of camzoo's own; of the control `random` each image has a noise of its own, and always the same."""
    if computation.method != "random":
        values: torch.Tensor = native.heatmap(taken, computation.method, computation.options).values
        return values
    each = (
        replace(taken, activations=taken.activations[at : at + 1], seed=_drawn(taken.seed, sample.number))
        for at, sample in enumerate(samples)
    )
    return torch.cat([native.heatmap(one, computation.method, computation.options).values for one in each])


def _cascade(posed: Posed, trained: cascade.Maps) -> dict[str, cascade.Alike | Exception]:
    """How alike the maps of every method stay as the model loses what it learnt."""
    question = posed.question
    return cascade.similarities(question.model, trained, functools.partial(_of_other, posed), question.seed)


def _of_other(posed: Posed, model: torch.nn.Module, stop: int) -> dict[str, torch.Tensor | Exception]:
    """The maps of another model, for the same classes; `random` draws anew, so that it shows what chance is."""
    question = replace(posed.question, model=model)
    needs = native.needs(each.method for each in question.methods if each.backend == native.NAME)
    target, settings = ClassLogit(tuple(posed.classes.tolist())), Settings(question.chunk)
    (taken,), _ = capture.take(model, question.layer, posed.images, [target], needs, question.seed, settings)
    other = replace(posed, question=question, taken=taken)
    anew = replace(other, taken=replace(taken, seed=_drawn(question.seed, stop)))
    return {str(each): _attempt(anew if each.method == "random" else other, each) for each in question.methods}


def _attempt(posed: Posed, computation: Computation) -> torch.Tensor | Exception:
    try:
        return posed.maps(computation)
    except Exception as error:  # told in the method's own rows
        return error


def _drawn(*keys: int) -> int:
    return int(noise.generator(*keys).integers(2**63))


@dataclass(frozen=True, slots=True)
class _Column:
    """One method and metric of a batch, of each image."""

    method: str
    backend: str
    metric: str
    cells: Sequence[Reading]


def _of_one_size(question: Question, samples: Sequence[Sample]) -> list[list[Record]]:
    """The rows of each image."""
    posed = pose(question, samples)
    batch = _batch(posed)
    columns = [*_about_the_model(posed, batch), *_by_chance(question.metrics, batch)]
    maps = {str(each): _attempt(posed, each) for each in question.methods}
    alike = functools.cache(functools.partial(_cascade, posed, maps))
    for computation in question.methods:
        columns += _judged(posed, batch, computation, maps[str(computation)], alike)
    return [
        [
            Record(sample.name, sample.label, target, each.method, each.backend, each.metric, *_told(each.cells[at]))
            for each in columns
        ]
        for at, (sample, target) in enumerate(zip(samples, posed.classes.tolist(), strict=True))
    ]


def _told(cell: Reading) -> tuple[float | None, str, str]:
    return cell.value, str(cell.status), cell.reason


def pose(question: Question, samples: Sequence[Sample]) -> Posed:
    """The forward pass of images of one size, with what all of camzoo's own methods need of it, and their classes.

    Raises:
        RequestError: the layer does not fit the model, or the batch the memory.
    """
    images = torch.stack([sample.image for sample in samples]).to(question.device)
    truth = [sample.truth for sample in samples if sample.truth is not None]
    target = ClassLogit(tuple(truth)) if question.by_label else TopClass()
    needs = native.needs(each.method for each in question.methods if each.backend == native.NAME)
    settings = Settings(question.chunk)

    def take(inputs: torch.Tensor) -> tuple[list[Capture], Layout]:
        return capture.take(question.model, question.layer, inputs, [target], needs, question.seed, settings)

    try:
        images, ((taken,), layout) = chunks.laid_out(take, images)  # altered images are laid out as these are
    except (RuntimeError, MemoryError) as error:
        if not chunks.is_out_of_memory(error):
            raise
        raise RequestError(f"{len(images)} images at a time are more than fits: ask for fewer with --batch") from error
    return Posed(question, samples, images, taken, layout, taken.classes, taken.scores.argmin(1))


def _batch(posed: Posed) -> Batch:
    """What all metrics share: the score of the frozen class, and what is known of that class."""
    question, samples, images, classes = posed.question, posed.samples, posed.images, posed.classes

    def score(inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        with guard.evaluating(question.model):
            return select(question.model(inputs)).softmax(1).gather(1, classes[rows, None])[:, 0]

    logits = posed.taken.scores
    explained = logits.gather(1, classes[:, None])
    known = [_is_known(*each) for each in zip(samples, classes.tolist(), strict=True)]
    boxes = tuple(sample.boxes if known[at] else () for at, sample in enumerate(samples))
    height, width = images.shape[2:]
    masks = metrics.box_masks(boxes, (height, width))
    for at, sample in enumerate(samples):
        if sample.mask is not None:
            masks[at] = sample.mask if known[at] else False
    place = (logits > explained).sum(1)
    if not question.by_label:
        place = torch.full_like(place, -1)
    return Batch(
        images=images,
        original=logits.softmax(1).gather(1, classes[:, None])[:, 0],
        score=score,
        boxes=boxes,
        masks=masks.to(images.device),
        place=place,
        seed=question.seed,
        chunk=question.chunk,
    )


def _is_known(sample: Sample, explained: int) -> bool:
    """Whether boxes and masks are of the class that is explained; without a label they are of the only object."""
    return sample.label is None or sample.truth == explained


def _about_the_model(posed: Posed, batch: Batch) -> list[_Column]:
    """How sure the model is of what is explained, and where the truth is known whether it is right."""
    top = posed.taken.scores.argmax(1).tolist()
    right = [
        Reading(float(each.truth == best))
        if each.truth is not None
        else Reading(None, UNDEFINED, "it has no known class")
        for each, best in zip(posed.samples, top, strict=True)
    ]
    sure = [Reading(value) for value in batch.original.tolist()]
    return [_Column(MODEL, "", "probability", sure), _Column(MODEL, "", "correct", right)]


def _by_chance(wanted: Sequence[Metric], batch: Batch) -> list[_Column]:
    return [
        _Column(CHANCE, "", metric.name, _cells(metric, metric.chance(batch), batch, [""] * len(batch.images)))
        for metric in wanted
        if metric.chance
    ]


def _judged(
    posed: Posed,
    batch: Batch,
    computation: Computation,
    raw: torch.Tensor | Exception,
    alike: Callable[[], dict[str, cascade.Alike | Exception]],
) -> list[_Column]:
    """Every metric of one method. What breaks, the method or a metric, is told in its rows and stops nothing."""
    size, everything = batch.size, torch.arange(len(batch.images), device=batch.images.device)

    def explain(inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return posed.again(computation, inputs, rows, least=False)

    def least() -> torch.Tensor:
        return metrics.shown(posed.again(computation, batch.images, everything, least=True), size)

    def randomised() -> Values:
        found = alike()[str(computation)]
        if isinstance(found, Exception):
            raise found
        return found

    def column(name: str, cells: Sequence[Reading]) -> _Column:
        method = str(computation).removesuffix(f"@{computation.backend}")
        return _Column(method, computation.backend, name, cells)

    try:
        if isinstance(raw, Exception):
            raise raw
        why, judged = metrics.reasons(raw), Judged(batch, metrics.shown(raw, size), explain, least, randomised)
    except Exception as error:  # somebody else's method must not take the others down
        return [column(metric.name, [readings.refused(error)] * len(batch.images)) for metric in posed.question.metrics]
    found = []
    for metric in posed.question.metrics:
        try:
            values = metric.rows(judged.values(metric.compute))
            found += [column(row, _cells(metric, each, batch, why)) for row, each in values.items()]
        except Exception as error:  # nor a metric, such as one whose library is absent
            found.append(column(metric.name, [readings.refused(error)] * len(batch.images)))
    return found


def _cells(metric: Metric, values: torch.Tensor, batch: Batch, why: Sequence[str]) -> list[Reading]:
    """Values with the reason where there is none: what the image lacks, or what is wrong with its map."""
    each = enumerate(zip(values.tolist(), why, strict=True))
    return [readings.read(value, batch.lacking(metric.needs, at), reason) for at, (value, reason) in each]
