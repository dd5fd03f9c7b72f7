"""The run on this machine: what is kept, what a run that was killed goes on with, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import drawings
import pytest
import torch
from conftest import require

from camzoo import leaderboard, specs
from camzoo.errors import NotInstalled, RequestError
from camzoo.evaluation import batch, files, local, opening, planning, reading, samples, table
from camzoo.evaluation.batch import CONTROLS, Question

COUNT, SIZE = 22, 4
BATCHES = 6
IDENTITY = {"model": "ShapeNet", "weights": "trained"}


@pytest.fixture(scope="module", autouse=True)
def arrow():
    require("pyarrow.parquet")


@pytest.fixture(scope="module")
def net():
    return drawings.trained()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A table of shapes, in the second batch of which one photo is damaged."""
    found = drawings.as_table(tmp_path_factory.mktemp("data") / "set", COUNT)
    (found.parent / "005.png").write_bytes(b"\x89PNG damaged")
    return opening.open_data(found)


def question(net, methods="gradcam,layercam", wanted="average-drop,energy,pointing", **changes):
    return Question(net, "last", tuple(specs.expand([methods, *CONTROLS])), table.expand(wanted), **changes)


def run(net, data, out, asked=None, **changes):
    given = {"identity": IDENTITY, "size": SIZE, "workers": 0} | changes
    local.run(asked or question(net), data, drawings.SEEN, drawings.LABELS, out, **given)


@pytest.fixture(scope="module")
def unbroken(net, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    run(net, data, out)
    leaderboard.write(reading.read(out), out)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which has the date in it."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del found[files.MANIFEST]
    return found


class Killed(BaseException):
    """Stands for a signal."""


def killed_at(number, monkeypatch):
    """Evaluating the batch of this number ends the run."""
    plain, seen = batch.evaluate, []

    def evaluate(asked, loaded):
        if len(seen) == number:
            raise Killed
        seen.append(loaded)
        return plain(asked, loaded)

    monkeypatch.setattr(batch, "evaluate", evaluate)
    return seen


def test_what_is_kept(unbroken, data):
    assert sorted(path.name for path in unbroken.iterdir()) == [
        "evaluation.md",
        "leaderboard.html",
        "leaderboard.png",
        "manifest.json",
        "parts",
    ]
    assert sorted(path.name for path in (unbroken / "parts").iterdir()) == [f"part-{n:05d}.parquet" for n in range(6)]
    parquet = require("pyarrow.parquet")
    rows = parquet.read_table(unbroken / "parts").to_pylist()
    assert list(rows[0]) == ["image", "label", "target", "method", "backend", "metric", "value", "status", "reason"]
    assert list(dict.fromkeys(row["image"] for row in rows)) == [item.name for item in data.items]
    (bad,) = [row for row in rows if row["image"] == "005.png"]
    assert bad["status"] == "failed"
    assert "005.png" in bad["reason"]
    results = reading.read(unbroken)
    assert len(results.images) == COUNT - 1
    assert list(results.broken) == ["005.png"]
    assert results.complete


@pytest.mark.parametrize("number", [0, 1, 4, 5])
def test_a_run_that_is_ended_goes_on(net, data, unbroken, tmp_path, monkeypatch, number):
    """Nothing is lost, nothing is done twice, and each file is that of the unbroken run, byte for byte."""
    with monkeypatch.context() as patch:
        killed_at(number, patch)
        with pytest.raises(Killed):
            run(net, data, tmp_path / "out")
    assert files.done(tmp_path / "out") == frozenset(range(number))
    seen = killed_at(BATCHES, monkeypatch)
    run(net, data, tmp_path / "out", resume=True)
    assert len(seen) == BATCHES - number
    leaderboard.write(reading.read(tmp_path / "out"), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(unbroken)


def test_what_was_half_written_is_not_there(net, data, unbroken, tmp_path, monkeypatch):
    def ended(_path, _target):
        raise Killed

    with monkeypatch.context() as patch:
        run(net, data, tmp_path / "out", resume=True)
        files.part(tmp_path / "out", 3).unlink()
        patch.setattr(Path, "replace", ended)
        with pytest.raises(Killed):
            run(net, data, tmp_path / "out", resume=True)
    assert files.done(tmp_path / "out") == {0, 1, 2, 4, 5}
    run(net, data, tmp_path / "out", resume=True)
    leaderboard.write(reading.read(tmp_path / "out"), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(unbroken)


def test_a_finished_run_goes_on_with_nothing(net, data, unbroken, tmp_path, monkeypatch):
    before = contents(unbroken)
    seen = killed_at(0, monkeypatch)
    run(net, data, unbroken, resume=True)
    assert seen == []
    assert contents(unbroken) == before


def test_workers_change_nothing(net, data, unbroken, tmp_path):
    few = opening.Data(data.name, data.kind, data.items[:8])
    run(net, few, tmp_path / "out", workers=1)
    for number in range(2):
        assert files.part(tmp_path / "out", number).read_bytes() == files.part(unbroken, number).read_bytes()


def test_progress(net, data, tmp_path):
    told = []
    few = opening.Data(data.name, data.kind, data.items[:10])
    run(net, few, tmp_path / "out", question(net, wanted="complexity"), progress=lambda *done: told.append(done))
    assert told == [(4, 10), (8, 10), (10, 10)]
    files.part(tmp_path / "out", 1).unlink()
    told.clear()
    asked = question(net, wanted="complexity")
    run(net, few, tmp_path / "out", asked, resume=True, progress=lambda *done: told.append(done))
    assert told == [(10, 10)]


def test_the_callers_random_numbers_go_on(net, data, tmp_path):
    few = opening.Data(data.name, data.kind, data.items[:2])
    before = torch.get_rng_state()
    run(net, few, tmp_path / "out", question(net, "gradcam", "complexity"))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_that_is_too_large(net, data, tmp_path, monkeypatch):
    def take(*_given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(batch.capture, "take", take)
    with pytest.raises(RequestError, match="4 images at a time are more than fits: ask for fewer with --batch"):
        run(net, data, tmp_path / "out")


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"size": 5}, "batch was 4, and is 5 now"),
        ({"identity": IDENTITY | {"weights": "other"}}, "weights was trained, and is other now"),
        ({"methods": "gradcam"}, "methods was gradcam, layercam, random"),
        ({"wanted": "energy"}, "metrics was average-drop, pointing, energy, and is energy now"),
        ({"seed": 1}, "seed was 0, and is 1 now"),
        ({"by_label": True}, "target was predicted, and is label now"),
        ({"fewer": True}, "images was 22, and is 20 now"),
        ({"other": True}, "listing was"),
    ],
)
def test_another_question_is_refused(net, data, unbroken, change, why):
    before = contents(unbroken)
    asked = {name: change.pop(name) for name in ("methods", "wanted", "seed", "by_label") if name in change}
    items = list(data.items)
    items = items[:20] if change.pop("fewer", False) else items
    items = items[::-1] if change.pop("other", False) else items
    with pytest.raises(RequestError, match="was asked something else") as error:
        run(net, opening.Data(data.name, data.kind, items), unbroken, question(net, **asked), resume=True, **change)
    assert why in str(error.value)
    assert contents(unbroken) == before


