"""What rows of known values say: means, differences, places, controls, and the page that tells it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from conftest import require

from camzoo import leaderboard
from camzoo.errors import RequestError
from camzoo.evaluation import files, page, reading
from camzoo.evaluation.batch import Record
from camzoo.leaderboard import drawing

N = 40
LABELS = ("cat", "<b>dog</b> | x")
NAMES = ("good", "poor", "center", "uniform")


@pytest.fixture(scope="module", autouse=True)
def arrow():
    require("pyarrow.parquet")


def rows(image: int) -> list[Record]:
    """`good` is 0.2 above `poor` on every image, `center` between them; `good` has no value on every tenth image."""
    noise = float(np.random.default_rng(image).normal(0, 0.3))
    name, target = f"{image}.png", image % 2
    level = {"good": 0.7 + noise, "center": 0.6 + noise, "poor": 0.5 + noise}
    found = [
        Record(name, LABELS[target], target, "model", "", "probability", 0.9),
        Record(name, LABELS[target], target, "model", "", "correct", float(image < 30)),
        Record(name, LABELS[target], target, "chance", "", "energy", 0.25),
    ]
    for method in NAMES:
        for metric, sign in (("energy", 1), ("deletion", -1), ("entropy", 1)):
            backend = "captum" if method == "poor" else "camzoo"
            given = (name, LABELS[target], target, method, backend, metric)
            if method == "uniform" or (method == "good" and image % 10 == 9):
                found.append(Record(*given, None, "undefined", "the map is constant"))
            else:
                found.append(Record(*given, sign * level[method]))
    return found


def saved(folder, images, missing=0):
    """Of so many images, in two batches, one broken."""
    asked = {
        "model": "net_*", "weights": "w", "layer": "last", "methods": list(NAMES), "target": "predicted", "seed": 0,
        "metrics": ["energy", "deletion", "entropy"], "data": "CSV table", "images": images + 1 + missing,
    }  # fmt: skip
    manifest = {"schema_version": 1, "question": asked, "title": "set", "labels": list(LABELS)}
    files.begin(folder, manifest, resume=False)
    bad = Record("bad|.png", None, None, "", "", "", None, "failed", "<i>broken")
    half = images // 2
    files.keep(folder, 0, [record for image in range(half) for record in rows(image)])
    files.keep(folder, 1, [bad, *(record for image in range(half, images) for record in rows(image))])
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("reading") / "run", N)


@pytest.fixture(scope="module")
def results(folder):
    return reading.read(folder)


def test_values_are_where_they_belong(results):
    assert results.methods == ("good", "poor@captum", "center", "uniform")
    assert results.images == tuple(f"{image}.png" for image in range(N))
    assert results.targets.tolist() == [image % 2 for image in range(N)]
    for image in range(N):
        for record in rows(image):
            if record.method in NAMES:
                found = results.values[record.metric][NAMES.index(record.method), image]
                assert found == record.value or (record.value is None and math.isnan(found))
    assert results.chance["energy"].tolist() == [0.25] * N
    assert results.broken == {"bad|.png": "<i>broken"}
    assert results.reasons["energy", "good", "undefined: the map is constant"] == 4
    assert results.complete


@pytest.mark.parametrize("name", ["energy", "deletion"])
def test_a_ranking(results, name):
    found = reading.ranking(results, name)
    assert [each.method for each in found.standings] == ["good", "center", "poor@captum", "uniform"]
    good, center, poor, uniform = found.standings
    assert (good.mean.images, good.mean.undefined, uniform.mean.images, found.together) == (36, 4, 0, 36)
    assert good.mean.low < good.mean.value < good.mean.high
    assert good.mean.high - good.mean.low > 0.1
    # What is hard about an image is hard for both: the difference is known far better than either mean.
    assert poor.behind.value == pytest.approx(-0.2)
    assert poor.behind.high - poor.behind.low < 1e-6
    assert poor.behind.images == 36
    assert math.isnan(good.behind.value)
    assert [each.first for each in (good, center, poor)] == [1, 0, 0]
    assert [each.control for each in found.standings] == [False, True, False, True]
    assert found.controls == ("the control center is ranked above poor@captum (+0.100 to +0.100)",)
    assert found.chance == (0.25 if name == "energy" else None)


def test_a_metric_without_a_better_way_ranks_nothing(results):
    assert reading.ranking(results, "entropy").controls == ()


def test_a_control_that_ties_is_told(results):
    """Of two methods with the same values none is above the other, and that is no praise."""
    values = results.values["energy"].copy()
    values[2] = values[1]
    same = reading.replace(results, values={"energy": values})
    assert reading.ranking(same, "energy").controls == (
        "the control center cannot be told from poor@captum (+0.000 to +0.000)",
    )
    values[2] = values[1] - 0.1
    assert reading.ranking(reading.replace(results, values={"energy": values}), "energy").controls == ()


def test_what_differs_by_rounding_ties(results):
    values = results.values["energy"].copy()
    values[1] = values[0] * (1 + 1e-5)
    found = reading.ranking(reading.replace(results, values={"energy": values}), "energy").standings
    assert [(each.method, each.first) for each in found[:2]] == [("good", 0.5), ("poor@captum", 0.5)]
    assert found[1].behind.value == 0
    values[1, 3] += 0.01
    found = reading.ranking(reading.replace(results, values={"energy": values}), "energy").standings
    assert found[0].first != 0.5


@pytest.mark.parametrize("sign", [1, -1])
def test_means_that_differ_by_rounding_alone_stay_as_they_were_named(sign, results):
    """Of two blind methods whose values mirror each other in pairs, as on grids of two photos, both have one half."""
    values = results.values["energy"].copy()
    values[2] = 0.1
    values[0, ::2], values[0, 1::2] = 0.7, 0.3 - sign * 1e-8
    values[1, ::2], values[1, 1::2] = 0.6, 0.4 + sign * 1e-8
    found = reading.ranking(reading.replace(results, values={"energy": values}), "energy").standings
    assert [each.method for each in found] == ["good", "poor@captum", "center", "uniform"]


def test_classes(results):
    (first, even), (second, odd) = reading.classes(results)
    assert (first, second) == LABELS
    assert even.images == tuple(f"{image}.png" for image in range(0, N, 2))
    assert np.array_equal(odd.values["energy"], results.values["energy"][:, 1::2], equal_nan=True)


def test_a_run_that_is_not_finished(tmp_path):
    part = reading.read(saved(tmp_path / "run", 6, missing=3))
    assert not part.complete
    assert "**Not finished**: 10 images were asked for" in page.page(part)


def test_what_cannot_be_read(folder, tmp_path):
    run = saved(tmp_path / "run", 4)
    files.part(run, 1).write_bytes(b"nothing")
    with pytest.raises(RequestError, match="cannot be read"):
        reading.read(run)
    files.part(run, 0).unlink()
    files.part(run, 1).unlink()
    with pytest.raises(RequestError, match="has no results yet"):
        reading.read(run)


# ---- the page


def test_the_page(results):
    text = page.page(results)
    assert "net\\_\\*, layer `last`; 40 images (CSV table)" in text
    assert "right on 75.0% of 40 labelled images" in text
    assert "- energy: the control center is ranked above poor@captum" in text
    assert re.search(r"\| 3 \| poor@captum \| 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\) \| -0\.200 \(", text)
    assert "|  | uniform (control) | undefined |  |  | 0 | 40 |" in text
    assert "By chance: 0.250." in text
    assert "| energy | undefined: the map is constant | good on 4, uniform on 40 |" in text
    assert page.page(results) == text


def test_text_from_outside_is_only_text(results):
    text = page.page(results)
    assert "<" not in text
    assert "&lt;b&gt;dog&lt;/b&gt; \\| x" in text
    assert "bad\\|.png: &lt;i&gt;broken" in text
    assert page.plain("a\n# b") == "a \\# b"
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {8, 5, 4}


@pytest.mark.parametrize(
    ("value", "told"), [(0.0, "0.000"), (-0.0, "0.000"), (0.5, "0.500"), (0.00123, "0.0012"), (-2.0, "-2.000")]
)
def test_numbers(value, told):
    assert page.number(value) == told


def test_the_figure(results, folder):
    rankings = [reading.ranking(results, name) for name in ("energy", "deletion")]
    figure = leaderboard.figure(results, rankings)
    energy, deletion = figure.axes
    assert [label.get_text() for label in energy.get_yticklabels()] == ["good", "center", "poor@captum", "uniform"]
    dots = [line for line in energy.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in dots] == [each.mean.value for each in rankings[0].standings[:3]]
    assert [line.get_markerfacecolor() for line in dots] == [drawing.COLOUR, "white", drawing.COLOUR]
    assert deletion.get_title(loc="left") == "deletion: less is better"
    assert len(energy.lines) == len(deletion.lines) + 1  # the chance level
    written = leaderboard.write(results, folder)
    assert [path.name for path in written] == ["evaluation.md", "leaderboard.png", "leaderboard.html"]
    before = [path.read_bytes() for path in written]
    leaderboard.write(results, folder)
    assert [path.read_bytes() for path in written] == before
