"""`camzoo evaluate` from the command line: a whole run, a kill, a plan, and one line for each kind of bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import drawings
import pytest
import torch
from conftest import require
from PIL import Image

from camzoo import cli
from camzoo.cli import evaluate as _verb  # noqa: F401 (joins the application)
from camzoo.evaluation import batch, files, reading

COMMON = ["--model", "drawings:ShapeNet", "--weights", "net.pt", "--layer", "last", "--workers", "0"]


@pytest.fixture(scope="module")
def state():
    return drawings.trained().state_dict()


@pytest.fixture
def place(tmp_path, monkeypatch, state) -> Path:
    """A working directory with a data set, an empty folder and the weights of the net."""
    require("pyarrow.parquet")
    drawings.as_folders(tmp_path / "set", 9)
    (tmp_path / "empty").mkdir()
    torch.save(state, tmp_path / "net.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def camzoo(monkeypatch, capfd):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["camzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which has the date in it."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del found[files.MANIFEST]
    return found


def test_a_run(camzoo, place):
    (place / "set" / "disc" / "bad.png").write_bytes(b"no photo")
    code, out, err = camzoo("evaluate", "set", *COMMON, "--methods", "gradcam,layercam", "--batch", 4, "--out", "run")
    assert (code, err) == (0, "")
    assert out == "wrote\n  run/parts\n  run/evaluation.md\n  run/leaderboard.png\n  run/leaderboard.html\n"
    page = (place / "run" / "evaluation.md").read_text()
    assert "9 images (folder for each class)" in page
    assert "set/disc/bad.png is not an image" in page
    assert "| layercam |" in page
    with Image.open(place / "run" / "leaderboard.png") as picture:
        assert min(picture.size) > 200
    results = reading.read(place / "run")
    assert results.methods == ("gradcam", "layercam", "random", "uniform", "center", "sobel")
    assert list(results.values) == ["average-drop", "increase", "average-gain", "complexity", "entropy"]
    assert results.model["correct"].tolist() == [1] * 9


def test_a_limit_and_the_true_class(camzoo, place):
    drawings.as_table(place / "table", 12)
    asked = ["--limit", 5, "--target", "label", "--metrics", "energy,error-top-1", "--methods", "center"]
    code, _, err = camzoo("evaluate", "table/shapes.csv", *COMMON, *asked)
    assert (code, err) == (0, "")
    results = reading.read(place / "camzoo-evaluation")
    assert len(results.images) == 5
    assert results.methods == ("center", "random", "uniform", "sobel")  # a control that is named is run once


def test_a_plan_writes_nothing(camzoo, place):
    code, out, err = camzoo("evaluate", "set", *COMMON, "--methods", "gradcam", "--plan")
    assert (code, err) == (0, "")
    assert out.startswith("9 images x 5.0 forward passes = 45 forward passes, about ")
    assert not (place / "camzoo-evaluation").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none"], "none does not exist"),
        (["empty"], "no photo is in it"),
        (["wrong.csv"], "has no column 'path'"),
        (["set", "--metrics", "enrgy"], "did you mean energy"),
        (["set", "--metrics", "pointing"], "pointing needs boxes or masks"),
        (["set", "--methods", "gradcan"], "did you mean gradcam"),
        (["set", "--target", "labels"], "did you mean label"),
        (["set", "--executor", "rya"], "did you mean ray"),
        (["set", "--layer", "lost"], "did you mean last"),
        (["set", "--device", "abacus"], "no device"),
        (["set", "--out", "net.pt"], "net.pt is a file"),
        (["set", "--out", "set"], "something else than an evaluation"),
        (["named", "--target", "label"], "no label of named"),
    ],
)
def test_bad_input_is_one_line(camzoo, place, arguments, said):
    (place / "wrong.csv").write_text("file,class\na.png,cat\n")
    (place / "named" / "cat").mkdir(parents=True)
    drawings.drawn(0)[0].save(place / "named" / "cat" / "a.png")
    before = sorted(place.rglob("*"))
    data, *options = arguments
    code, out, err = camzoo("evaluate", data, *COMMON, *options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_another_question_is_refused(camzoo, place):
    assert camzoo("evaluate", "set", *COMMON, "--methods", "center")[0] == 0
    assert "go on with --resume" in camzoo("evaluate", "set", *COMMON, "--methods", "center")[2]
    assert camzoo("evaluate", "set", *COMMON, "--methods", "center", "--resume")[0] == 0
    assert (
        "seed was 0, and is 1 now"
        in camzoo("evaluate", "set", *COMMON, "--methods", "center", "--seed", 1, "--resume")[2]
    )
    drawings.drawn(30)[0].save(place / "set" / "cross" / "new.png")
    assert "images was 9, and is 10 now" in camzoo("evaluate", "set", *COMMON, "--methods", "center", "--resume")[2]


def test_it_can_be_interrupted(camzoo, place, monkeypatch):
    """After a finished batch: what is there is kept, and one line says how to go on."""
    plain, asked = files.keep, ["evaluate", "set", *COMMON, "--methods", "center", "--batch", 3]

    def keep(*given):
        plain(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "keep", keep)
        code, out, err = camzoo(*asked)
    assert (code, out) == (130, "")
    line = " ".join(map(str, asked))
    said = "what is finished is in camzoo-evaluation; go on with"
    assert err == f"camzoo: interrupted; {said}: camzoo {line} --resume\n"
    assert camzoo(*asked, "--resume")[0] == 0


def test_a_method_that_breaks_ends_in_1(camzoo, place, monkeypatch):
    monkeypatch.setattr(batch.native, "heatmap", lambda *_given: 1 / 0)
    code, _, err = camzoo("evaluate", "set", *COMMON, "--methods", "gradcam", "--metrics", "complexity")
    assert (code, err) == (1, "")
    assert "failed: ZeroDivisionError: division by zero" in (place / "camzoo-evaluation" / "evaluation.md").read_text()


KILLED = """
import os, signal, sys
from pathlib import Path
from camzoo import cli
from camzoo.cli import evaluate

plain = Path.replace
def replace(path, target):
    if target.name == "part-00001.parquet":
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(path, target)
Path.replace = replace
sys.argv = ["camzoo", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_kill_9(camzoo, place):
    """A process that is killed as it renames a part; the same command with --resume; and an unbroken run."""
    asked = ["evaluate", "set", *COMMON, "--methods", "gradcam", "--batch", "3"]
    paths = os.pathsep.join([str(place), str(Path(drawings.__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, *asked, "--out", "killed"]
    ended = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert files.done(place / "killed") == {0}
    for more in (["--out", "killed", "--resume"], ["--out", "whole"]):
        assert camzoo(*asked, *more)[::2] == (0, "")
    assert contents(place / "killed") == contents(place / "whole")
