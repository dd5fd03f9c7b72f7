"""Saving and loading: exact, whole or not at all, and never over somebody's results."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from camzoo import figures, report, store
from camzoo.agreement import compare as agree
from camzoo.errors import RequestError
from camzoo.evaluation.readings import Reading
from camzoo.report import html
from camzoo.specs import Computation
from camzoo.study import Cell, Row, Study, compare
from camzoo.types import Heatmap, Resolution, Stage, Status

WRITTEN = {"agreement.json", "agreement.png", "comparison.png", "maps.npz", "pictures", "report.html", "results.json"}
PLACE = ("net", "last", "4 x 6 channels-first")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def heatmap(dtype=torch.float32, seed=0, **changes) -> Heatmap:
    values = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    made = Heatmap(values, Stage.RAW, Resolution.LAYER, (16, 24), "gradcam", "camzoo", ("a note",))
    return replace(made, **changes)


def pixels() -> Heatmap:
    values = torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(9))
    return Heatmap(values, Stage.NORMALISED, Resolution.IMAGE, (16, 24), "occlusion", "captum")


@pytest.fixture
def study() -> Study:
    """Two rows, every status, every dtype, and text that JSON, zip and matplotlib could trip over."""
    cells = []
    for row in range(2):
        for number, dtype in enumerate(DTYPES):
            computation = Computation("gradcam", "camzoo", {"number": number, "path": "a/b 'ü'"})
            made = heatmap(dtype, 10 * row + number)
            cells.append(Cell(row, computation, Status.OK, "", 0.5 + row, made, peak_bytes=2**40 + number))
        cells.append(Cell(row, Computation("occlusion", "captum"), Status.OK, "", 2.0, pixels()))
        nothing = heatmap(method="cam", values=torch.tensor([[[math.nan, math.inf, -0.0, 1.0]]]))
        cells.append(Cell(row, Computation("cam"), Status.OK, "", 0.1, nothing, "not finite in 2 of 4 cells"))
        cells.append(Cell(row, Computation("legrad", "torchcam"), Status.NOT_OFFERED, 'only <b>"transformers"</b>'))
        cells.append(Cell(row, Computation("lime", "captum"), Status.NOT_INSTALLED, "pip install captum"))
        cells.append(Cell(row, Computation("scorecam", "captum"), Status.FAILED, "ValueError: é 猫 \\ \x00"))
    rows = (
        Row(0, "猫 $1.png", "logit of class 3", 3, "tiger <cat>", 1.5, 0.1 + 0.2, *PLACE, ((3, "tiger <cat>", 0.3),)),
        Row(1, "b.png", "contrast", None, "", -math.inf, None, "net", "first", "8 x 12 channels-first"),
    )
    pictures = tuple(np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8) for seed in range(2))
    provenance = {"command": ["camzoo", "compare"], "photos": [{"name": "b.png", "sha256": "0f"}]}
    return Study(rows, tuple(cells), pictures, 3, {"versions": {"torch": "1"}}, provenance)


@pytest.fixture
def blank_figures(monkeypatch) -> None:
    """Figures and reports take most of the time of saving; most tests are not about them."""
    for name in ("comparison", "agreement"):
        monkeypatch.setattr(figures, name, lambda *_args, **_options: Figure(figsize=(0.1, 0.1)))
    monkeypatch.setattr(report, "html", lambda *_args: "")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def strict(path: Path):
    def refuse(word):
        pytest.fail(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_a_round_trip_is_exact(study, tmp_path) -> None:
    files = study.save(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    assert files[0].name == "report.html"
    assert all(path.is_file() for path in files)
    loaded = store.load(tmp_path / "out")
    assert loaded.rows[0] == study.rows[0]
    assert math.isnan(loaded.rows[1].score)
    assert replace(loaded.rows[1], score=-math.inf) == study.rows[1]
    assert loaded.environment == study.environment
    assert (loaded.seed, loaded.provenance) == (study.seed, study.provenance)
    for mine, theirs in zip(loaded.pictures, study.pictures, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == np.uint8
    for mine, theirs in zip(loaded.cells, study.cells, strict=True):
        for name in ("row", "computation", "status", "reason", "seconds", "warning", "peak_bytes"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert str(mine.computation) == str(theirs.computation)
        if theirs.heatmap is None:
            assert mine.heatmap is None
            continue
        for name in ("stage", "resolution", "image_size", "method", "backend", "notes"):
            assert getattr(mine.heatmap, name) == getattr(theirs.heatmap, name), name
        values = theirs.heatmap.values
        expected = (values.float() if values.dtype is torch.bfloat16 else values).numpy()
        assert mine.heatmap.values.dtype == expected.dtype
        assert mine.heatmap.values.tobytes() == expected.tobytes()


def test_a_loaded_study_is_drawn_and_compared_as_the_first(study, tmp_path) -> None:
    study = replace(study, rows=(study.rows[0], replace(study.rows[1], score=2.5)))
    study.save(tmp_path / "out")
    loaded = store.load(tmp_path / "out")
    assert figures.png(loaded.figure()) == (tmp_path / "out" / "comparison.png").read_bytes()
    loaded.save(tmp_path / "again")
    for name in WRITTEN - {"pictures", "maps.npz"}:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    with np.load(tmp_path / "out" / "maps.npz") as first, np.load(tmp_path / "again" / "maps.npz") as second:
        assert first.files == second.files
        assert all(first[name].tobytes() == second[name].tobytes() for name in first.files)


@pytest.mark.usefixtures("blank_figures")
def test_results_are_strict_json_with_all_that_was_asked_and_found(study, tmp_path) -> None:
    study.save(tmp_path / "out")
    results = strict(tmp_path / "out" / "results.json")
    assert results["schema_version"] == store.SCHEMA_VERSION
    assert results["environment"] == {"versions": {"torch": "1"}}
    assert results["provenance"] == study.provenance
    assert results["seed"] == 3
    assert [(row["model"], row["layer"]) for row in results["rows"]] == [("net", "last"), ("net", "first")]
    assert [row["class_index"] for row in results["rows"]] == [3, None]
    assert results["rows"][1]["score"] is None
    assert len(results["cells"]) == len(study.cells) == 18
    with np.load(tmp_path / "out" / "maps.npz", allow_pickle=False) as maps:
        named = [cell["array"] for cell in results["cells"] if cell["array"]]
        assert named == maps.files
        assert len(set(named)) == 12
        for cell, entry in zip(study.cells, results["cells"], strict=True):
            assert entry["image"] == study.rows[cell.row].image
            assert entry["target"] == study.rows[cell.row].target
            assert (entry["method"], entry["backend"]) == (cell.computation.method, cell.computation.backend)
            assert (entry["status"], entry["reason"]) == (cell.status, cell.reason)
            assert (entry["seconds"], entry["peak_bytes"]) == (cell.seconds, cell.peak_bytes)
            assert entry["stage"] == (cell.heatmap and cell.heatmap.stage)
            assert (entry["array"] is None) == (cell.heatmap is None)
            assert cell.heatmap is None or maps[entry["array"]].shape == tuple(cell.heatmap.values.shape[1:])


@pytest.mark.usefixtures("blank_figures")
def test_agreement_is_strict_json_without_numbers_for_what_is_undefined(study, tmp_path) -> None:
    study.save(tmp_path / "out")
    saved = strict(tmp_path / "out" / "agreement.json")
    assert saved["schema_version"] == store.SCHEMA_VERSION
    for number, row in enumerate(saved["rows"]):
        found = study.agreement(number)
        assert tuple(row["names"]) == found.names
        assert row["undefined"] == {"cam": "not finite in 2 of 4 cells"}
        assert row["grids"] == found.grids
        for measure, matrix in row["measures"].items():
            values = np.array(matrix, dtype=float)
            np.testing.assert_array_equal(values, found.values[measure])
            assert np.isnan(values[row["names"].index("cam")]).all()


def test_pictures_and_figures_are_images(study, tmp_path) -> None:
    study.save(tmp_path / "out")
    for name in ("comparison.png", "agreement.png", "pictures/0.png", "pictures/1.png"):
        with Image.open(tmp_path / "out" / name) as image:
            image.load()


@pytest.mark.usefixtures("blank_figures")
def test_a_study_that_is_not_finite_is_reported_from_its_folder_too(study, tmp_path) -> None:
    rows = (replace(study.rows[0], score=math.nan, top=((3, "cat", math.nan),)), study.rows[1])
    replace(study, rows=rows).save(tmp_path / "out")
    loaded = store.load(tmp_path / "out")
    assert math.isnan(loaded.rows[0].score)
    assert math.isnan(loaded.rows[0].top[0][2])
    assert "tiger &lt;cat&gt;" in html(loaded)


@pytest.mark.usefixtures("blank_figures")
def test_a_name_that_is_no_text_does_not_lose_the_run(study, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(report, "html", lambda study: study.rows[0].name)
    named = (replace(study.rows[0], name="a\udcffb.png"), study.rows[1])
    replace(study, rows=named).save(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == "a?b.png"
    assert store.load(tmp_path / "out").rows[0].name == "a\udcffb.png"


@pytest.mark.usefixtures("blank_figures")
def test_a_real_study_makes_the_round_trip(small_net, images, tmp_path) -> None:
    study = compare(small_net, images, "gradcam", target="top2")
    study.save(str(tmp_path / "out"))
    loaded = store.load(tmp_path / "out")
    assert loaded.rows == study.rows
    for mine, theirs in zip(loaded.cells, study.cells, strict=True):
        assert mine.heatmap.values.tobytes() == theirs.heatmap.values.numpy().tobytes()
    environment = strict(tmp_path / "out" / "results.json")["environment"]
    assert environment["versions"]["torch"] == metadata.version("torch")
    assert {"date", "python", "platform", "cores", "threads", "device"} <= set(environment)


@pytest.mark.usefixtures("blank_figures")
def test_options_that_json_cannot_hold_do_not_lose_the_run(study, tmp_path) -> None:
    odd = Computation("gradcam", "camzoo", {"a": {1, 2}, "b": 1j, "c": math.inf, "d": {1: (2, None)}, "e": b"x"})
    study = replace(study, cells=(replace(study.cells[0], computation=odd),), rows=study.rows[:1])
    study.save(tmp_path / "out")
    (cell,) = strict(tmp_path / "out" / "results.json")["cells"]
    assert cell["options"] == {"a": "{1, 2}", "b": "1j", "c": None, "d": {"1": [2, None]}, "e": "b'x'"}


@pytest.mark.usefixtures("blank_figures")
def test_an_existing_run_is_never_touched_unless_told(study, tmp_path) -> None:
    out = tmp_path / "out"
    study.save(out)
    before = contents(out)
    with pytest.raises(RequestError, match=r"is not empty.*--overwrite") as error:
        study.save(out)
    assert "\n" not in str(error.value)
    assert contents(out) == before
    replace(study, seed=4).save(out, overwrite=True)
    assert store.load(out).seed == 4
    assert {path.name for path in out.iterdir()} == WRITTEN


@pytest.mark.usefixtures("blank_figures")
def test_overwriting_leaves_nothing_of_the_earlier_run_and_all_of_other_files(study, tmp_path) -> None:
    out = tmp_path / "out"
    study.save(out)
    (out / "notes.txt").write_text("mine")
    (out / "pictures" / "7.png").write_text("stale")
    replace(study, rows=study.rows[:1], cells=study.cells[:9], pictures=study.pictures[:1]).save(out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in (out / "pictures").iterdir()] == ["0.png"]
    assert len(store.load(out).cells) == 9


@pytest.mark.usefixtures("blank_figures")
def test_a_folder_with_something_else_in_it_is_not_taken(study, tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(RequestError, match="name another folder"):
            study.save(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == {"thesis.tex": b"mine"}


@pytest.mark.usefixtures("blank_figures")
def test_an_empty_folder_is_taken_and_stays_the_same_folder(study, tmp_path, monkeypatch) -> None:
    """As a mount point or a working directory must: they cannot be replaced."""
    inode = tmp_path.stat().st_ino
    monkeypatch.chdir(tmp_path)
    study.save(".")
    assert {path.name for path in tmp_path.iterdir()} == WRITTEN
    study.save(".", overwrite=True)
    assert tmp_path.stat().st_ino == inode
    assert {path.name for path in tmp_path.iterdir()} == WRITTEN


@pytest.mark.usefixtures("blank_figures")
def test_a_link_to_a_folder_stays_a_link(study, tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for overwrite in (False, True):
        study.save(tmp_path / "link", overwrite=overwrite)
    assert (tmp_path / "link").is_symlink()
    assert {path.name for path in (tmp_path / "real").iterdir()} == WRITTEN


@pytest.mark.usefixtures("blank_figures")
def test_folders_are_made_as_deep_as_needed(study, tmp_path) -> None:
    study.save(tmp_path / "a" / "b" / "c")
    assert store.load(tmp_path / "a" / "b" / "c").seed == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_readings_come_back_as_they_were(study, tmp_path, blank_figures) -> None:
    said = {
        "increase": Reading(1.0),
        "energy": Reading(0.1 + 0.2, chance=1 / 3),
        "average-gain": Reading(None, "undefined", "the map is <constant>"),
        "road": Reading(None, "not installed", "pip install 'camzoo[pytorch-grad-cam]'"),
    }
    judged = replace(study, cells=(replace(study.cells[0], readings=said), *study.cells[1:]))
    judged.save(tmp_path / "out")
    assert [cell.readings for cell in store.load(tmp_path / "out").cells] == [said, *({} for _ in study.cells[1:])]
    assert strict(tmp_path / "out" / "results.json")["cells"][0]["metrics"]["energy"] == {
        "value": 0.1 + 0.2,
        "status": "ok",
        "reason": "",
        "chance": 1 / 3,
    }


def test_a_run_saved_before_there_were_metrics_is_read(study, tmp_path, blank_figures) -> None:
    study.save(tmp_path / "out")
    path = tmp_path / "out" / "results.json"
    results = strict(path)
    for cell in results["cells"]:
        del cell["metrics"]
    path.write_text(json.dumps(results), encoding="utf-8")
    assert store.load(tmp_path / "out").metrics == []


def test_saving_computes_the_agreement_of_each_row_once(study, tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(figures, "comparison", lambda *_args, **_options: Figure(figsize=(0.1, 0.1)))
    monkeypatch.setattr("camzoo.study.agree", lambda maps, undefined: asked.append(len(maps)) or agree(maps, undefined))
    study.save(tmp_path / "out")
    assert len(asked) == len(study.rows)


@pytest.mark.parametrize("breaks", ["comparison", "agreement"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_save_leaves_nothing(study, tmp_path, monkeypatch, breaks, error) -> None:
    def stop(*_args, **_options):
        raise error("in the middle")

    monkeypatch.setattr(figures, breaks, stop)
    with pytest.raises(error, match="in the middle"):
        study.save(tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_overwrite_leaves_the_earlier_run(study, tmp_path, monkeypatch) -> None:
    study.save(tmp_path / "out")
    before = contents(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "agreement", full)
    with pytest.raises(RequestError, match="cannot be written: No space left on device"):
        replace(study, seed=4).save(tmp_path / "out", overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300, "/proc/camzoo-out"])
def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path, place) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RequestError, match="name a") as error:
        store.check_free(tmp_path / place)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == {"file": b"mine"}


def test_checking_leaves_no_trace(tmp_path) -> None:
    store.check_free(tmp_path)
    store.check_free(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []


def spoil(name, change):
    def act(folder: Path) -> None:
        change(folder / name)

    return act


SPOILT = {
    "absent": spoil("results.json", Path.unlink),
    "no json": spoil("results.json", lambda path: path.write_text("{")),
    "no object": spoil("results.json", lambda path: path.write_text("[]")),
    "empty object": spoil("results.json", lambda path: path.write_text("{}")),
    "cells missing": spoil("results.json", lambda path: path.write_text('{"schema_version": 2}')),
    "bytes": spoil("results.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
    "no maps": spoil("maps.npz", Path.unlink),
    "maps cut": spoil("maps.npz", lambda path: path.write_bytes(path.read_bytes()[:-40])),
    "maps no zip": spoil("maps.npz", lambda path: path.write_bytes(b"hello")),
    "other maps": spoil("maps.npz", lambda path: np.savez(path, a=np.zeros(2))),
    "pickled maps": spoil("maps.npz", lambda path: np.savez(path, **{"row0 x": np.array([{}], dtype=object)})),
    "no picture": spoil("pictures/0.png", Path.unlink),
    "picture cut": spoil("pictures/0.png", lambda path: path.write_bytes(path.read_bytes()[:60])),
}


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT.keys())
def test_a_damaged_folder_is_told_in_one_line(study, tmp_path, change) -> None:
    study.save(tmp_path / "out")
    change(tmp_path / "out")
    with pytest.raises(RequestError, match="holds no run of camzoo that can be read") as error:
        store.load(tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("blank_figures")
def test_a_later_schema_is_told(study, tmp_path) -> None:
    study.save(tmp_path / "out")
    path = tmp_path / "out" / "results.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 99'))
    with pytest.raises(RequestError, match=f"has schema 99, this camzoo reads {store.SCHEMA_VERSION}"):
        store.load(tmp_path / "out")


@pytest.mark.usefixtures("blank_figures")
def test_the_first_schema_is_read(study, tmp_path) -> None:
    """Golden maps outlive a version: what was written for one model and layer becomes that of every row."""
    study.save(tmp_path / "out")
    path = tmp_path / "out" / "results.json"
    results = json.loads(path.read_text())
    old = {key: results[key] for key in ("environment", "rows", "cells")} | {"schema_version": 1}
    old["problem"] = dict(zip(("model", "layer", "layout"), PLACE, strict=True)) | {"seed": results["seed"]}
    for row in old["rows"]:
        for name in ("model", "layer", "layout", "top"):
            del row[name]
    for cell in old["cells"]:
        del cell["peak_bytes"]
    path.write_text(json.dumps(old))
    loaded = store.load(tmp_path / "out")
    assert loaded.rows[0] == replace(study.rows[0], top=())
    assert (loaded.model, loaded.layer, loaded.layout, loaded.seed) == (*PLACE, 3)
    assert loaded.cells[0].peak_bytes is None
    assert loaded.cells[0].heatmap.values.tobytes() == study.cells[0].heatmap.values.numpy().tobytes()
    assert loaded.provenance == {}
