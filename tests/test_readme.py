"""What README.md says is so: its matrix is today's, its Python runs, its commands exist."""

from __future__ import annotations

import re

import pytest
import readme
import torchvision
from conftest import seeded

import camzoo

pytestmark = pytest.mark.checkout


@pytest.fixture(scope="module")
def text() -> str:
    return readme.README.read_text()


def test_the_matrix_is_todays(text):
    assert readme.written(text) == text, "run `make readme`"


def test_an_old_matrix_would_be_seen(text):
    assert readme.written(text.replace("| `gradcam` |", "| `gradcan` |", 1)) == text


def test_its_python_runs(text, tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    block, kit = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {"my_gradcam": lambda model, layer_module, images, target: images[:, 0]}
    exec(kit, names)
    assert names["test_mine"].pytestmark
    model = seeded(lambda: torchvision.models.resnet18(weights=None))
    images = images.repeat(1, 1, 3, 3)[:2]
    exec(block, {"model": model, "images": images, "camzoo": camzoo})
    assert (tmp_path / "out" / "comparison.png").stat().st_size > 0


def test_its_targets_exist(text):
    makefile = (readme.README.parent / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert f"\n{target}:" in makefile
