"""`camzoo compare` with several layers and models: which rows there are, and what they are made from."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import require
from matplotlib.figure import Figure
from PIL import Image

from camzoo import cli, figures, leaderboard, report, store
from camzoo.types import Status

NETS = '''
import torch
from torch import nn

from camzoo.models import Preprocessing


class Net(nn.Module):
    """A small classifier of three classes."""

    def __init__(self, size=32, labels=("cat", "dog", "fox")):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 3)
        self.preprocessing = Preprocessing(size, mean=(0.5,) * 3, std=(0.5,) * 3)
        self.labels = list(labels)

    def forward(self, images):
        return self.head(self.last(self.first(images).relu()).relu().mean((2, 3)))


def small():
    return Net()


def large():
    return Net(48, ("house", "tree", "cat"))


class Other(Net):
    def __init__(self):
        super().__init__()
        self.end, self.last = self.last, None

    def forward(self, images):
        return self.head(self.end(self.first(images).relu()).relu().mean((2, 3)))


instance = Net()
'''


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with two photos, a module of models and two files of weights of one name."""
    (tmp_path / "netzoo.py").write_text(NETS)
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("comparison", "agreement"):  # they take most of the time of saving
        monkeypatch.setattr(figures, name, lambda *_args, **_options: Figure(figsize=(0.1, 0.1)))
    monkeypatch.setattr(report, "html", lambda *_args: "")
    yield tmp_path
    sys.modules.pop("netzoo", None)


def checkpoint(path: Path, factor: float) -> dict[str, torch.Tensor]:
    import netzoo

    state = {name: factor * tensor for name, tensor in netzoo.small().state_dict().items()}
    path.parent.mkdir()
    torch.save(state, path)
    return state


