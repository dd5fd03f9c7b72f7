"""Boxes and masks that people drew, from a COCO file or a folder in Pascal VOC's form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

from camzoo import images
from camzoo.boxes import Box
from camzoo.errors import RequestError
from camzoo.evaluation.data import Item, printable

NOTHING = -1
"""The category of a photo without an object."""


def coco(path: Path, photos: Path) -> list[Item]:
    """An item for each photo and each category in it, named by its file and, where it has several, the category.

    A crowd is no single object and has no box, as in COCO's own evaluation; but its pixels are of its category, and so
    of the mask. A photo without any is an item without a label. Masks are drawn from polygons or from run lengths,
    compressed or not.

    Args:
        path: the annotations.
        photos: the folder of the photos.

    Raises:
        RequestError: the file is no COCO annotation, or none of its photos is there.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        names = {NOTHING: ""} | {each["id"]: str(each["name"]) for each in told["categories"]}
        objects: dict[int, dict[int, list[Mapping[str, Any]]]] = {each["id"]: {} for each in told["images"]}
        for each in told["annotations"]:
            objects[each["image_id"]].setdefault(each["category_id"], []).append(each)
        items = [
            _coco_item(photo, photos, names[category], own, len(objects[photo["id"]]) > 1)
            for photo in told["images"]
            for category, own in (objects[photo["id"]] or {NOTHING: []}).items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else error
        raise RequestError(f"{path} is no COCO annotation: {said}") from None
    if items and not any((photos / str(photo["file_name"])).exists() for photo in told["images"]):
        raise RequestError(f"{path} names no photo that exists: say with --photos where they are, not in {photos}")
    return items


def _coco_item(
    photo: Mapping[str, Any], photos: Path, label: str, own: Sequence[Mapping[str, Any]], many: bool
) -> Item:
    size = (int(photo["width"]), int(photo["height"]))
    single = [each for each in own if not each.get("iscrowd")]
    boxes = tuple(Box(x, y, x + w, y + h) for x, y, w, h in (map(float, each["bbox"]) for each in single))
    shapes = [each.get("segmentation") for each in own]
    readable = bool(shapes) and all(
        isinstance(each, list) or (isinstance(each, Mapping) and isinstance(each.get("counts"), list | str))
        for each in shapes
    )
    name = str(photo["file_name"])
    return Item(
        name=printable(f"{name} ({label})" if many else name),
        read=partial(images.read, photos / name),
        label=label or None,
        boxes=boxes,
        mask=partial(_drawn, shapes, size) if readable else None,
        size=size,
    )


def _drawn(shapes: Sequence[Any], size: tuple[int, int]) -> Image.Image:
    """Polygons and run lengths as one mask."""
    mask = Image.new("L", size)
    pen = ImageDraw.Draw(mask)
    for shape in shapes:
        if isinstance(shape, list):
            for polygon in shape:
                pen.polygon([float(each) for each in polygon], fill=255)
        else:
            mask.paste(255, mask=_run_lengths(shape["counts"], size))
    return mask


def _run_lengths(counts: Sequence[int] | str, size: tuple[int, int]) -> Image.Image:
    """Lengths of runs down the columns, the first of zeros.

    Raises:
        RequestError: they do not fill the photo.
    """
    lengths = _decompressed(counts) if isinstance(counts, str) else list(counts)
    if min(lengths, default=0) < 0 or sum(lengths) != size[0] * size[1]:
        raise RequestError(f"the run lengths of a mask do not fill {size[0]}x{size[1]} pixels")
    values = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(np.uint8) * 255
    return Image.fromarray(np.ascontiguousarray(values.reshape(size).T))


def _decompressed(text: str) -> list[int]:
    """Run lengths from COCO's text form.

    A character minus 48 has six bits: five of a number, the lowest first, and one, 32, that says whether it goes on; in
    its last character 16 is the sign, as in two's complement. From the fourth number on it is the difference to the
    one two places before, since runs of one kind are about as long.

    Raises:
        RequestError: it is no such text.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise RequestError(f"the run lengths of a mask have {character!r} in them, which no number is written with")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise RequestError("the run lengths of a mask break off within a number")
    return lengths


def voc(folder: Path) -> list[Item]:
    """An item for each photo and each class in it; its mask where the photo has one and only objects of that class.

    Objects that are marked as difficult count, as others do.

    Args:
        folder: with `Annotations` and `JPEGImages`.

    Raises:
        RequestError: an annotation cannot be read.
    """
    return [item for path in sorted((folder / "Annotations").glob("*.xml")) for item in _voc_items(folder, path)]


def _voc_items(folder: Path, path: Path) -> list[Item]:
    try:
        text = path.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:  # a few lines of these can fill any memory
            raise ValueError("it declares entities, which no annotation needs")
        told = ElementTree.fromstring(text)
        name = _text(told, "filename")
        size = (int(_text(told, "size/width")), int(_text(told, "size/height")))
        found: dict[str, list[Box]] = {}
        for each in told.findall("object"):
            left, top, right, bottom = (
                float(_text(each, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax")
            )
            found.setdefault(_text(each, "name"), []).append(Box(left - 1, top - 1, right, bottom))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise RequestError(f"{path} is no Pascal VOC annotation: {error}") from None
    drawn = folder / "SegmentationClass" / f"{path.stem}.png"
    mask = partial(_segmented, drawn) if len(found) == 1 and drawn.exists() else None
    return [
        Item(
            name=printable(f"{name} ({label})" if len(found) > 1 else name),
            read=partial(images.read, folder / "JPEGImages" / name),
            label=label,
            boxes=tuple(boxes),
            mask=mask,
            size=size,
        )
        for label, boxes in found.items()
    ] or [Item(printable(name), partial(images.read, folder / "JPEGImages" / name), size=size)]


def _segmented(path: Path) -> Image.Image:
    """Where a palette picture shows an object: neither background, 0, nor border, 255."""
    with Image.open(path) as picture:
        values = np.asarray(picture)
    return Image.fromarray(((values > 0) & (values < 255)).astype(np.uint8) * 255)


def _text(node: ElementTree.Element, path: str) -> str:
    found = node.findtext(path)
    if found is None or not found.strip():
        raise ValueError(f"there is no {path} in it")
    return found.strip()
