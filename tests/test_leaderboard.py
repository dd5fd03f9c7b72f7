"""The leaderboard page as text: its numbers are those of the rows, nothing from outside is run, bytes are the same."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from functools import partial

import numpy as np
import pytest
from conftest import require
from PIL import Image
from test_report import Reader

from camzoo import cli, images, leaderboard
from camzoo.cli import report as _verb  # noqa: F401 (joins the application)
from camzoo.errors import RequestError
from camzoo.evaluation import cases, files, page, reading
from camzoo.evaluation.batch import Record
from camzoo.evaluation.data import Item
from camzoo.leaderboard import contents, scales

EVIL = "<script>alert(1)</script>"
LABELS = ("cat", EVIL, "&amp; 'dog'")
METHODS = ("gradcam", f"scorecam(top='{EVIL}')", "lime@captum", "center", "uniform")
COSTS = {METHODS[0]: 1.0031, METHODS[1]: 257.0, METHODS[2]: 12.5, "center": 1.0, "uniform": 1.0}
LEVEL = {METHODS[0]: 0.6, METHODS[1]: 0.8, METHODS[2]: 0.4, "center": 0.5}
N = 24


def name_of(image: int) -> str:
    return f"deep/{EVIL}.png" if image == 3 else f"deep/{image}.png"


def rows(image: int) -> list[Record]:
    """Image 3 is where methods disagree; Score-CAM is best and dear, LIME is worse and dearer than Grad-CAM."""
    noise, target = float(np.random.default_rng(image).normal(0, 0.05)), image % 3
    common = (name_of(image), LABELS[target], target)
    found = [
        Record(*common, "model", "", "probability", 0.75),
        Record(*common, "model", "", "correct", float(image < 18)),
        Record(*common, "chance", "", "energy", 0.25),
    ]
    for method in METHODS:
        call, _, backend = method.partition("@")
        for metric, sign in (("energy", 1), ("deletion", -1), ("entropy", 1)):
            given = (*common, call, backend or "camzoo", metric)
            if method == "uniform":
                found.append(Record(*given, None, "undefined", f"the map is {EVIL}"))
            else:
                value = 0.0 if image == 3 and method == METHODS[1] else LEVEL[method] + noise
                found.append(Record(*given, sign * value))
    return found


def saved(folder, **told):
    asked = {
        "model": f"net {EVIL}", "weights": "w" * 64, "layer": "last", "methods": list(METHODS), "target": "predicted",
        "metrics": ["energy", "deletion", "entropy"], "data": "folder of photos", "images": N + 1, "seed": 0,
    }  # fmt: skip
    manifest = {"schema_version": 1, "question": asked, "title": f"set {EVIL}", "labels": list(LABELS), "costs": COSTS}
    files.begin(folder, {**manifest, **told}, resume=False)
    bad = Record(f"bad {EVIL}", None, None, "", "", "", None, "failed", EVIL)
    files.keep(folder, 0, [bad, *(record for image in range(N) for record in rows(image))])
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Photos, and an evaluation of them beside it."""
    require("pyarrow.parquet")
    place = tmp_path_factory.mktemp("board")
    (place / "set" / "deep").mkdir(parents=True)
    for image in range(N):
        if image != 3:  # a name with a slash in it is none that a file can have
            Image.new("RGB", (40, 30), (10 * image, 80, 200)).save(place / "set" / name_of(image))
    saved(place / "run", origin={"data": str(place / "set"), "model": "resnet18", "limit": N + 1})
    return place


@pytest.fixture(scope="module")
def results(place):
    return reading.read(place / "run")


@pytest.fixture(scope="module")
def html(results):
    return leaderboard.html(results)


@pytest.fixture(scope="module")
def carried(html):
    def refuse(word):
        pytest.fail(f"{word} is no JSON")

    found = re.search(r'<script type="application/json" id="carried">(.*?)</script>', html, re.S)
    return json.loads(found[1], parse_constant=refuse)


@pytest.fixture(scope="module")
def said(results):
    return contents.said(results, [reading.ranking(results, name) for name in results.values], {})


# --- Scales --------------------------------------------------------------------------------------------------------


def test_a_scale_keeps_its_ends_and_turns():
    scale = scales.around([2, math.nan, 6])
    assert (scale.at(2), scale.at(4), scale.at(6)) == (3, 50, 97)
    turned = scales.around([2, 6], turned=True)
    assert (turned.at(2), turned.at(6)) == (97, 3)
    assert scales.around([5]).at(5) == scales.around([]).at(0) == 50


