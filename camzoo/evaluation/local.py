"""The evaluation: which batches are missing, who evaluates them, and each finished one kept at once.

Here, batches are evaluated in order, and photos loaded by workers; `camzoo.evaluation.cluster` has many machines.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from camzoo.environment import environment
from camzoo.errors import RequestError
from camzoo.evaluation import batch, costs, files
from camzoo.evaluation.batch import Question, Record
from camzoo.evaluation.data import Data
from camzoo.evaluation.samples import Broken, Loading, Sample, classes_of
from camzoo.evaluation.table import Metric, Needs
from camzoo.preprocessing import Preprocessing

BATCH, WORKERS = 16, 2

Progress = Callable[[int, int], None]
"""Called with the number of images done and their number."""
Executor = Callable[[Question, Loading, Mapping[int, range], int], Generator[tuple[int, list[Record]], None, None]]
"""From the question, the images, the images of each batch by its number, and the number of workers to the rows of every
batch with its number, in any order."""


def here(
    question: Question, loading: Loading, batches: Mapping[int, range], workers: int
) -> Generator[tuple[int, list[Record]], None, None]:
    """The executor of this process: batch after batch."""
    for number, loaded in zip(batches, loads(loading, batches.values(), workers), strict=True):
        yield number, batch.evaluate(question, loaded)


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
    over: Executor = here,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Evaluates every batch that is not there yet.

    Killed at any moment, the batches under way are lost and no others; a run that goes on computes what is missing,
    with the same images in each batch, and so the same numbers, whoever evaluates it.

    Args:
        question: what is asked of every batch.
        data: the images.
        preprocessing: of the model.
        labels: the model's classes.
        out: the folder.
        identity: what else tells one question from another: name of the model, hash of its weights.
        size: images of a batch.
        workers: processes of the executor; here those that load photos, 0 for none beside this one.
        resume: whether to go on with what is in the folder.
        progress: called as batches are done.
        over: who evaluates the batches: `here` or `camzoo.evaluation.cluster.spread`.
        origin: where data and model came from, as the command line takes it; told, and not part of the question.

    Raises:
        RequestError: the folder is another question's, or the question does not fit the data.
    """
    classes = classes_of(data.labels, labels)
    check_labels(question, data, classes, labels)
    asked = manifest(question, data, labels, identity, size)
    files.begin(out, {**asked, "origin": dict(origin or {})}, resume)
    done, total = files.done(out), len(data.items)
    starts = range(0, total, size)
    missing = {at: range(start, min(start + size, total)) for at, start in enumerate(starts) if at not in done}
    finished = total - sum(map(len, missing.values()))
    loading = Loading(data.items, preprocessing, classes)
    costs.keep(question, loading, out)
    with closing(over(question, loading, missing, workers)) as found:  # on an error too, workers end at once
        for number, records in found:
            files.keep(out, number, records)
            finished += len(missing[number])
            if progress:
                progress(finished, total)


def loads(loading: Loading, batches: Iterable[range], workers: int) -> Iterator[list[Sample | Broken]]:
    """The images of batches, loaded ahead by workers."""
    loader: Any = DataLoader(
        loading,  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,  # a fork of a process with threads may hang
        collate_fn=list,
        generator=torch.Generator(),  # its own, so that the caller's draws go on as if nothing had been loaded
    )
    return iter(loader)


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