@pytest.fixture
def compare(place, monkeypatch, capfd):
    """Runs `camzoo compare a.png b.png ...` in this process: its exit code, what it wrote to stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        words = ["camzoo", "compare", "a.png", "b.png", "--methods", "gradcam,hirescam", "--out", "out", *arguments]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


def test_layers_are_rows(compare, place) -> None:
    code, _, err = compare("--model", "netzoo:small", "--layers", "first, last,first")
    assert code == 0
    assert [line for line in err.splitlines() if "layer" in line] == [
        "netzoo:small (as netzoo:small gives them), layer first",
        "netzoo:small (as netzoo:small gives them), layer last",
    ]
    study = store.load(place / "out")
    assert [(row.name, row.layer, row.layout) for row in study.rows] == [
        (name, *layer)
        for name in ("a.png", "b.png")
        for layer in (("first", "16 x 16 channels-first"), ("last", "8 x 8 channels-first"))
    ]
    assert [cell.heatmap.values.shape[1:] for cell in study.cells[::2]] == [(16, 16), (8, 8)] * 2
    assert len(study.pictures) == 2


def test_a_layer_among_several_gives_what_it_gives_alone(compare, place) -> None:
    assert compare("--model", "netzoo:small", "--layers", "first,last")[0] == 0
    assert compare("--model", "netzoo:small", "--layer", "last", "--out", "alone")[0] == 0
    both, alone = store.load(place / "out"), store.load(place / "alone")
    for row, number in ((1, 0), (3, 1)):
        assert both.rows[row] == alone.rows[number]
        for one, other in zip(both.of(row), alone.of(number), strict=True):
            assert one.heatmap.values.tobytes() == other.heatmap.values.tobytes()


def test_each_model_has_its_own_view_labels_and_target(compare, place) -> None:
    code, *_ = compare("--model", "netzoo:small", "--model", "netzoo:large", "--target", "cat")
    assert code == 0
    study = store.load(place / "out")
    assert [(row.name, row.model.partition(" ")[0], row.class_index, row.label) for row in study.rows] == [
        ("a.png", "netzoo:small", 0, "cat"),
        ("a.png", "netzoo:large", 2, "cat"),
        ("b.png", "netzoo:small", 0, "cat"),
        ("b.png", "netzoo:large", 2, "cat"),
    ]
    assert [study.pictures[row.image].shape[0] for row in study.rows] == [32, 48, 32, 48]


def test_a_computation_may_be_refused_in_some_rows_only(compare, place) -> None:
    code, out, _ = compare("--model", "netzoo:small", "--layers", "first,last", "--methods", "gradcam,cam")
    assert code == 0
    statuses = [cell.status for cell in store.load(place / "out").cells]
    assert statuses == [Status.OK, Status.NOT_OFFERED, Status.OK, Status.NOT_OFFERED] * 2
    assert "not offered" in out


def test_two_checkpoints_of_one_model_and_of_one_name(compare, place) -> None:
    states = [checkpoint(place / folder / "net.pt", factor) for folder, factor in (("before", 1.0), ("after", -2.0))]
    code, *_ = compare("--model", "netzoo:small", "--weights", "before/net.pt", "--weights", "after/net.pt")
    assert code == 0
    study = store.load(place / "out")
    assert [row.model for row in study.rows[:2]] == [
        "netzoo:small (file before/net.pt)",
        "netzoo:small (file after/net.pt)",
    ]
    assert [row.score for row in study.rows[:2]] == pytest.approx([score_of(state) for state in states], abs=1e-5)
    first, second = study.provenance["weights_sha256"]
    assert first != second


def score_of(state: dict[str, torch.Tensor]) -> float:
    """The highest score of a.png, the model taken apart."""
    import netzoo

    net = netzoo.small()
    net.load_state_dict(state)
    with Image.open("a.png") as photo, torch.no_grad():
        return float(net.eval()(net.preprocessing.tensor(net.preprocessing.view(photo))).max())


def test_weights_once_are_for_every_model(compare, place) -> None:
    assert compare("--model", "netzoo:small", "--model", "netzoo:large", "--weights", "random", "--seed", "3")[0] == 0
    models = {row.model for row in store.load(place / "out").rows}
    assert models == {f"netzoo:{name} (as netzoo:{name} gives them, seed 3)" for name in ("small", "large")}


def test_what_it_takes_to_ask_the_same_again(compare, place) -> None:
    checkpoint(place / "run" / "net.pt", 2.0)
    assert compare("--model", "netzoo:small", "--weights", "run/net.pt", "--seed", "4")[0] == 0
    told = json.loads((place / "out" / "results.json").read_text())["provenance"]
    assert told["command"] == sys.argv
    assert told["seed"] == 4
    digests = [hashlib.sha256((place / name).read_bytes()).hexdigest() for name in ("a.png", "b.png")]
    assert told["photos"] == [
        {"name": name, "sha256": digest} for name, digest in zip(("a.png", "b.png"), digests, strict=True)
    ]
    assert len(told["weights_sha256"]) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_the_hash_of_weights_sees_every_bit_and_name(dtype) -> None:
    from camzoo.cli.asking import weights_sha256

    def of(values, name="weight", **more) -> str:
        net = torch.nn.Module()
        for each, tensor in {name: torch.tensor(values).to(dtype), **more}.items():
            net.register_buffer(each, tensor)
        return weights_sha256(net)

    assert of([1, 2, 3, 4]) == of([1, 2, 3, 4])
    others = [of([1, 2, 3, 5]), of([1, 2, 3, 4], "other"), of([[1, 2], [3, 4]]), of([1, 2, 3, 4], more=torch.tensor(0))]
    assert len({of([1, 2, 3, 4]), *others}) == 5


def models(*names: str) -> list[str]:
    return [word for name in names for word in ("--model", f"netzoo:{name}")]


BAD = {
    "layer and layers": ([*models("small"), "--layer", "last", "--layers", "first,last"], "leave out one of them"),
    "no layers": ([*models("small"), "--layers", " , "], "no layer is named with --layers"),
    "one of the layers": ([*models("small"), "--layers", "first,lost"], "unknown layer 'lost': did you mean last"),
    "layer of the second": ([*models("small", "Other"), "--layer", "last"], "unknown layer 'last'"),
    "target of the second": ([*models("small", "large"), "--target", "fox"], "unknown label 'fox'"),
    "second model": (models("small", "smal"), "did you mean small"),
    "the same model twice": (models("small", "large", "small"), "netzoo:small (as netzoo:small gives them) is named"),
    "one module twice": (
        [*models("instance"), "--weights", "random", "--weights", "new/net.pt"],
        "netzoo:instance is one module that is there once",
    ),
    "too many weights": (
        [*models("small", "large"), *["--weights", "random"] * 3],
        "2 models and 3 weights: give --weights once for all models or once for each",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD.keys())
def test_bad_input_gives_one_line_before_any_work(compare, place, arguments, said) -> None:
    if "new/net.pt" in arguments:
        checkpoint(place / "new" / "net.pt", 2.0)
    code, out, err = compare(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("camzoo: ")
    assert err.count("\n") == 1
    assert said in err
    assert not (place / "out").exists()


# ---- metrics


def mask(path: Path, size=(50, 40)) -> None:
    """The left half."""
    seen = np.zeros((size[1], size[0]), dtype=np.uint8)
    seen[:, : size[0] // 2] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(seen).save(path)


def test_metrics_are_printed_and_saved(compare, place) -> None:
    mask(place / "masks" / "a_mask.png")
    code, out, err = compare("--model", "netzoo:small", "--metrics", "fast", "--masks", "masks")
    assert code == 0
    study = store.load(place / "out")
    assert study.metrics[:5] == ["average-drop", "increase", "average-gain", "complexity", "entropy"]
    readings = [cell.readings for cell in study.cells]
    assert {each["energy"].status for each in readings[:2]} == {"ok"}
    assert {each["energy"].status for each in readings[2:]} == {"undefined"}
    assert readings[0]["energy"].chance == pytest.approx(0.5, abs=0.05)
    assert f"{readings[0]['complexity'].value:.4g}" in out
    assert "by chance" in out
    assert "One image ranks nothing" in out
    assert "camzoo evaluate" in out
    assert "energy, " in out
    assert "no box or mask of the explained class in view" in out
    assert f"/{2 + 2 * len(study.metrics)}] average-drop of a.png" in err


def test_metrics_are_those_of_the_evaluation_of_the_same_photos(compare, place, monkeypatch) -> None:
    parquet = require("pyarrow.parquet")
    asked = ["--model", "netzoo:small", "--layer", "last", "--methods", "gradcam,hirescam"]
    asked += ["--metrics", "average-drop,complexity"]
    assert compare(*asked)[0] == 0
    (place / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (place / name).rename(place / "photos" / name)
    monkeypatch.setattr(leaderboard, "write", lambda *_: [])
    monkeypatch.setattr(sys, "argv", ["camzoo", "evaluate", "photos", *asked, "--workers", "0", "--out", "all"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    rows = [row for path in (place / "all").rglob("*.parquet") for row in parquet.read_table(path).to_pylist()]
    evaluated = {(row["image"], row["method"], row["metric"]): row["value"] for row in rows}
    found = store.load(place / "out").readings()
    assert len(found) == 8
    for each in found:  # in single precision, and summed in another order
        assert each["value"] == pytest.approx(evaluated[each["image"], each["method"], each["metric"]], rel=2e-6)


def test_without_metrics_nothing_is_said_of_them(compare, place) -> None:
    code, out, _ = compare("--model", "netzoo:small")
    assert code == 0
    assert "ranks nothing" not in out
    assert store.load(place / "out").metrics == []


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (["--metrics", "average-dorp"], "average-drop"),
        (["--metrics", "energy"], "energy needs masks"),
        (["--masks", "masks"], "name some with --metrics"),
        (["--metrics", "fast", "--masks", "nowhere"], "nowhere has no mask of these photos"),
        (["--metrics", "fast", "--masks", "masks"], "b.png has 20x20 pixels, b.png has 50x40"),
    ],
)
def test_metrics_that_cannot_be_read_are_refused_before_a_model_is_loaded(compare, place, asked, line) -> None:
    mask(place / "masks" / "b.png", (20, 20))
    code, _, err = compare("--model", "nowhere:at_all", *asked)
    assert code == 2
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert not (place / "out").exists()
