"""The command line: what it prints where, its exit codes, and one line for each kind of bad input."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import require
from PIL import Image

from camzoo import backends, cli, native, store
from camzoo.cli import saying
from camzoo.errors import NotOffered
from camzoo.types import Backend, Heatmap, Offer, Resolution, Stage, Status

NETS = '''
import torch
from torch import nn

from camzoo.models import Preprocessing


class Net(nn.Module):
    """A small classifier of three classes."""

    def __init__(self, colours=3):
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Conv2d(colours, 8, 3, stride=4, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)
        self.preprocessing = Preprocessing(32, mean=(0.5,) * colours, std=(0.5,) * colours)
        self.labels = ["tabby cat", "dog, large", "Red fox"]

    def forward(self, images):
        return self.head(self.act(self.last(images)).mean((2, 3)))


def factory():
    return Net()


def grey():
    return Net(1)


class Fragile(Net):
    def forward(self, images):
        if images.any():
            raise RuntimeError("only blank images, please\\nreally")
        return super().forward(images)
'''


def write_photo(path: Path, size=(50, 40), mode="RGB") -> Path:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(path)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with a photo and a package of models in it."""
    (tmp_path / "userzoo").mkdir()
    (tmp_path / "userzoo" / "__init__.py").write_text("")
    (tmp_path / "userzoo" / "nets.py").write_text(NETS)
    write_photo(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "userzoo"]:
        del sys.modules[name]


