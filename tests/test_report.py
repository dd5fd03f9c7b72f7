"""The report as text: everything is in it, nothing of it is run that came from outside, and numbers are the Study's."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from camzoo import grids, render, report
from camzoo.conformance.verdicts import Finding, Kind, Verdict
from camzoo.evaluation.readings import Reading
from camzoo.report import clusters, contents, packing
from camzoo.specs import Computation
from camzoo.study import Cell, Row, Study
from camzoo.types import Heatmap, Resolution, Stage, Status

EVIL = "<script>alert(1)</script>"
SIZE = (32, 48)
SMOOTH = np.random.default_rng(0).normal(size=(9, 1, 4, 6))


def heatmap(values, stage=Stage.RAW, resolution=Resolution.LAYER, notes=()) -> Heatmap:
    return Heatmap(np.asarray(values, dtype=np.float32), stage, resolution, SIZE, "gradcam", "camzoo", notes)


def cells(row: int) -> list[Cell]:
    """One of every kind: alike, unlike, on the pixels, all zero, not finite, and the three ways of having no map."""
    one, other = SMOOTH[row], SMOOTH[row + 3]
    pixels = grids.normalise(np.abs(grids.resize(SMOOTH[row + 6], SIZE)))
    hole = np.where(np.arange(24).reshape(1, 4, 6) == 5, math.nan, one)
    return [
        Cell(row, Computation("gradcam"), Status.OK, "", 0.0721, heatmap(one), "", 3_100_000),
        Cell(row, Computation("gradcam", "captum"), Status.OK, "", 0.2, heatmap(2 * one)),
        Cell(row, Computation("layercam", options={"alpha": "</b>"}), Status.OK, "", 0.07, heatmap(other)),
        Cell(row, Computation("occlusion", "captum"), Status.OK, "", 8.25, heatmap(pixels, Stage.NORMALISED, "image")),
        Cell(row, Computation("cam"), Status.OK, "", 0.05, heatmap(0 * one, notes=(EVIL,)), "all zero: nothing speaks"),
        Cell(row, Computation("fem"), Status.OK, "", 0.05, heatmap(hole), "not finite in 1 of 24 cells"),
        Cell(row, Computation("legrad", "torchcam"), Status.NOT_OFFERED, f"only {EVIL} has it"),
        Cell(row, Computation("lime", "captum"), Status.NOT_INSTALLED, "pip install captum"),
        Cell(row, Computation("scorecam", "captum"), Status.FAILED, 'ValueError: "&amp;" \u2028 </script>'),
    ]


def demanding() -> Study:
    """Names, labels and reasons that a page could trip over; two targets, two models, photos of two sizes."""
    top = ((3, "tiger <cat>", 0.55), (1, EVIL, 0.3), (0, "a", 0.1), (2, "b", 0.04), (4, "c", 0.0004))
    rows = (
        Row(0, f"{EVIL}.png", "logit of class 3", 3, "tiger <cat>", 1.5, 0.55, "net", "last", "4 x 6 tokens", top),
        Row(0, f"{EVIL}.png", "logit of class 1", 1, EVIL, -0.25, 0.3, "net", "last", "4 x 6 tokens", top),
        Row(1, "\"b\" & 'c'.png", "contrast", None, "", -math.inf, None, "other", "last", "4 x 6 tokens"),
    )
    pictures = tuple(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8) for seed in range(2))
    provenance = {
        "command": ["camzoo", "compare", f"{EVIL}.png", "--seed", "3"],
        "photos": [{"name": f"{EVIL}.png", "sha256": "ab" * 32}],
        "weights_sha256": "cd" * 32,
        "seed": 3,
    }
    around = {"device": "cpu", "date": "2030-01-01", "versions": {"torch": "2.14.1"}}
    every = tuple(cell for row in range(3) for cell in cells(row))
    return Study(rows, every, pictures, 3, around, provenance)


FINDINGS = [
    Finding("gradcam", "camzoo", Verdict.AGREES, "raw", 1e-16),
    Finding("gradcam", "captum", Verdict.KNOWN, "raw", 0.1, reason=f"because {EVIL}", kind=Kind.DEFINITION),
    Finding("occlusion", "captum", Verdict.NEW, "raw", 0.2),
    Finding("layercam", "camzoo", Verdict.AGREES, "raw", 1e-16),
]


@pytest.fixture(scope="module")
def page() -> str:
    return report.html(demanding(), FINDINGS)


@pytest.fixture(scope="module")
def carried(page) -> dict:
    def refuse(word):
        pytest.fail(f"{word} is no JSON")

    found = re.search(r'<script type="application/json" id="carried">(.*?)</script>', page, re.S)
    return json.loads(found[1], parse_constant=refuse)


class Reader(HTMLParser):
    """The elements of a page, with their attributes, and its text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes) -> None:
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def unpacked(map_: dict) -> np.ndarray:
    """What `unpacked` of scripts/numbers.js does."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(map_["codes"])), np.uint8).reshape(2, -1).astype(np.uint32)
    codes = np.cumsum(planes[0] + 256 * planes[1], dtype=np.uint32) % 65536
    values = map_["low"] * (1 - codes / 65534) + map_["high"] * (codes / 65534)
    return np.where(codes == 65535, math.nan, values).reshape(map_["shape"])


# --- Arrays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e30, 1.7e308])
def test_a_map_travels_to_one_part_in_a_hundred_thousand(scale) -> None:
    values = scale * np.clip(np.random.default_rng(1).normal(size=(13, 7)) / 4, -1, 1)
    found = unpacked(packing.packed(values))
    with np.errstate(over="ignore"):
        assert np.abs(found / scale - values / scale).max() <= 0.51 / packing.STEPS * np.ptp(values / scale)
    assert (found.min(), found.max()) == pytest.approx((values.min(), values.max()), rel=1e-12)


def test_what_is_not_finite_travels_as_such() -> None:
    values = np.array([[0.0, math.nan], [math.inf, 2.0]])
    np.testing.assert_array_equal(unpacked(packing.packed(values)), [[0, math.nan], [math.nan, 2]])
    assert np.isnan(unpacked(packing.packed(np.full((2, 3), math.nan)))).all()
    np.testing.assert_array_equal(unpacked(packing.packed(np.full((2, 2), 7.0))), np.full((2, 2), 7.0))


def test_zero_of_a_rectified_map_stays_zero() -> None:
    values = np.maximum(SMOOTH[0, 0], 0)
    np.testing.assert_array_equal(unpacked(packing.packed(values)) == 0, values == 0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((28, 28), (168, 168)), ((224, 200), (224, 200)), ((1024, 512), (512, 256)), ((2000, 1), (512, 1))],
)
def test_photos_are_drawn_at_a_size_between_bounds(shape, expected) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    drawn = packing.drawn(picture)
    assert (drawn.height, drawn.width) == expected
    if shape[0] < packing.SMALLEST:
        times = expected[0] // shape[0]
        np.testing.assert_array_equal(np.asarray(drawn), picture.repeat(times, 0).repeat(times, 1))


def test_colour_tables_are_those_of_matplotlib() -> None:
    import matplotlib

    table = np.frombuffer(base64.b64decode(packing.colour_table("viridis")), np.uint8).reshape(256, 3)
    assert np.abs(table - 255 * matplotlib.colormaps["viridis"](range(256))[:, :3]).max() <= 0.5
    assert contents.COLOURS[0] == render.COLOURS
    assert "jet" in contents.COLOURS


# --- Clusters ------------------------------------------------------------------------------------------------------


def test_clusters_stand_together_and_what_is_undefined_comes_last() -> None:
    likeness = np.full((7, 7), 0.1)
    for group in ([0, 3, 5], [1, 4]):
        likeness[np.ix_(group, group)] = 0.9
    likeness[2] = likeness[:, 2] = math.nan
    np.fill_diagonal(likeness, 1)
    likeness[2, 2] = math.nan
    order = clusters.order(likeness)
    assert sorted(order) == list(range(7))
    assert order[-1] == 2
    for group in ({0, 3, 5}, {1, 4}):
        places = sorted(order.index(member) for member in group)
        assert places[-1] - places[0] == len(group) - 1


def test_clusters_put_a_chain_in_its_order() -> None:
    at = np.array([4.0, 0.0, 3.1, 1.0, 2.0])
    order = clusters.order(-np.abs(at[:, None] - at[None]))
    assert order in ([1, 3, 4, 2, 0], [0, 2, 4, 3, 1])


@pytest.mark.parametrize("count", [0, 1])
def test_clusters_of_next_to_nothing(count) -> None:
    assert clusters.order(np.ones((count, count))) == list(range(count))


# --- The page ------------------------------------------------------------------------------------------------------


def test_the_page_runs_and_loads_nothing_from_outside(page) -> None:
    elements = Reader(page).elements
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert [attributes.get("type") for attributes in scripts] == ["application/json", "module"]
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action", "srcset", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page


def test_the_policy_names_the_script_and_the_style_by_their_hashes(page) -> None:
    policy = next(a["content"] for tag, a in Reader(page).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    inline = {"script-src": r'<script type="module">(.*?)</script>', "style-src": r"<style>(.*?)</style>"}
    for part, pattern in inline.items():
        digest = base64.b64encode(hashlib.sha256(re.search(pattern, page, re.S)[1].encode()).digest()).decode()
        assert f"{part} 'sha256-{digest}'" in policy


def test_text_from_outside_is_text(page) -> None:
    assert EVIL not in page
    text = Reader(page).text
    assert "explained: logit of class 3 = 1.5" in text
    assert f"{EVIL}.png" in text
    assert f"only {EVIL} has it" in text
    assert f"because {EVIL}" in text
    assert "layercam(alpha='</b>')" in text
    assert "tiger <cat> 55 %" in text


def test_the_page_says_what_was_found_and_what_was_not(page) -> None:
    text = Reader(page).text
    assert "net last, 4 x 6 tokens" in text
    assert "other last, 4 x 6 tokens" in text
    assert "72.1 ms · 3.1 MB" in text
    for said in ("not offered", "not installed pip install captum", "failed ValueError", "all zero: nothing speaks"):
        assert said in text, said
    assert "< 0.1 %" in text
    assert "No memory" not in text
    unmeasured = tuple(replace(cell, peak_bytes=None) for cell in demanding().cells)
    assert "No memory" in Reader(report.html(replace(demanding(), cells=unmeasured))).text
    assert "contrast = not finite" in text


def test_verdicts_stand_beside_their_methods_and_not_beside_variants_of_them(page) -> None:
    text = Reader(page).text
    assert re.search(r"gradcam camzoo agrees", text)
    assert re.search(r"gradcam captum differs, known", text)
    assert "another definition" in text
    assert re.search(r"occlusion captum differs, new", text)
    assert re.search(r"layercam\(alpha='</b>'\) camzoo not checked with options", text)
    without = Reader(report.html(demanding())).text
    assert "differs, known" not in without
    assert "No verdicts" in without


def test_everything_that_makes_it_again_is_there(page) -> None:
    text = Reader(page).text
    assert f"camzoo compare '{EVIL}.png' --seed 3" in text
    for said in ("ab" * 32, "cd" * 32, "torch 2.14.1", "seed 3", "device cpu"):
        assert said in text, said
    assert "Made from Python" in Reader(report.html(replace(demanding(), provenance={}))).text


def test_the_maps_in_the_page_are_those_of_the_study(carried) -> None:
    study = demanding()
    assert carried["names"] == [str(computation) for computation in study.computations]
    for row, maps in enumerate(carried["maps"]):
        for cell, found in zip(study.of(row), maps, strict=True):
            if cell.heatmap is None:
                assert found is None
                continue
            values = np.asarray(cell.heatmap.values[0], dtype=np.float64)
            spread = np.ptp(values[np.isfinite(values)])
            np.testing.assert_allclose(unpacked(found), values, rtol=0, atol=spread / 65534)
            assert found["stage"] == cell.heatmap.stage


def test_the_photos_in_the_page_are_those_of_the_study(carried) -> None:
    for found, picture in zip(carried["pictures"], demanding().pictures, strict=True):
        data = base64.b64decode(found["url"].partition("base64,")[2])
        drawn = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)
        assert drawn.shape == (found["height"], found["width"], 3)
        times = drawn.shape[0] // picture.shape[0]
        np.testing.assert_allclose(drawn, picture.repeat(times, 0).repeat(times, 1), atol=6)


def test_the_agreement_in_the_page_is_that_of_the_study(carried) -> None:
    study = demanding()
    names, found = carried["names"], carried["agreement"]
    for row in range(len(study.rows)):
        table = study.agreement(row)
        for i, one in enumerate(names):
            for j, other in enumerate(names):
                value = found["rows"][row]["pearson"][i][j]
                if one in table.names and other in table.names:
                    expected = table.values["pearson"][table.names.index(one), table.names.index(other)]
                    assert value == (None if math.isnan(expected) else pytest.approx(expected, abs=6e-5))
                else:
                    assert value is None
        assert found["undefined"][row] == table.undefined
    assert found["mean"]["pearson"][0][1] == 1
    assert abs(found["order"].index(0) - found["order"].index(1)) == 1


def test_every_map_is_told_in_words(page) -> None:
    labels = [a.get("aria-label") or "" for tag, a in Reader(page).elements if tag == "canvas"]
    first = SMOOTH[0, 0]
    y, x = np.unravel_index(first.argmax(), first.shape)
    half = np.mean(np.maximum(first, 0) / first.max() >= 0.5)
    place = f"highest {100 * (x + 0.5) / 6:.0f} % from the left and {100 * (y + 0.5) / 4:.0f} % from the top"
    assert f"gradcam on {EVIL}.png: {place}; {contents.percent(half)} of the area is at least half as high" in labels
    assert f"cam on {EVIL}.png: all zero: nothing speaks" in labels


def judged() -> Study:
    """Readings of two methods in the first row: a value, one without a name in the table, and a missing one."""
    study = demanding()
    said = {"energy": Reading(0.123456, chance=0.25), "increase": Reading(1.0), "a <new> one": Reading(2.0)}
    lacking = said | {"increase": Reading(None, "undefined", f"because {EVIL}")}
    first = (replace(study.cells[0], readings=said), replace(study.cells[1], readings=lacking))
    return replace(study, cells=(*first, *study.cells[2:]))


def test_metrics_stand_in_a_table_with_what_is_missing_and_why() -> None:
    page = report.html(judged())
    text = Reader(page).text
    assert EVIL not in page
    assert "Method energy more is better increase more is better a <new> one" in text
    assert "gradcam camzoo 0.1235 1 2" in text
    assert "gradcam captum 0.1235 undefined 2" in text
    assert "by chance 0.25" in text
    assert f"gradcam@captum (increase): because {EVIL}" in text
    assert "One image ranks nothing" in text
    assert "camzoo evaluate" in text


def test_the_data_of_the_page_has_the_readings() -> None:
    carried = contents.carried(judged())["about"]["readings"]
    assert len(carried) == 6
    assert carried[0] | {"value": 0.123456, "metric": "energy", "method": "gradcam", "backend": "camzoo"} == carried[0]
    assert "readings" not in contents.carried(demanding())["about"]


def test_a_page_without_metrics_does_not_speak_of_them(page) -> None:
    assert 'id="metrics"' not in page
    assert "One image ranks nothing" not in page


def test_a_frame_can_touch_nothing_around_it() -> None:
    element = report.frame(demanding())
    ((tag, attributes),) = Reader(element).elements
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    assert attributes["srcdoc"] == report.html(demanding())


@pytest.mark.parametrize(
    ("share", "expected"), [(0, "0.0 %"), (0.0004, "< 0.1 %"), (0.0123, "1.2 %"), (0.0949, "9.5 %"), (0.393, "39 %")]
)
def test_percent(share, expected) -> None:
    assert contents.percent(share) == expected


@pytest.mark.parametrize(("count", "expected"), [(None, ""), (0, "0 B"), (999, "999 B"), (3_100_000, "3.1 MB")])
def test_size(count, expected) -> None:
    assert contents.size(count) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0.0721, "72.1 ms"), (0.99949, "999 ms"), (8.234, "8.23 s")])
def test_duration(seconds, expected) -> None:
    assert contents.duration(seconds) == expected