def test_a_folder_that_is_no_evaluations_is_refused(net, data, unbroken, tmp_path):
    with pytest.raises(RequestError, match="go on with --resume"):
        run(net, data, unbroken)
    (tmp_path / "file").write_text("")
    for folder, why in ((tmp_path, "something else"), (tmp_path / "file", "is a file")):
        with pytest.raises(RequestError, match=why):
            run(net, data, folder)
    (tmp_path / "run").mkdir()
    for text, why in (("{}", "cannot be read"), ("[]", "cannot be read"), ('{"schema_version": 9}', "version 9")):
        (tmp_path / "run" / files.MANIFEST).write_text(text)
        with pytest.raises(RequestError, match=why):
            run(net, data, tmp_path / "run", resume=True)
    with pytest.raises(RequestError, match="holds no evaluation"):
        reading.read(tmp_path)


def test_labels_that_the_model_does_not_have_are_refused(net, tmp_path):
    for names, why in ((["a.png", "b.png"], "has no labels"), (["cat/a.png", "dog/b.png"], "'cat', the model 'cross'")):
        folder = tmp_path / str(len(why))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            drawings.drawn(0)[0].save(folder / name)
        with pytest.raises(RequestError, match=why):
            run(net, opening.open_data(folder), tmp_path / "out", question(net, by_label=True))
        assert not (tmp_path / "out").exists()


def test_metrics_that_the_data_cannot_have(data, tmp_path):
    bare = opening.open_data(drawings.as_folders(tmp_path, 3))
    names = [each.name for each in local.fitting(table.expand("fast"), bare, False, named=False)]
    assert names == ["average-drop", "increase", "average-gain", "complexity", "entropy"]
    with pytest.raises(RequestError, match="pointing needs boxes or masks"):
        local.fitting(table.expand("pointing"), bare, False, named=True)
    with pytest.raises(RequestError, match="error-top-1 needs boxes and --target label"):
        local.fitting(table.expand("error-top-1"), data, False, named=True)
    assert local.fitting(table.TABLE, data, True, named=True) == table.TABLE


def test_without_pyarrow(monkeypatch, unbroken):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotInstalled, match=r"pip install 'camzoo\[evaluate\]'"):
        reading.read(unbroken)


# ---- what it will cost


def test_the_plan_counts_forward_passes(net, data):
    """One for the evidence, and one for each map that shows something: the uniform one shows nothing."""
    loading = samples.Loading(data.items, drawings.SEEN, {})
    asked = question(net, "gradcam,layercam", "average-drop,increase")
    found = planning.plan(asked, loading)
    assert (found.images, found.tried, found.forwards) == (COUNT, planning.IMAGES, 1 + 2 + 3)
    assert "22 images x 6.0 forward passes = 132 forward passes" in str(found)
    assert not net._forward_pre_hooks
    steps = planning.plan(question(net, "gradcam", "insertion"), loading)
    assert steps.forwards == 1 + 4 * 33
    assert planning.plan(asked, samples.Loading([], drawings.SEEN, {})) is None


def test_the_manifest_says_what_was_asked(unbroken):
    told = json.loads((unbroken / files.MANIFEST).read_text())
    assert told["question"]["methods"] == ["gradcam", "layercam", "random", "uniform", "center", "sobel"]
    assert told["labels"] == list(drawings.LABELS)
    assert str(Path.home()) not in json.dumps(told)