@pytest.fixture
def camzoo(place, monkeypatch, capfd):
    """Runs a command in this process: its exit code, and what it wrote to stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["camzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


def ours(*arguments: object, photo: str = "photo.png", model: str = "factory", out: str = "out") -> list[object]:
    return ["compare", photo, "--model", f"userzoo.nets:{model}", "--methods", "gradcam", "--out", out, *arguments]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_a_comparison_from_photo_to_folder(camzoo, place) -> None:
    code, out, err = camzoo(*ours())
    assert code == 0
    assert err == "[1/1] gradcam\n"
    weights = "as userzoo.nets:factory gives them"
    assert out.splitlines()[0] == f"userzoo.nets:factory ({weights}), layer act (8 x 8 channels-first)"
    assert out.splitlines()[1].startswith("photo.png: ")
    named = [Path(line.strip()) for line in out.partition("wrote\n")[2].splitlines()]
    assert named == [Path("out") / name for name in store.FILES]
    assert all(path.is_file() for path in named)
    study = store.load(place / "out")
    assert [(cell.status, str(cell.computation)) for cell in study.cells] == [(Status.OK, "gradcam")]
    assert study.rows[0].label in ("tabby cat", "dog, large", "Red fox")
    assert study.pictures[0].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ("1", [1]),
        ("2,0", [2, 0]),
        ("red FOX", [2]),
        ("tabby cat,2", [0, 2]),
        ("dog, large", [1]),
        ("top3", None),
        ("TOP1", None),
    ],
)
def test_targets(camzoo, place, target, classes) -> None:
    write_photo(place / "other.png", (30, 60))
    code, *_ = camzoo(*ours("--target", target), "other.png")
    rows = store.load(place / "out").rows
    assert code == 0
    found = [row.class_index for row in rows]
    if classes is not None:
        assert found == classes * 2
    else:
        probabilities = [row.probability for row in rows if row.image == 0]
        assert len(probabilities) == int(target[3:])
        assert probabilities == sorted(probabilities, reverse=True)
    assert [row.name for row in rows] == sorted((row.name for row in rows), reverse=True)


def test_layer_seed_and_random_weights_are_told(camzoo, place) -> None:
    code, out, _ = camzoo(*ours("--layer", "last", "--seed", "5", "--weights", "random"))
    assert code == 0
    assert "layer last (8 x 8 channels-first)" in out
    assert "seed 5" in out.splitlines()[0]
    assert store.load(place / "out").seed == 5


def test_autocast_is_told_and_the_chunk_changes_nothing(camzoo, place) -> None:
    plain, small, half = place / "plain", place / "small", place / "half"
    assert camzoo(*ours("--methods", "scorecam", out="plain"))[0] == 0
    assert camzoo(*ours("--methods", "scorecam", "--chunk", "3", out="small"))[0] == 0
    assert camzoo(*ours("--methods", "scorecam", "--amp", "bf16", out="half"))[0] == 0
    notes = [json.loads((run / "results.json").read_text())["cells"][0]["notes"] for run in (plain, small, half)]
    assert notes == [[], [], ["scores under autocast, bfloat16"]]
    maps = [np.load(run / "maps.npz")["row0 scorecam"] for run in (plain, small, half)]
    assert np.allclose(maps[0], maps[1], rtol=1e-5)
    assert not np.array_equal(maps[0], maps[2])


def test_a_long_method_tells_how_far_it_is(monkeypatch, capsys) -> None:
    now = iter([0.0, 1.0, 11.0, 11.0, 12.0])
    monkeypatch.setattr(saying.time, "monotonic", lambda: next(now))
    report = saying.now_and_then(saying.inputs_line)
    report(8, 64)
    report(16, 64)
    report(24, 64)
    assert capsys.readouterr().err == "    16 of 64 inputs\n"


def test_grey_models_and_odd_photos(camzoo, place) -> None:
    for name, mode in (("grey.png", "L"), ("palette.png", "P"), ("alpha.png", "RGBA"), ("inks.jpg", "CMYK")):
        write_photo(place / name, mode=mode)
    code, *_ = camzoo(*ours(model="grey", photo="grey.png"), "palette.png", "alpha.png", "inks.jpg")
    assert code == 0
    assert [picture.shape for picture in store.load(place / "out").pictures] == [(32, 32, 3)] * 4


def test_a_run_is_not_overwritten_unless_told(camzoo, place) -> None:
    assert camzoo(*ours())[0] == 0
    before = everything(place)
    code, out, err = camzoo(*ours("--seed", "1"))
    assert (code, out) == (2, "")
    assert err == "camzoo: out is not empty: name another folder with --out, or say --overwrite\n"
    assert everything(place) == before
    assert camzoo(*ours("--seed", "1", "--overwrite"))[0] == 0
    assert store.load(place / "out").seed == 1


def fake(name: str, explain, distribution: str = "camzoo") -> Backend:
    return Backend(name, distribution, (Offer("gradcam", "GradCAM", Stage.RAW),), explain)


def breaks(*_args):
    raise ValueError("its [bold]own[/bold] words")


def refuses(*_args):
    raise NotOffered("not today")


def zeros(problem, method, _options) -> Heatmap:
    values, notes = torch.zeros(1, 8, 8), ("a [note]",)
    return Heatmap(values, Stage.RAW, Resolution.LAYER, problem.image_size, method, "zeros", notes)


@pytest.fixture
def fakes(monkeypatch) -> None:
    known = [native.backend, fake("breaks", breaks), fake("refuses", refuses), fake("zeros", zeros)]
    known.append(fake("absent", breaks, "no-such-distribution"))
    monkeypatch.setattr(backends, "found", lambda: {backend.name: backend for backend in known})
    monkeypatch.setattr(backends, "_loaded", lambda: {"rotten": "x:y does not load: ImportError: [/nothing]"})


@pytest.mark.usefixtures("fakes")
def test_a_failed_cell_gives_1_and_the_others_are_there(camzoo, place) -> None:
    code, out, err = camzoo(*ours("--methods", "gradcam@*"))
    assert code == 1
    assert len(err.splitlines()) == 5
    table = {line.split()[0]: line for line in out.splitlines() if line.startswith(" gradcam")}
    assert "failed" in table["gradcam@breaks"]
    assert "its [bold]own[/bold] words" in table["gradcam@breaks"]
    assert "not offered" in table["gradcam@refuses"]
    assert "not today" in table["gradcam@refuses"]
    assert "pip install no-such-distribution" in table["gradcam@absent"]
    assert "photo.png: all zero" in table["gradcam@zeros"]
    assert "a [note]" in table["gradcam@zeros"]
    statuses = [cell.status for cell in store.load(place / "out").cells]
    assert statuses == [Status.OK, Status.FAILED, Status.NOT_OFFERED, Status.OK, Status.NOT_INSTALLED]


@pytest.mark.usefixtures("fakes")
def test_not_installed_and_not_offered_are_no_failure(camzoo) -> None:
    assert camzoo(*ours("--methods", "gradcam@absent,gradcam@refuses,gradcam"))[0] == 0


@pytest.mark.usefixtures("fakes")
def test_methods_lists_the_coverage(camzoo) -> None:
    code, out, err = camzoo("methods")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == ["method", "camzoo", "breaks", "refuses", "zeros", "absent", "rotten"]
    (row,) = [line for line in out.splitlines() if line.split()[0] == "gradcam"]
    assert row.split() == ["gradcam", "ready", "ready", "ready", "ready", "not", "installed"]
    (row,) = [line for line in out.splitlines() if line.split()[0] == "eigencam"]
    assert row.split() == ["eigencam", "ready", *["not", "offered"] * 4]
    assert "absent: not installed pip install no-such-distribution" in out
    assert "rotten: failed x:y does not load: ImportError: [/nothing]" in out


def test_layers_lists_the_candidates_and_the_choice(camzoo) -> None:
    code, out, err = camzoo("layers", "--model", "userzoo.nets:factory")
    assert (code, err) == (0, "")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "last Conv2d 1 x 8 x 8 x 8 8 x 8 channels-first 224 224 2.0 kB" in rows
    assert "act <- default ReLU 1 x 8 x 8 x 8 8 x 8 channels-first 0 224 2.0 kB" in rows
    assert "251 parameters in 1.0 kB; the outputs of all layers for one image 3 x 32 x 32 in 4.1 kB" in rows
    assert "head" not in out
    assert out.splitlines()[-1].endswith("default layer act, the last grid before pooling and the classifier")
    assert "head" in camzoo("layers", "--model", "userzoo.nets:factory", "--all")[1]


def bomb(path: Path) -> None:
    """A small file that says it is 60,000 x 60,000 pixels."""
    content = write_photo(path).read_bytes()
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


FILES = {
    "bomb.png": bomb,
    "text.png": lambda path: path.write_text("no image"),
    "empty.png": lambda path: path.write_bytes(b""),
    "dot.png": lambda path: write_photo(path, (1, 1)),
    "cut.png": lambda path: path.write_bytes(write_photo(path).read_bytes()[:900]),
    "cut.jpg": lambda path: path.write_bytes(write_photo(path).read_bytes()[:700]),
    "folder.png": Path.mkdir,
    "other.pt": lambda path: torch.save({"head.weight": torch.zeros(2, 8)}, path),
    "harm.pt": lambda path: path.write_bytes(pickle.dumps(Harmful())),
    "cut.safetensors": lambda path: path.write_bytes(b"\x00\x01"),
}

BAD = {
    "missing photo": (ours(photo="nowhere.png"), "nowhere.png does not exist"),
    "second photo missing": ([*ours(), "nowhere.png"], "nowhere.png does not exist"),
    "name with a line break": (ours(photo="no\nwhere.png"), "no where.png does not exist"),
    "not an image": (ours(photo="text.png"), "text.png is not an image"),
    "truncated png": (ours(photo="cut.png"), "cut.png is truncated or damaged"),
    "truncated jpeg": (ours(photo="cut.jpg"), "cut.jpg is truncated or damaged"),
    "empty photo": (ours(photo="empty.png"), "empty.png is empty"),
    "folder as photo": (ours(photo="folder.png"), "folder.png is a directory"),
    "1x1": (ours(photo="dot.png"), "dot.png is 1x1 pixels"),
    "bomb": (ours(photo="bomb.png"), "bomb.png is too large"),
    "model": (["compare", "photo.png", "--model", "resnet81"], "unknown model 'resnet81': did you mean resnet18"),
    "own module": (["compare", "photo.png", "--model", "nobody.nets:f"], "nobody"),
    "own attribute": (ours(model="factry"), "did you mean factory"),
    "layer": (ours("--layer", "lost"), "unknown layer 'lost': did you mean last"),
    "layer without a grid": (ours("--layer", "head"), "no grid of cells"),
    "label": (ours("--target", "red fix"), "unknown label 'red fix': did you mean Red fox"),
    "index too high": (ours("--target", "3"), "class 3 is out of range: the model has classes 0 to 2"),
    "index below zero": (ours("--target=-1"), "class -1 is out of range"),
    "second target": (ours("--target", "0,9"), "class 9 is out of range"),
    "top of too many": (ours("--target", "top4"), "the model has 3 classes"),
    "top of none": (ours("--target", "top0"), "top0"),
    "method": (ours("--methods", "gradcm"), "unknown method 'gradcm': did you mean gradcam"),
    "method at a backend": (ours("--methods", "gradcam,gradcm@camzoo"), "did you mean gradcam"),
    "backend": (ours("--methods", "gradcam@captm"), "unknown backend 'captm': did you mean captum"),
    "half a star": (ours("--methods", "grad*"), "a star stands for a whole name"),
    "broken options": (ours("--methods", "gradcam(x"), "options are written as in"),
    "no methods": (ours("--methods", ""), "no method is named"),
    "device": (ours("--device", "gpu0"), "no device 'gpu0'"),
    "device by another name": (ours("--device", "gpu:1"), "no device 'gpu:1': did you mean cuda:1?"),
    "empty device": (ours("--device", ""), "no device ''"),
    "device of another kind": (ours("--device", "hpu"), "no device 'hpu'"),
    "device without memory": (ours("--device", "meta"), "'meta' computes nothing"),
    "missing weights": (ours("--weights", "nowhere.pt"), "nowhere.pt does not exist"),
    "weights that do not fit": (ours("--weights", "other.pt"), "other.pt does not fit Net"),
    "weights that need code": (ours("--weights", "harm.pt"), "needs arbitrary code"),
    "weights cut off": (ours("--weights", "cut.safetensors"), "truncated or no checkpoint"),
    "output is a file": (ours(out="photo.png"), "photo.png is a file"),
    "output below a file": (ours(out="photo.png/x"), "photo.png is a file"),
    "output not ours": (ours("--overwrite", out="."), "holds something else than a run"),
    "output not writable": (ours(out="/proc/camzoo"), "/proc/camzoo cannot be written"),
    "output name too long": (ours(out="x" * 300), "cannot be written"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD.keys())
def test_bad_input_gives_one_line_and_2_and_leaves_nothing(camzoo, place, arguments, said) -> None:
    for name, write in FILES.items():
        if any(name in str(argument) for argument in arguments):
            write(place / name)
    before = everything(place)
    code, out, err = camzoo(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("camzoo: ")
    assert err.count("\n") == 1
    assert said in err
    assert everything(place) == before


def test_a_model_that_breaks_gives_2_and_its_own_words(camzoo, place) -> None:
    before = everything(place)
    code, out, err = camzoo(*ours(model="Fragile"))
    assert (code, out) == (2, "")
    assert "only blank images, please" in err
    assert everything(place) == before


def test_what_breaks_while_saving_leaves_nothing(camzoo, place, monkeypatch) -> None:
    from camzoo import figures

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "agreement", full)
    before = everything(place)
    code, out, err = camzoo(*ours())
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("camzoo: out cannot be written: No space left on device")
    assert everything(place) == before


def test_a_file_name_that_is_no_text(camzoo, place) -> None:
    name = os.fsdecode(b"a\xff[b].png")
    write_photo(place / "plain.png").rename(name)
    code, out, _ = camzoo(*ours(photo=name))
    assert code == 0
    assert r"a\udcff[b].png: " in out
    assert store.load(place / "out").rows[0].name == name


@pytest.mark.slow
def test_demo_with_our_own_gradcam(camzoo, place, monkeypatch, lite0) -> None:
    require("skimage")
    monkeypatch.setattr(cli.compare, "DEMO_METHODS", ("gradcam",))
    code, out, _ = camzoo("demo")
    assert code == 0
    assert "demo-out/comparison.png" in out
    labels = [row.label for row in store.load(place / "demo-out").rows]
    assert labels[0] in ("tiger cat", "Egyptian cat", "tabby")
    assert labels[1] == "espresso"


def test_methods_of_the_demo_exist() -> None:
    from camzoo import specs

    expanded = specs.expand(",".join(cli.compare.DEMO_METHODS))
    assert [str(computation) for computation in expanded] == list(cli.compare.DEMO_METHODS)
    assert {computation.backend for computation in expanded} == set(backends.found())


def command(place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "camzoo", *map(str, arguments)],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii", "PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_as_a_program_of_its_own(place) -> None:
    """Where stdout cannot even show what is in a name."""
    write_photo(place / "猫.png")
    done = command(place, *ours(photo="猫.png"))
    assert done.stderr == "[1/1] gradcam\n"
    assert done.returncode == 0
    assert r"\u732b.png: " in done.stdout
    assert json.loads((place / "out" / "results.json").read_text())["rows"][0]["name"] == "猫.png"
    before = everything(place)
    done = command(place, *ours("--target", "cow"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert everything(place) == before


def test_help_names_every_option(camzoo) -> None:
    code, out, _ = camzoo("compare", "--help")
    assert code == 0
    for option in ("--model", "--weights", "--layer", "--target", "--methods", "--device", "--out", "--overwrite"):
        assert option in out
