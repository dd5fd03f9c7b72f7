"""An item as the model sees it: the photo as a tensor, and what people said of it in the pixels of that view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from camzoo import models
from camzoo.boxes import Box
from camzoo.errors import RequestError, one_line
from camzoo.evaluation.data import Item
from camzoo.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image, ready for the model.

    Attributes:
        number: of the item in its data set.
        name: of the item.
        label: the class in the words of the data set, or None.
        truth: that class at the model, None where the model does not have it or nothing is said.
        image: `(C, H, W)`.
        boxes: what of them is in view.
        mask: `(H, W)`, or None where there is none.
    """

    number: int
    name: str
    label: str | None
    truth: int | None
    image: torch.Tensor
    boxes: tuple[Box, ...] = ()
    mask: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """An image that cannot be read, and why."""

    number: int
    name: str
    label: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Loading:
    """The items as samples, for a DataLoader: what is wrong with one is told, and never raised.

    Attributes:
        items: of the data set.
        preprocessing: of the model.
        classes: the model's class for each label of the data set.
    """

    items: Sequence[Item]
    preprocessing: Preprocessing
    classes: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Sample | Broken:
        item = self.items[number]
        try:
            return self._sample(number, item)
        except Exception as error:  # one bad image is a row, not the end of the run
            return Broken(number, item.name, item.label, one_line(error))

    def _sample(self, number: int, item: Item) -> Sample:
        truth = None if item.label is None else self.classes.get(item.label)
        photo = item.read()
        mask = None if item.mask is None else item.mask()
        if isinstance(photo, torch.Tensor):
            seen = None if mask is None else torch.from_numpy(np.array(mask.convert("L")) > 0)
            return Sample(number, item.name, item.label, truth, photo, item.boxes, seen)
        if item.size and item.size != photo.size:
            raise RequestError(f"the annotation is of {_shape(item.size)} pixels, the photo has {_shape(photo.size)}")
        if mask is not None and mask.size != photo.size:
            raise RequestError(f"the mask has {_shape(mask.size)} pixels, the photo {_shape(photo.size)}")
        image = self.preprocessing.tensor(self.preprocessing.view(photo))[0]
        boxes = in_view(item.boxes, photo, self.preprocessing)
        seen = None if mask is None else mask_in_view(mask, self.preprocessing)
        return Sample(number, item.name, item.label, truth, image, boxes, seen)


def in_view(boxes: Sequence[Box], photo: Image.Image, preprocessing: Preprocessing) -> tuple[Box, ...]:
    """Boxes in the pixels of the view; what is cut off by it is left out.

    Args:
        boxes: in the pixels of the photo.
        photo: of which only the size is read.
        preprocessing: how the view is made.
    """
    height, width = preprocessing.image_size
    scaled_height, scaled_width = preprocessing._scaled(photo)
    across, down = scaled_width / photo.width, scaled_height / photo.height
    left, top = round((scaled_width - width) / 2), round((scaled_height - height) / 2)  # as the view is cut out
    seen = (
        Box(
            max(0, box.left * across - left),
            max(0, box.top * down - top),
            min(width, box.right * across - left),
            min(height, box.bottom * down - top),
        )
        for box in boxes
    )
    return tuple(box for box in seen if box.right > box.left and box.bottom > box.top)


def mask_in_view(mask: Image.Image, preprocessing: Preprocessing) -> torch.Tensor:
    """A mask `(H, W)` in the pixels of the view, each taking the nearest of the photo's."""
    nearest = replace(preprocessing, mean=(0.0,), std=(1.0,), interpolation="nearest")
    return torch.from_numpy(np.array(nearest.view(mask.convert("L"))) > 0)


def classes_of(labels: Sequence[str], known: tuple[str, ...]) -> dict[str, int]:
    """The model's class for each label of a data set: by its name, by its index, or by their order.

    As many labels as the model has classes, of which it knows none, are its classes in sorted order: so folders named
    by a code are read everywhere.

    Args:
        labels: of the data set.
        known: the model's own.
    """
    found = {}
    for label in labels:
        try:
            found[label] = models.class_index(label, known)
        except RequestError:
            continue
    if not found and len(set(labels)) == len(known):
        return {label: index for index, label in enumerate(sorted(set(labels)))}
    return found


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
