"""Data sets of every kind: which items they give, what a view makes of their boxes, and one line for each bad input."""

from __future__ import annotations

import json

import drawings
import numpy as np
import pytest
import torch
from conftest import require
from PIL import Image

from camzoo.boxes import Box
from camzoo.errors import RequestError
from camzoo.evaluation import annotated, data, opening, samples
from camzoo.metrics import box_masks
from camzoo.preprocessing import Preprocessing


def photo(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)


def refused(path, photos=None) -> str:
    with pytest.raises(RequestError) as error:
        opening.open_data(path, photos)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- folders


def test_a_folder_of_photos(tmp_path):
    for name in ("b.png", "a.jpg", ".hidden.png"):
        photo(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo")
    found = opening.open_data(tmp_path)
    assert [item.name for item in found.items] == ["a.jpg", "b.png"]
    assert found.labels == []
    assert found.items[0].read().size == (40, 30)


def test_a_folder_for_each_class(tmp_path):
    found = opening.open_data(drawings.as_folders(tmp_path / "set", 6))
    assert [(item.name, item.label) for item in found.items][:3] == [
        ("cross/000.png", "cross"),
        ("cross/003.png", "cross"),
        ("disc/001.png", "disc"),
    ]
    assert found.labels == ["cross", "disc", "square"]


def test_a_folder_of_both_kinds_is_refused(tmp_path):
    photo(tmp_path / "a.png")
    photo(tmp_path / "cat" / "b.png")
    assert "photos beside folders" in refused(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    assert "no photo is in it" in refused(tmp_path)
    (tmp_path / "class").mkdir()
    assert "no photo is in it" in refused(tmp_path)


def test_what_is_not_there_is_refused(tmp_path):
    assert "does not exist" in refused(tmp_path / "none")
    (tmp_path / "a.txt").write_text("")
    assert "is no data set" in refused(tmp_path / "a.txt")


def test_a_name_that_is_no_unicode_is_written_out():
    assert data.printable("a\udcff.png") == "a\\udcff.png"


# ---- tables


def test_a_csv(tmp_path):
    photo(tmp_path / "a.png")
    lines = ["path,label,box", "a.png,cat,1 2 11 12", "a.png,cat,0 0 5 5; 5 5 9 9", "a.png,dog,"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    cat, dog = opening.open_data(tmp_path / "t.csv").items
    assert (cat.name, cat.boxes) == ("a.png (cat)", (Box(1, 2, 11, 12), Box(0, 0, 5, 5), Box(5, 5, 9, 9)))
    assert (dog.name, dog.boxes) == ("a.png (dog)", ())


def test_a_parquet_table(tmp_path):
    pa = require("pyarrow")
    parquet = require("pyarrow.parquet")
    photo(tmp_path / "photos" / "a.png")
    rows = {"path": ["a.png", "b.png"], "label": [3, None], "box": [[1.0, 2.0, 3.0, 4.0], None]}
    parquet.write_table(pa.table(rows), tmp_path / "t.parquet")
    first, second = opening.open_data(tmp_path / "t.parquet", tmp_path / "photos").items
    assert (first.label, first.boxes) == ("3", (Box(1, 2, 3, 4),))
    assert (second.label, second.boxes) == (None, ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no column 'path'"),
        ("file,label\na.png,cat", "has no column 'path'"),
        ("path,lable\na.png,cat", "did you mean label"),
        ("path,label\na.png", "row 1"),
        ("path,label\na.png,cat,dog", "row 1"),
        ("path,box\na.png,1 2 3", "is no box"),
        ("path,box\na.png,9 9 3 3", "is no box"),
        ("path,box\na.png,nan 0 3 3", "is no box"),
        ("path\nb.png", "names no photo that exists"),
        ("path\n", "no photo is in it"),
        ("\x00\xff", "has no column 'path'"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, why):
    photo(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(text)
    assert why in refused(tmp_path / "t.csv")


def test_a_file_that_is_no_table_is_refused(tmp_path):
    require("pyarrow")
    for name, why in (("t.parquet", "as Parquet"), ("t.csv", "as CSV"), ("t.json", "no COCO annotation")):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00nothing")
        assert why in refused(tmp_path / name)


# ---- annotations


@pytest.fixture
def coco(tmp_path):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.jpg")
    told = {
        "images": [{"id": at, "file_name": f"{name}.jpg", "width": 40, "height": 30} for at, name in enumerate("ab")],
        "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": [
            {"image_id": 0, "category_id": 7, "bbox": [2, 3, 10, 5], "segmentation": [[2, 3, 11, 3, 11, 7, 2, 7]]},
            {
                "image_id": 0,
                "category_id": 8,
                "bbox": [0, 0, 4, 4],
                "segmentation": {"counts": "", "size": [30, 40]},
            },
            {"image_id": 0, "category_id": 8, "bbox": [9, 9, 4, 4], "iscrowd": 1},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(told))
    return tmp_path / "coco.json"


def test_coco(coco):
    cat, dog, none = opening.open_data(coco).items
    assert (cat.name, cat.boxes) == ("a.jpg (cat)", (Box(2, 3, 12, 8),))
    assert (dog.boxes, dog.mask) == ((Box(0, 0, 4, 4),), None)  # the crowd has no outline
    assert (none.name, none.label, none.boxes) == ("b.jpg", None, ())
    mask = np.asarray(cat.mask())
    assert mask.shape == (30, 40)
    assert (mask[3:8, 2:12] == 255).all()
    assert mask.sum() == 255 * 50


def test_coco_run_lengths(coco):
    told = json.loads(coco.read_text())
    told["annotations"][0]["segmentation"] = {"counts": [30 * 2 + 3, 5, 30 * 38 - 8], "size": [30, 40]}
    coco.write_text(json.dumps(told))
    mask = np.asarray(opening.open_data(coco).items[0].mask())
    assert sorted(set(np.flatnonzero(mask.any(0)))) == [2]
    assert sorted(set(np.flatnonzero(mask.any(1)))) == [3, 4, 5, 6, 7]


COMPRESSED = "o15i0000Y>>YA0b`0"
"""Pixels 3 to 7 of columns 2 to 4 and 10 to 28 of columns 20 and 21, in 30 rows and 40 columns."""


def test_numbers_of_compressed_run_lengths_by_hand():
    """63 runs on after its lowest five bits, 31; 1 follows: 31 + 32. O and o are 31 and, going on, 63."""
    assert annotated._decompressed("o1") == [31 + 32]
    assert annotated._decompressed("0?00") == [0, 15, 0, 15]  # the fourth is 15 + 0
    assert annotated._decompressed("@000") == [-16, 0, 0, 0]
    assert annotated._decompressed("51O3") == [5, 1, -1, 4]  # 3 is the difference to the 1
    assert annotated._decompressed("P1") == [32]
    assert annotated._decompressed("") == []


def with_mask(coco, *segmentations, **more):
    """The file with these as the segmentations of the first photo's cat."""
    told = json.loads(coco.read_text())
    first = told["annotations"][0]
    told["annotations"] = [first | more | {"segmentation": each} for each in segmentations]
    coco.write_text(json.dumps(told))
    return opening.open_data(coco).items[0]


def test_coco_compressed_run_lengths(coco):
    wanted = np.zeros((30, 40), dtype=bool)
    wanted[3:8, 2:5] = wanted[10:29, 20:22] = True
    item = with_mask(coco, {"counts": COMPRESSED, "size": [30, 40]})
    assert np.array_equal(np.asarray(item.mask()) > 0, wanted)
    runs = np.flatnonzero(np.diff(wanted.T.ravel(), prepend=False, append=False))
    plain = np.diff([0, *runs, wanted.size]).tolist()
    assert annotated._decompressed(COMPRESSED) == plain
    item = with_mask(coco, {"counts": COMPRESSED, "size": [30, 40]}, [[30, 3, 35, 3, 35, 7, 30, 7]])
    assert np.asarray(item.mask()).astype(bool).sum() == wanted.sum() + 6 * 5


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ("o15i0000Y>>YA0b`", "break off within a number"),
        ("o15i 000Y>>YA0b`0", "have ' ' in them"),
        ("o15i0000Y>>YA0", "do not fill 40x30"),
        ("@o1", "do not fill 40x30"),
        ("", "do not fill 40x30"),
        ([1300, -100], "do not fill 40x30"),
    ],
)
def test_run_lengths_that_are_wrong_are_told_with_their_image(coco, counts, why):
    item = with_mask(coco, {"counts": counts, "size": [30, 40]})
    assert why in samples.Loading([item], Preprocessing(8), {})[0].reason


def test_a_crowd_has_no_box_and_its_pixels_count(coco):
    """Its box is of many; its pixels are of the category. A photo with a crowd alone has a label, and no box."""
    crowd = {"counts": [30 * 20, 30 * 5, 30 * 15], "size": [30, 40]}
    told = json.loads(coco.read_text())
    cat = told["annotations"][0]
    told["annotations"] = [
        cat,
        cat | {"iscrowd": 1, "bbox": [20, 0, 5, 30], "segmentation": crowd},
        {"image_id": 1, "category_id": 8, "bbox": [20, 0, 5, 30], "iscrowd": 1, "segmentation": crowd},
    ]
    coco.write_text(json.dumps(told))
    cat, dog = opening.open_data(coco).items
    assert cat.boxes == (Box(2, 3, 12, 8),)
    assert np.asarray(cat.mask()).astype(bool).sum() == 50 + 150
    assert (dog.label, dog.boxes) == ("dog", ())
    assert np.asarray(dog.mask())[:, 20:25].all()


def test_coco_that_is_wrong(coco, tmp_path):
    assert "say with --photos" in refused(coco, tmp_path / "elsewhere")
    told = json.loads(coco.read_text())
    del told["categories"]
    coco.write_text(json.dumps(told))
    assert "no 'categories'" in refused(coco)


VOC = """<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height></size>
<object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>8</ymax></bndbox></object></annotation>
"""


def voc(folder, text):
    photo(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(text)
    return folder


def test_pascal_voc(tmp_path):
    (tmp_path / "SegmentationClass").mkdir()
    values = np.zeros((30, 40), dtype=np.uint8)
    values[3:8, 2:12], values[8, 2:12] = 5, 255
    Image.fromarray(values).save(tmp_path / "SegmentationClass" / "a.png")
    (item,) = opening.open_data(voc(tmp_path, VOC)).items
    assert (item.name, item.label, item.boxes) == ("a.jpg", "cat", (Box(2, 3, 12, 8),))
    assert np.array_equal(np.asarray(item.mask()) > 0, values == 5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<annotation>", "no Pascal VOC annotation"),
        (VOC.replace("xmin", "xman"), "there is no bndbox/xmin"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + VOC, "declares entities"),
        (VOC.replace("<width>40", "<width>wide"), "no Pascal VOC annotation"),
    ],
)
def test_a_wrong_annotation_is_refused(tmp_path, text, why):
    assert why in refused(voc(tmp_path, text))


# ---- torch


class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 2:
            raise OSError("broken")
        return Image.new("RGB", (8, 8)), torch.tensor(index)


def test_a_torch_dataset():
    found = data.of_dataset(Pairs())
    assert [item.label for item in found.items] == ["0", "1", None]
    assert found.items[0].read().size == (8, 8)
    with pytest.raises(OSError, match="broken"):
        found.items[2].read()


def test_a_torch_dataset_of_mappings():
    entry = {"image": torch.zeros(3, 4, 4), "label": "cat", "boxes": [[0, 1, 2, 3]], "mask": Image.new("L", (4, 4), 1)}
    (item,) = data.of_dataset([entry]).items
    assert (item.label, item.boxes) == ("cat", (Box(0, 1, 2, 3),))
    sample = samples.Loading([item], Preprocessing(4), {"cat": 2})[0]
    assert (sample.truth, sample.image.shape, int(sample.mask.sum())) == (2, (3, 4, 4), 16)


def test_an_empty_dataset_is_refused():
    with pytest.raises(RequestError, match="is empty"):
        data.of_dataset([])


# ---- how many, and which


def test_a_limit_draws_from_all_of_it(tmp_path):
    whole = opening.open_data(drawings.as_folders(tmp_path, 30))
    part = whole.limited(12)
    assert [item.name for item in part.items] == sorted(item.name for item in part.items)
    assert part.labels == whole.labels
    assert part.listing() == whole.limited(12).listing()
    assert part.listing() not in (whole.listing(), whole.limited(12, seed=1).listing())
    assert whole.limited(99) is whole.limited(None) is whole


# ---- as the model sees it


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (57, 91), (224, 224)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.6])
@pytest.mark.parametrize("squash", [False, True])
def test_boxes_and_masks_go_where_the_photo_goes(size, crop, squash):
    """A white box on black is where the moved box says, to a pixel of rounding at each edge."""
    seen = Preprocessing((24, 28), crop=crop, mean=(0.0,) * 3, std=(1.0,) * 3, squash=squash)
    picture, (width, height) = Image.new("RGB", size), size
    edges = (width * 3 // 10, height * 4 // 10, width * 6 // 10, height * 8 // 10)
    picture.paste("white", edges)
    (moved,) = samples.in_view((Box(*edges),), picture, seen)
    white = seen.tensor(seen.view(picture))[0, 0]
    inside = white[round(moved.top) + 2 : round(moved.bottom) - 2, round(moved.left) + 2 : round(moved.right) - 2]
    assert inside.numel()
    assert inside.min() > 0.95
    outside = torch.ones_like(white, dtype=torch.bool)
    top, left = (max(0, round(edge) - 2) for edge in (moved.top, moved.left))
    outside[top : round(moved.bottom) + 2, left : round(moved.right) + 2] = False
    assert outside.any()
    assert white[outside].max() < 0.05
    mask = samples.mask_in_view(picture.convert("L"), seen)
    (centres,) = box_masks([(moved,)], (24, 28))
    assert (mask != centres).sum() <= max(inside.shape) + 4  # one edge, where a centre is met to rounding


def test_a_box_outside_the_view_is_left_out():
    seen = Preprocessing(20, crop=0.5)
    assert samples.in_view((Box(0, 0, 5, 5),), Image.new("1", (40, 40)), seen) == ()
    assert samples.in_view((Box(0, 0, 20, 20),), Image.new("1", (40, 40)), seen) == (Box(0, 0, 10, 10),)


def test_what_is_wrong_with_an_image_is_told(tmp_path):
    photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    good, bad = opening.open_data(tmp_path).items
    other = data.Item("c", good.read, size=(30, 40))
    masked = data.Item("d", good.read, mask=lambda: Image.new("L", (3, 3)))
    loading = samples.Loading([bad, other, masked], Preprocessing(8), {})
    why = [loading[at].reason for at in range(3)]
    assert "b.png" in why[0]
    assert why[1:] == [
        "the annotation is of 30x40 pixels, the photo has 40x30",
        "the mask has 3x3 pixels, the photo 40x30",
    ]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["Cat", "dog"], {"Cat": 0, "dog": 1}),
        (["1", "0"], {"1": 1, "0": 0}),
        (["n02", "n01", "n03"], {"n01": 0, "n02": 1, "n03": 2}),
        (["n02", "n01"], {}),
        (["cat", "bird"], {"cat": 0}),
        ([], {}),
    ],
)
def test_labels_are_classes_of_the_model(labels, found):
    assert samples.classes_of(labels, ("cat", "dog", "fox")) == found
