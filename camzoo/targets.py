"""What is explained: a score for each image, as a function of the model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch

from camzoo.errors import RequestError
from camzoo.types import Target


def select(outputs: Any) -> torch.Tensor:
    """The tensor of scores in what a model returns.

    Takes a tensor, an object or mapping with `logits` or `out`, or the first entry of a tuple.

    Raises:
        RequestError: there is none.
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    for name in ("logits", "out"):
        if isinstance(outputs, Mapping) and name in outputs:
            return select(outputs[name])
        if hasattr(outputs, name):
            return select(getattr(outputs, name))
    if isinstance(outputs, tuple | list) and outputs:
        return select(outputs[0])
    raise RequestError(f"the model returns {type(outputs).__name__}, in which there is no tensor of scores")


def explained(target: Target, outputs: torch.Tensor, count: int) -> torch.Tensor:
    """The scores `(N,)` that a target gives for the outputs of `N = count` images.

    Raises:
        RequestError: it gives something else, so that images would be mixed up or left out.
    """
    scores = target(outputs)
    if not isinstance(scores, torch.Tensor) or scores.shape != (count,):
        found = tuple(scores.shape) if isinstance(scores, torch.Tensor) else f"a {type(scores).__name__}"
        raise RequestError(f"a target gives one score for each image, ({count},); {target} gives {found}")
    return scores


def settled(target: Target, outputs: torch.Tensor) -> Target:
    """The same target with its class decided: altered images are scored at the class of the unaltered ones."""
    return ClassLogit(tuple(target.indices(outputs).tolist())) if isinstance(target, TopClass) else target


def row_of(target: Target, image: int) -> Target:
    """The target of one image of a batch, for any number of rows; a callable means all rows alike."""
    return ClassLogit((target.classes[image],)) if isinstance(target, ClassLogit) else target


def check_scores(outputs: torch.Tensor) -> None:
    """Refuses outputs that are not one row of class scores for each image.

    Raises:
        RequestError: they are not `(N, classes)`.
    """
    if outputs.ndim != 2:
        raise RequestError(
            f"the model gives {tuple(outputs.shape)}, not (N, classes): a class cannot be picked from that; "
            "pass a callable target"
        )


@dataclass(frozen=True, slots=True)
class ClassLogit:
    """The logit of one class for each image: `S_n = outputs[n, classes[n]]`.

    Attributes:
        classes: one class index for each image.
    """

    classes: tuple[int, ...]

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`.

        Raises:
            RequestError: a class is out of range, or the outputs are not `(N, classes)`.
        """
        check_scores(outputs)
        count = outputs.shape[1]
        for index in self.classes:
            if not 0 <= index < count:
                raise RequestError(f"class {index} is out of range: the model has {count} classes, 0 to {count - 1}")
        if len(set(self.classes)) == 1:  # one class stands for any number of rows
            return outputs[:, self.classes[0]]
        rows = torch.tensor(self.classes, device=outputs.device)
        return outputs.gather(1, rows[:, None])[:, 0]

    def __str__(self) -> str:
        shown = sorted(set(self.classes))
        return f"logit of class {', '.join(map(str, shown))}"


@dataclass(frozen=True, slots=True)
class TopClass:
    """The logit of each image's class of a given rank, 0 being the top one; read from the same forward pass."""

    rank: int = 0

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`."""
        return outputs.gather(1, self.indices(outputs)[:, None])[:, 0]

    def indices(self, outputs: torch.Tensor) -> torch.Tensor:
        """The classes `(N,)`, on the device."""
        check_scores(outputs)
        if not 0 <= self.rank < outputs.shape[1]:
            raise RequestError(f"rank {self.rank} is out of range: the model has {outputs.shape[1]} classes")
        return outputs.topk(self.rank + 1, dim=1).indices[:, -1]

    def __str__(self) -> str:
        return "logit of the top class" if self.rank == 0 else f"logit of the class ranked {self.rank + 1}"


@dataclass(frozen=True, slots=True, eq=False)
class LinearScore:
    """A fixed linear function of the outputs: `S_n = sum_j slopes_nj y_nj`.

    Attributes:
        slopes: `(N, classes)`.
    """

    slopes: torch.Tensor

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`."""
        check_scores(outputs)
        return (outputs * self.slopes).sum(1)

    def __str__(self) -> str:
        return "linear function of the logits"


def rounds(target: object, count: int) -> list[Target]:
    """The targets of a comparison, one round after the other; each round has one target for each image.

    Args:
        target: as for `resolve`; also "top3" for the three top classes, or a nested list with as many classes for
            each image, `[[281, 282], [285, 287]]`.
        count: the number of images `N`.

    Raises:
        RequestError: the form is none of these, or the numbers do not fit.
    """
    if isinstance(target, str) and target.lower().startswith("top") and target[3:].isdigit() and int(target[3:]) > 0:
        return [TopClass(rank) for rank in range(int(target[3:]))]
    if isinstance(target, Sequence) and target and all(isinstance(entry, list | tuple) for entry in target):
        if len(target) != count or len({len(entry) for entry in target}) != 1 or not target[0]:
            raise RequestError(f"a nested list of targets has one list for each of the {count} images, all as long")
        return [resolve(list(each), count) for each in zip(*target, strict=True)]
    return [resolve(target, count)]


def resolve(target: object, count: int) -> Target:
    """The Target meant by what a caller wrote.

    Args:
        target: None (the top class), an int, one int for each image as a sequence or tensor, or a callable.
        count: the number of images `N`.

    Raises:
        RequestError: the form is none of these, or the number of targets is not `N`.
    """
    if target is None:
        return TopClass()
    if isinstance(target, torch.Tensor | np.ndarray | np.generic):
        target = target.tolist()
    if isinstance(target, Target):
        return target
    if _is_index(target):
        return ClassLogit((int(target),) * count)  # type: ignore[call-overload]
    if isinstance(target, Sequence) and not isinstance(target, str):
        if not all(_is_index(entry) for entry in target):
            raise RequestError("a list of targets holds one class index for each image")
        if len(target) != count:
            raise RequestError(
                f"{len(target)} targets for {count} image{'s'[: count != 1]}: give one for each image; "
                "compare() takes several for one image as a nested list, [[281, 282]]"
            )
        return ClassLogit(tuple(int(entry) for entry in target))
    raise RequestError(f"a target is None, a class index, one index for each image or a callable, not {target!r}")


def _is_index(entry: object) -> bool:
    return isinstance(entry, Integral) and not isinstance(entry, bool)
