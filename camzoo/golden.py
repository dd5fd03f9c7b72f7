"""Golden maps: a Study that is kept, and what has changed since, so that an upgrade cannot change them unnoticed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camzoo import degenerate, store
from camzoo.errors import RequestError
from camzoo.study import Cell, Study
from camzoo.types import Status

FILE = "golden.json"
TOLERANCE = 1e-3
"""Of a map's largest value. The same float32 sums on another processor or thread count move a map by some 1e-5."""


@dataclass(frozen=True, slots=True)
class Question:
    """How to ask again what a golden folder holds the answer to.

    Attributes:
        model: as `--model` takes it.
        weights: as `--weights` takes it.
        seed: of every random number.
        layer: dotted name.
        methods: computations, `gradcam` or `gradcam@captum`.
        classes: of each image, those that are explained.
    """

    model: str | None
    weights: str | None
    seed: int
    layer: str
    methods: tuple[str, ...]
    classes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One map that is not what it was.

    Attributes:
        row: index into the Study's rows.
        name: `method@backend`.
        reason: what changed, in words.
        error: the largest absolute difference over the largest absolute golden value, where both are maps.
        golden: what was kept.
        now: what there is.
    """

    row: int
    name: str
    reason: str
    error: float | None
    golden: Cell = field(repr=False)
    now: Cell = field(repr=False)


def save(study: Study, model: str | None, weights: str | None, folder: Path, overwrite: bool = False) -> list[Path]:
    """Keeps a Study, with how to ask the same again.

    Args:
        study: of class logits; the pictures in it are what the model saw, and are kept without loss.
        model: as `--model` took it.
        weights: as `--weights` took it.
        folder: where to.
        overwrite: whether earlier golden maps in it may be replaced.

    Raises:
        RequestError: the folder cannot be written or holds a run already, or a map is missing.
    """
    if missing := [str(cell.computation) for cell in study.cells if cell.status is not Status.OK]:
        raise RequestError(f"not golden: {', '.join(dict.fromkeys(missing))} gave no map; leave it out with --methods")
    if len({(row.model, row.layer) for row in study.rows}) > 1:
        raise RequestError(f"golden maps are of one model and layer, not of {study.subject}")
    classes: dict[int, list[int]] = {}
    for row in study.rows:
        if row.class_index is None:
            raise RequestError(f"golden maps explain classes, not {row.target}")
        classes.setdefault(row.image, []).append(row.class_index)
    question = Question(
        model=model,
        weights=weights,
        seed=study.seed,
        layer=study.layer,
        methods=tuple(str(computation) for computation in study.computations),
        classes=tuple(tuple(wanted) for wanted in classes.values()),
    )
    files = study.save(folder, overwrite)
    (folder / FILE).write_text(json.dumps(asdict(question), indent=1) + "\n", encoding="utf-8")
    return [folder / FILE, *files]


def load(folder: Path) -> tuple[Study, Question]:
    """The golden maps in a folder, and the question they answer.

    Raises:
        RequestError: there are none, or they are damaged.
    """
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        told |= {"methods": tuple(told["methods"]), "classes": tuple(map(tuple, told["classes"]))}
        question = Question(**told)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RequestError(
            f"{folder} holds no golden maps: {error}; camzoo check --save {folder} makes them"
        ) from error
    return store.load(folder), question


def changes(golden: Study, now: Study, tolerance: float = TOLERANCE) -> list[Change]:
    """The maps that are not what they were.

    Args:
        golden: what was kept.
        now: the same question, answered again.
        tolerance: how far a map may be away, of its largest golden value.

    Raises:
        RequestError: the two do not answer the same question.
    """
    if _asked(golden) != _asked(now):
        raise RequestError("the golden maps are of other images, classes or methods than these: save them anew")
    found = (_change(old, new, tolerance) for old, new in zip(golden.cells, now.cells, strict=True))
    return [change for change in found if change]


def views(study: Study, colours: int = 3) -> list[tuple[str, Image.Image]]:
    """What the model saw of each image, in 1 or 3 colours, with its name."""
    names = {row.image: row.name for row in study.rows}
    seen = [Image.fromarray(picture).convert("L" if colours == 1 else "RGB") for picture in study.pictures]
    return [(names[number], view) for number, view in enumerate(seen)]


def _asked(study: Study) -> list[Any]:
    return [(study.rows[c.row].image, study.rows[c.row].class_index, str(c.computation)) for c in study.cells]


def _change(golden: Cell, now: Cell, tolerance: float) -> Change | None:
    def changed(reason: str, error: float | None = None) -> Change:
        return Change(golden.row, str(golden.computation), reason, error, golden, now)

    if golden.heatmap is None or now.heatmap is None:
        return changed(f"{now.status}: {now.reason}")
    old, new = degenerate.as_numpy(golden.heatmap.values), degenerate.as_numpy(now.heatmap.values)
    if golden.heatmap.stage != now.heatmap.stage:
        return changed(f"given {now.heatmap.stage}, was {golden.heatmap.stage}")
    if old.shape != new.shape:
        return changed(f"a grid of {_size(new.shape)}, was {_size(old.shape)}")
    if np.array_equal(old, new, equal_nan=True):
        return None
    scale = np.abs(old).max()
    error = float(np.abs(new - old).max() / scale) if scale else float("inf")
    # Written so that NaN is a change.
    return None if error <= tolerance else changed(f"away by {error:.2g} of its largest value", error)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape[1:]))
