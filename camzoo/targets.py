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


def class_indices(target: Target, outputs: torch.Tensor) -> torch.Tensor | None:
    """The class of each image `(N,)`, on the device, where the target is the logit of one; else None."""
    if isinstance(target, TopClass):
        return target.indices(outputs)
    return torch.tensor(target.classes, device=outputs.device) if isinstance(target, ClassLogit) else None


def row_of(target: Target, image: int) -> Target:
    """The target of one image of a batch, for any number of rows; a callable means all rows alike."""
    if isinstance(target, LinearScore):
        return LinearScore(target.slopes[image : image + 1])
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


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """The softmax probability of a class: `S_n = softmax(y_n)_c`, in 0..1.

    Attributes:
        index: the class `c`, the same for every image.
    """

    index: int

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`."""
        return ClassLogit((self.index,))(torch.softmax(outputs, 1))

    def __str__(self) -> str:
        return f"probability of class {self.index}"


@dataclass(frozen=True, slots=True)
class Contrast:
    """Why one class rather than another: `S_n = y_nc - y_nd`.

    Attributes:
        index: the class `c`.
        against: the class `d`.
    """

    index: int
    against: int

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`."""
        return ClassLogit((self.index,))(outputs) - ClassLogit((self.against,))(outputs)

    def __str__(self) -> str:
        return f"logit of class {self.index} less that of class {self.against}"


@dataclass(frozen=True, slots=True)
class SeveralClasses:
    """Several classes at once: `S_n = sum_c y_nc`.

    Attributes:
        indices: the classes.
    """

    indices: tuple[int, ...]

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`."""
        return torch.stack([ClassLogit((index,))(outputs) for index in self.indices]).sum(0)

    def __str__(self) -> str:
        return f"sum of the logits of classes {', '.join(map(str, self.indices))}"


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A class within a mask, for models that score every pixel: `S_n = sum_ij m_ij y_ncij`.

    Attributes:
        index: the class `c`.
        mask: `m (H, W)`, the pixels that count; None for those where the class is the top one.
    """

    index: int
    mask: torch.Tensor | None = None

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`, of outputs `(N, classes, H, W)`.

        Raises:
            RequestError: the outputs are not of that form, or the mask does not fit them.
        """
        if outputs.ndim != 4:
            raise RequestError(f"segmentation needs outputs (N, classes, H, W), the model gives {tuple(outputs.shape)}")
        if not 0 <= self.index < outputs.shape[1]:
            raise RequestError(f"class {self.index} is out of range: the model has {outputs.shape[1]} classes")
        mask = outputs.argmax(1) == self.index if self.mask is None else self.mask.to(outputs.device)
        if self.mask is not None and mask.shape != outputs.shape[-2:]:
            raise RequestError(f"the mask is {tuple(mask.shape)}, the outputs are {tuple(outputs.shape)}")
        return (outputs[:, self.index] * mask).sum((1, 2))

    def __str__(self) -> str:
        return f"logits of class {self.index} within {'its own pixels' if self.mask is None else 'a mask'}"


@dataclass(frozen=True, slots=True)
class Output:
    """One raw output, for regression: `S_n = y_n[place]`.

    Attributes:
        place: index into the outputs of one image; empty where the model gives one number.
    """

    place: tuple[int, ...] = ()

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`.

        Raises:
            RequestError: there is no such output, or it is more than one number.
        """
        try:
            picked: tuple[slice | int, ...] = (slice(None), *self.place)
            scores = outputs[picked]
        except IndexError:
            raise RequestError(f"there is no output {self.place} in {tuple(outputs.shape)}") from None
        if scores.numel() != len(outputs):
            raise RequestError(f"output {self.place} of {tuple(outputs.shape)} is more than one number an image")
        return scores.reshape(len(outputs))

    def __str__(self) -> str:
        return f"output {', '.join(map(str, self.place))}".strip()


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """How like a reference an embedding is: the cosine `S_n = <y_n, r> / (|y_n| |r|)`, in -1..1.

    Attributes:
        reference: the embedding `r (D,)`.
    """

    reference: torch.Tensor

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores `(N,)`, of embeddings `(N, D)`."""
        return torch.nn.functional.cosine_similarity(outputs, self.reference.to(outputs)[None], dim=1)

    def __str__(self) -> str:
        return "cosine similarity to a reference"


@dataclass(frozen=True, slots=True)
class Detection:
    """The score of the detection that best matches a box, weighted by how well: `max over d of IoU(d) * score_d`.

    For models that give, for each image, a mapping with `boxes (D, 4)` as `x0, y0, x1, y1`, `scores (D,)` and
    `labels (D,)`, as torchvision's do. It is an output selector: `explain(detector, images, output=Detection(box),
    target=Output())`. The match is found without a derivative; the score carries one. An image without a detection of
    the class has score 0, and so an empty map.

    Attributes:
        box: `x0, y0, x1, y1` in pixels.
        label: the class that counts; None for any.
    """

    box: tuple[float, float, float, float]
    label: int | None = None

    def __call__(self, outputs: Sequence[Mapping[str, torch.Tensor]]) -> torch.Tensor:
        """The scores `(N,)`."""
        return torch.stack([self._best(found) for found in outputs])

    def _best(self, found: Mapping[str, torch.Tensor]) -> torch.Tensor:
        overlap = _iou(found["boxes"].detach(), found["boxes"].new_tensor(self.box))
        if self.label is not None:
            overlap = overlap * (found["labels"] == self.label)
        matches = overlap * found["scores"].detach()
        if matches.numel() == 0 or not bool(matches.max() > 0):
            return found["scores"].sum() * 0
        best = int(matches.argmax())
        return overlap[best] * found["scores"][best]


def _iou(boxes: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes `(D, 4)` with one box."""
    low, high = torch.maximum(boxes[:, :2], box[:2]), torch.minimum(boxes[:, 2:], box[2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared)