def test_costs_stand_by_their_ratio():
    scale = scales.of_costs([0, 1, 10, 100])
    assert scale.at(10) - scale.at(1) == pytest.approx(scale.at(100) - scale.at(10), abs=0.02)
    near = scales.of_costs([1.0, 1.004])
    assert near.at(1.004) - near.at(1.0) < 1
    assert scales.ticks(near) == [1, 2]


@pytest.mark.parametrize(
    ("values", "found"), [((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]), ((-3, 7), [-2, 0, 2, 4, 6]), ((0.31, 0.32), 6)]
)
def test_ticks_are_round(values, found):
    ticks = scales.ticks(scales.around(values))
    assert ticks == found if isinstance(found, list) else len(ticks) <= found
    assert all(values[0] <= tick <= values[1] for tick in ticks)


# --- Which images, and which methods -------------------------------------------------------------------------------


def test_the_image_on_which_methods_disagree_comes_first(results):
    (first, spread), *others = cases.disagreements(results, "energy", 5)
    assert results.images[first] == name_of(3)
    assert spread == pytest.approx(np.std(results.values["energy"][:3, first]))
    assert [each for _, each in others] == sorted((each for _, each in others), reverse=True)
    assert len(others) == 4
    flat = reading.replace(results, values={"energy": np.ones((len(METHODS), N))})
    assert cases.disagreements(flat, "energy", 5) == []


@pytest.mark.parametrize(("metric", "sign"), [("energy", 1), ("deletion", -1)])
def test_the_worst_cases_of_a_method(results, metric, sign):
    found = cases.worst(results, metric, 0, 3)
    assert found == np.argsort(sign * results.values[metric][0], kind="stable")[:3].tolist()
    assert results.images[cases.worst(results, metric, 1, 1)[0]] == name_of(3)
    assert cases.worst(results, metric, 4, 3) == []  # without a value there is no worst one


def test_of_equal_cases_those_come_first_on_which_others_do_better(results):
    values = np.zeros((len(METHODS), N))
    values[1, 7], values[2, 9] = 1, 0.5
    tied = reading.replace(results, values={"energy": values})
    assert cases.worst(tied, "energy", 0, 2) == [7, 9]


def test_the_front():
    goods = {"cheap": 0.2, "twin": 0.2, "worse": 0.1, "better": 0.5, "dear": 0.5, "free": 0.9}
    costs = {"cheap": 1, "twin": 1, "worse": 1, "better": 3, "dear": 9}
    assert cases.front(costs, goods) == ["cheap", "twin", "better"]
    assert cases.front({}, goods) == []


# --- The page ------------------------------------------------------------------------------------------------------


def test_every_number_of_the_rankings_is_on_the_page(results, said, html):
    text = Reader(html).text
    for name in results.values:
        for standing in reading.ranking(results, name).standings:
            if standing.mean.images:
                assert page.number(standing.mean.value) in text
                assert f"{page.number(standing.mean.low)} to {page.number(standing.mean.high)}" in text
    assert "right on 75.0% of 24 labelled images" in text
    assert "chance 0.250" in text
    assert "the control center is ranked above lime@captum" in text
    assert "1 image could not be evaluated" in text
    assert [panel["standings"][0]["name"] for panel in said["panels"][:2]] == [METHODS[1]] * 2
    assert said["panels"][2]["worst"] == []


def test_the_scatter_has_the_front_and_the_better_end_above(said):
    for panel in said["panels"][:2]:
        drawn = panel["scatter"]
        assert drawn["front"] == list(METHODS[:2])
        points = {each["name"]: each for each in drawn["points"]}
        assert set(points) == set(METHODS) - {"uniform"}
        assert points[METHODS[1]]["y"] < points[METHODS[0]]["y"] < points[METHODS[2]]["y"]
        assert points["center"]["x"] == pytest.approx(points[METHODS[0]]["x"], abs=0.1)
        assert points[METHODS[0]]["x"] < points[METHODS[2]]["x"] < points[METHODS[1]]["x"]
        x, y = points[METHODS[0]]["x"], points[METHODS[0]]["y"]
        assert drawn["stair"][0] == (x, y, points[METHODS[1]]["x"], y)
    assert said["panels"][2]["scatter"] is None


def test_every_metric_is_told_class_by_class(results, said):
    for panel, (name, values) in zip(said["panels"], results.values.items(), strict=True):
        assert panel["name"] == name
        for row in panel["classes"]["shown"]:
            which = results.targets == LABELS.index(row["label"])
            assert [cell["value"] for cell in row["cells"]] == [page.number(each[which].mean()) for each in values[:3]]
            assert row["images"] == "8"


