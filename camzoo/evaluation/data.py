"""A data set: a list of items whose photos are read when they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from camzoo.boxes import Box
from camzoo.errors import RequestError
from camzoo.noise import generator

NEEDS_ARROW = "pip install 'camzoo[evaluate]'"


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a data set, and what people said of it.

    Attributes:
        name: unique in its data set.
        read: gives the photo, or the tensor `(C, H, W)` that the model takes; raises what is wrong with it.
        label: the class in the words of the data set, or None.
        boxes: of the object, in the pixels of the photo.
        mask: gives the object's pixels as a grey picture of the photo's size, zero outside; or None.
        size: `(width, height)` that the annotation was made for, or None.
    """

    name: str
    read: Callable[[], Any] = field(repr=False)
    label: str | None = None
    boxes: tuple[Box, ...] = ()
    mask: Callable[[], Image.Image] | None = field(default=None, repr=False)
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """A data set.

    Attributes:
        name: for titles.
        kind: what it was read as, in words.
        items: in a fixed order.
    """

    name: str
    kind: str
    items: Sequence[Item] = field(repr=False)

    @property
    def labels(self) -> list[str]:
        """Every label, once."""
        return sorted({item.label for item in self.items if item.label is not None})

    def limited(self, count: int | None, seed: int = 0) -> Data:
        """So many items, drawn by a seed and left in their order: the first ones would all be of one class."""
        if count is None or count >= len(self.items):
            return self
        drawn = np.sort(generator(seed).permutation(len(self.items))[:count])
        return Data(self.name, self.kind, [self.items[index] for index in drawn])

    def listing(self) -> str:
        """A hash of every name, label and box: what says that two data sets are the same without reading photos."""
        found = hashlib.sha256()
        for item in self.items:
            found.update(f"{item.name}\0{item.label}\0{item.boxes}\0{item.mask is not None}\n".encode())
        return found.hexdigest()


def printable(name: str) -> str:
    """A name as every file can hold it: what is no Unicode in it is written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def of_dataset(dataset: Any, name: str = "dataset") -> Data:
    """A torch Dataset.

    Args:
        dataset: with a length, whose entries are a picture or the tensor `(C, H, W)` that the model takes, alone or
            first in a pair with its label, or a mapping with `image` and, where known, `label`, `boxes` (a list of
            `left, top, right, bottom`) and `mask` (a picture). Labels and boxes of a mapping or pair are read once.
        name: for titles.

    Raises:
        RequestError: it is empty.
    """
    items = [_entry(dataset, index) for index in range(len(dataset))]
    if not items:
        raise RequestError(f"{name} is empty: there is nothing to evaluate on")
    return Data(name, "torch Dataset", items)


def _entry(dataset: Any, index: int) -> Item:
    try:
        entry = _parts(dataset[index])
    except Exception:  # what cannot be read is told when it is its turn
        entry = {}
    label = entry.get("label")
    mask = partial(_mask_of, dataset, index) if entry.get("mask") is not None else None
    boxes = tuple(Box(*map(float, box)) for box in entry.get("boxes", ()))
    return Item(str(index), partial(_image_of, dataset, index), None if label is None else str(label), boxes, mask)


def _parts(entry: Any) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, tuple | list):
        label: Any = entry[1] if len(entry) > 1 else None
        return {"image": entry[0], "label": label.item() if hasattr(label, "item") else label}
    return {"image": entry}


def _image_of(dataset: Any, index: int) -> Any:
    return _parts(dataset[index])["image"]


def _mask_of(dataset: Any, index: int) -> Image.Image:
    mask: Image.Image = _parts(dataset[index])["mask"]
    return mask
