"""`camzoo report`: a saved run as a page, and one line for each kind of bad input."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_report import FINDINGS, Reader, demanding

from camzoo import cli, store
from camzoo.cli import report as _verb  # noqa: F401 (joins the application)
from camzoo.conformance import record


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A run as `camzoo compare` leaves it, without the figures, which take most of the time."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("camzoo.figures.png", lambda *_args, **_options: b"")
        patch.setattr("camzoo.figures.comparison", lambda *_args, **_options: None)
        patch.setattr("camzoo.figures.agreement", lambda *_args, **_options: None)
        demanding().save(folder)
    return folder


@pytest.fixture
def run(saved, tmp_path, monkeypatch) -> Path:
    """A copy of it, in the working directory."""
    folder = tmp_path / "run"
    folder.mkdir()
    for path in saved.rglob("*"):
        copy = folder / path.relative_to(saved)
        copy.mkdir() if path.is_dir() else copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def camzoo(monkeypatch, capfd):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["camzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    return call


def text(path: Path) -> str:
    return Reader(path.read_text(encoding="utf-8")).text


def test_it_draws_the_page_of_a_run_anew(camzoo, run) -> None:
    kept = (run / store.REPORT).read_text(encoding="utf-8")
    (run / store.REPORT).write_text("an older one")
    assert camzoo("report", "run") == (0, "wrote\n  run/report.html\n", "")
    assert (run / store.REPORT).read_text(encoding="utf-8") == kept
    assert not list(run.glob(".*"))


def test_it_takes_the_findings_of_the_folder_or_of_a_file(camzoo, run, tmp_path) -> None:
    camzoo("report", "run")
    assert "differs, known" not in text(run / store.REPORT)
    record.save(FINDINGS, {}, tmp_path / "found")
    for named in ("found", "found/conformance.json"):
        assert camzoo("report", "run", "--check", named, "--out", "other.html", "--overwrite")[0] == 0
        assert "differs, known" in text(tmp_path / "other.html")
    record.save(FINDINGS, {}, run)
    camzoo("report", "run")
    assert "differs, known" in text(run / store.REPORT)


def test_bad_requests_get_one_line_and_leave_everything_as_it_was(camzoo, run, tmp_path) -> None:
    (tmp_path / "taken.html").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    before = (run / store.REPORT).read_bytes()
    for arguments, said in {
        ("nothing",): "nothing holds no run of camzoo",
        ("empty",): "empty holds no run of camzoo",
        ("run", "--out", "taken.html"): "taken.html exists: name another file with --out, or say --overwrite",
        ("run", "--out", "no/such/place.html"): "no/such/place.html cannot be written",
        ("run", "--check", "absent.json"): "absent.json holds no findings",
        ("run", "--check", "empty"): "empty/conformance.json holds no findings",
        ("run", "--check", "broken.json"): "broken.json holds no findings",
    }.items():
        code, out, err = camzoo("report", *arguments)
        assert (code, out) == (2, ""), arguments
        assert said in err
        assert len(err.splitlines()) == 1
    assert (run / store.REPORT).read_bytes() == before
    assert (tmp_path / "taken.html").read_text() == "mine"
    assert camzoo("report", "run", "--out", "taken.html", "--overwrite")[0] == 0
    assert "layercam" in text(tmp_path / "taken.html")
