"""The evaluation on this machine: batches in order, photos loaded by workers, each finished batch kept at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from camzoo.environment import environment
from camzoo.errors import RequestError
from camzoo.evaluation import batch, files
from camzoo.evaluation.batch import Question
from camzoo.evaluation.data import Data
from camzoo.evaluation.samples import Broken, Loading, Sample, classes_of
from camzoo.evaluation.table import Metric, Needs
from camzoo.preprocessing import Preprocessing

BATCH, WORKERS = 16, 2

Progress = Callable[[int, int], None]
"""Called with the number of images done and their number."""


def run(
    question: Question,
    data: Data,
    preprocessing: Preprocessing,
    labels: tuple[str, ...],
    out: Path,
    *,
    identity: Mapping[str, Any],
    size: int = BATCH,
    workers: int = WORKERS,
    resume: bool = False,
    progress: Progress | None = None,
) -> None:
    """Evaluates every batch that is not there yet.

    Killed at any moment, the batch under way is lost and no other; a run that goes on computes what is missing, with
    the same images in each batch, and so the same numbers.

    Args:
        question: what is asked of every batch.
        data: the images.
        preprocessing: of the model.
        labels: the model's classes.
        out: the folder.
        identity: what else tells one question from another: name of the model, hash of its weights.
        size: images of a batch.
        workers: processes that load photos; 0 for none beside this one.
        resume: whether to go on with what is in the folder.
        progress: called as batches are done.

    Raises:
        RequestError: the folder is another question's, or the question does not fit the data.
    """
    classes = classes_of(data.labels, labels)
    check_labels(question, data, classes, labels)
    batches = math.ceil(len(data.items) / size)
    files.begin(out, manifest(question, data, labels, identity, size), resume)
    missing = sorted(set(range(batches)) - files.done(out))
    finished = len(data.items) - sum(len(_images(number, size, data)) for number in missing)
    for number, loaded in zip(missing, loads(data, preprocessing, classes, missing, size, workers), strict=True):
        files.keep(out, number, batch.evaluate(question, loaded))
        finished += len(loaded)
        if progress:
            progress(finished, len(data.items))


def loads(
    data: Data,
    preprocessing: Preprocessing,
    classes: Mapping[str, int],
    numbers: Sequence[int],
    size: int,
    workers: int,
) -> Iterator[list[Sample | Broken]]:
    """The images of batches, loaded ahead by workers."""
    loading = Loading(data.items, preprocessing, classes)
    wanted = [list(_images(number, size, data)) for number in numbers]
    loader: Any = DataLoader(
        loading,  # type: ignore[arg-type]
        batch_sampler=wanted,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # a fork of a process with threads may hang
        collate_fn=list,
        generator=torch.Generator(),  # its own, so that the caller's draws go on as if nothing had been loaded
    )
    return iter(loader)


def _images(number: int, size: int, data: Data) -> range:
    return range(number * size, min((number + 1) * size, len(data.items)))


def fitting(wanted: Sequence[Metric], data: Data, by_label: bool, named: bool) -> tuple[Metric, ...]:
    """The metrics for which at least one image has what they need.

    Args:
        wanted: rows of the table.
        data: the images.
        by_label: whether the true class is explained.
        named: whether each was asked for by its name, and so must not be left out in silence.

    Raises:
        RequestError: one that was named does not fit, or none does.
    """
    boxes = any(item.boxes for item in data.items)
    has = {
        None: True,
        Needs.BOXES: boxes,
        Needs.MASKS: boxes or any(item.mask for item in data.items),
        Needs.PLACE: boxes and by_label,
    }
    lacking = {
        Needs.BOXES: "boxes, and the data has none",
        Needs.MASKS: "boxes or masks, and the data has none",
        Needs.PLACE: "boxes and --target label",
    }
    for metric in wanted:
        if metric.needs and not has[metric.needs] and named:
            raise RequestError(f"{metric.name} needs {lacking[metric.needs]}")
    return tuple(metric for metric in wanted if has[metric.needs])


def check_labels(question: Question, data: Data, classes: Mapping[str, int], labels: tuple[str, ...]) -> None:
    """Refuses to explain the true class where the model knows none of them.

    Raises:
        RequestError: with a label of the data and one of the model.
    """
    if not question.by_label or classes:
        return
    if not data.labels:
        raise RequestError(f"--target label explains the true class, and {data.name} has no labels")
    raise RequestError(
        f"no label of {data.name} is a class of the model: it has {data.labels[0]!r}, the model {labels[0]!r} ..."
    )


def manifest(
    question: Question, data: Data, labels: tuple[str, ...], identity: Mapping[str, Any], size: int
) -> dict[str, Any]:
    """What was asked, which a run that goes on has to ask again; and for the reader where it was made first."""
    return {
        "schema_version": files.SCHEMA_VERSION,
        "question": {
            **identity,
            "layer": question.layer,
            "methods": [str(each) for each in question.methods],
            "metrics": [each.name for each in question.metrics],
            "target": "label" if question.by_label else "predicted",
            "data": data.kind,
            "images": len(data.items),
            "listing": data.listing(),
            "batch": size,
            "seed": question.seed,
            "device": question.device.type,
        },
        "title": data.name,
        "labels": list(labels),
        "environment": environment(question.device),
    }
