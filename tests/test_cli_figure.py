"""`camzoo figure`: kinds of files, what can be chosen, and one line for each kind of bad input."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from conftest import SmallNet, seeded
from PIL import Image

import camzoo
from camzoo import cli, figures, store


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved run of two layers."""
    images = torch.randn(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    net, wanted = seeded(SmallNet), "gradcam,hirescam,layercam"
    study = camzoo.joined(camzoo.compare(net, images, wanted, layer=layer, target=1) for layer in ("act", "last_act"))
    out = tmp_path_factory.mktemp("run") / "out"
    study.save(out)
    return out


@pytest.fixture
def figure(folder, tmp_path, monkeypatch, capfd):
    """Runs `camzoo figure FOLDER ...` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, of: Path = folder) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["camzoo", "figure", str(of), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def asked(monkeypatch) -> list[tuple[tuple[object, ...], dict[str, object]]]:
    """What the figure was asked for."""
    seen = []
    drawn = figures.comparison

    def comparison(study, *args, **options):
        seen.append((args, options))
        return drawn(study, *args, **options)

    monkeypatch.setattr(figures, "comparison", comparison)
    return seen


@pytest.mark.parametrize(
    ("name", "starts"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("A.PDF", b"%PDF")]
)
def test_kinds_of_files(figure, name, starts) -> None:
    assert figure("--out", name, "--dpi", "60") == (0, f"wrote\n  {name}\n", "")
    assert Path(name).read_bytes().startswith(starts)
    assert [path.name for path in Path().iterdir()] == [name]


def test_what_it_draws_where_nothing_is_said(figure, folder, asked) -> None:
    assert figure()[0] == 0
    assert asked == [((8, "inferno"), {"names": "both"})]
    with Image.open("figure.png") as image:
        sides = figures.comparison(store.load(folder), names="both").get_size_inches()
        assert image.size == pytest.approx(300 * sides, abs=1)


def test_what_can_be_chosen(figure, asked) -> None:
    assert figure("--columns", "2", "--cmap", "viridis", "--names", "method", "--dpi", "40", "--out", "a.png")[0] == 0
    assert asked == [((2, "viridis"), {"names": "method"})]
    with Image.open("a.png") as image:
        assert image.width < 40 * 6


def test_a_file_is_replaced_only_if_told(figure) -> None:
    Path("a.svg").write_text("mine")
    assert figure("--out", "a.svg") == (
        2,
        "",
        "camzoo: a.svg exists: name another file with --out, or say --overwrite\n",
    )
    assert Path("a.svg").read_text() == "mine"
    assert figure("--out", "a.svg", "--overwrite")[0] == 0
    assert Path("a.svg").read_text().startswith("<?xml")


BAD = {
    "kind": (["--out", "a.gif"], "unknown kind of figure '.gif'"),
    "no kind": (["--out", "a"], "unknown kind of figure 'a'"),
    "colours": (["--cmap", "jett"], "unknown colour map 'jett': did you mean jet"),
    "names": (["--names", "metod"], "unknown kind of names 'metod': did you mean method"),
    "names that tell nothing": (["--names", "library"], "3 maps would be called 'camzoo'"),
    "no folder": (["--out", "no/where.png"], "no/where.png cannot be written: No such file or directory"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD.keys())
def test_bad_input_gives_one_line_and_leaves_nothing(figure, tmp_path, arguments, said) -> None:
    code, out, err = figure(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("camzoo: ")
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run(figure, tmp_path) -> None:
    code, _, err = figure(of=tmp_path)
    assert code == 2
    assert "holds no run of camzoo that can be read" in err


def test_a_full_disk_leaves_the_earlier_file(figure, tmp_path, monkeypatch) -> None:
    Path("a.png").write_text("mine")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert figure("--out", "a.png", "--overwrite")[0] == 2
    assert Path("a.png").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