def test_many_classes_are_folded(results):
    many = reading.replace(
        results, targets=np.arange(N), manifest={**results.manifest, "labels": list(map(str, range(N)))}
    )
    found = contents._classes(many, "energy", 1)
    assert (len(found["shown"]), len(found["folded"]), found["more"]) == (12, 12, 0)
    assert {cell["between"] for row in found["shown"] for cell in row["cells"]} == {""}
    assert contents._classes(results.of_class(0), "energy", 1) is None


def test_text_from_outside_is_only_text(html, carried):
    reader = Reader(html)
    assert [tag for tag, _ in reader.elements].count("script") == 2
    assert "<script>alert" not in html
    assert EVIL in reader.text
    assert carried["images"][0]["name"] == name_of(3)
    assert not [
        name for _, attributes in reader.elements for name in attributes if name.startswith("on") or name == "style"
    ]
    for _, attributes in reader.elements:
        assert not re.match(r"\w+:|//", attributes.get("src") or attributes.get("href") or "")


def test_pictures_and_commands(place, results, html, carried):
    """Of what is there: a photo that is gone is a name, and so is everything where the data is gone."""
    assert not carried["images"][0]["url"]
    assert all(each["url"].startswith("data:image/jpeg;base64,") for each in carried["images"][1:])
    second = carried["images"][1]
    assert second["command"].startswith(f"camzoo compare {place}/set/{second['name']} --methods ")
    assert second["command"].endswith(
        f"--model resnet18 --layer last --target {int(second['name'][5:-4]) % 3} --seed 0"
    )
    assert "center" not in second["command"]
    assert f"camzoo evaluate {place}/set --model resnet18 --layer last --methods" in Reader(html).text
    for origin in ({"data": str(place / "gone")}, {}):
        without = reading.replace(results, manifest={**results.manifest, "origin": origin})
        bare = leaderboard.html(without)
        assert "data:image/jpeg" not in bare
        assert "No pictures: the photos are not where they were" in bare


def test_what_cannot_be_a_picture_is_a_name():
    def broken():
        raise RequestError("it is broken")

    tensor = Item("a", lambda: np.zeros((3, 4, 4)))
    assert [leaderboard.photos.small(each) for each in (None, tensor, Item("b", broken))] == ["", "", ""]
    assert leaderboard.photos.command({}, tensor, 0) == ""
    assert leaderboard.photos._path(Item("c", partial(images.read, "x.png"))).name == "x.png"


def test_a_run_without_costs_or_with_something_missing(tmp_path, results):
    older = reading.replace(
        results, manifest={each: value for each, value in results.manifest.items() if each != "costs"}
    )
    assert "this run did not count what its methods cost" in leaderboard.html(older)
    nothing = reading.replace(results, values={"energy": np.full((len(METHODS), N), math.nan)}, reasons=Counter())
    assert "Undefined on every image, for every method." in leaderboard.html(nothing)
    unfinished = reading.replace(results, broken={})
    assert "Not finished." in leaderboard.html(unfinished)
    assert "Not finished." not in leaderboard.html(results)


def test_controls_alone_are_a_page_too(results):
    few = {name: values[3:] for name, values in results.values.items()}
    alone = reading.replace(results, methods=METHODS[3:], values=few)
    assert "2 methods on 24 images" in leaderboard.html(alone)


def test_equal_rows_give_equal_bytes(place, results, html):
    written = leaderboard.write(results, place / "run")
    assert [path.name for path in written] == ["evaluation.md", "leaderboard.png", "leaderboard.html"]
    before = [path.read_bytes() for path in written]
    assert before[-1].decode() == html
    manifest = place / "run" / files.MANIFEST
    told = files.read_manifest(place / "run")
    manifest.write_bytes(files.text({**told, "environment": {"date": "2031", "load": 3}}))
    leaderboard.write(reading.read(place / "run"), place / "run")
    assert [path.read_bytes() for path in written] == before
    manifest.write_bytes(files.text(told))


# --- The command line ----------------------------------------------------------------------------------------------


def test_report_knows_an_evaluation_by_its_manifest(place, html, monkeypatch, capfd):
    def report(*arguments):
        monkeypatch.setattr(sys, "argv", ["camzoo", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    monkeypatch.chdir(place)
    (place / "run" / leaderboard.PAGE).unlink(missing_ok=True)
    assert report("run") == (0, "wrote\n  run/leaderboard.html\n", "")
    assert (place / "run" / leaderboard.PAGE).read_text(encoding="utf-8") == html
    assert report("run", "--out", "other.html") == (0, "wrote\n  other.html\n", "")
    assert (place / "other.html").read_text(encoding="utf-8") == html
    for arguments, why in {
        ("run", "--out", "other.html"): "other.html exists",
        ("run", "--check", "found"): "findings of a check (--check) have no place on its page",
    }.items():
        code, out, err = report(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert why in err
