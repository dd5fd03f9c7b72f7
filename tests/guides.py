"""Runs the pages of docs/guide as they stand; as a script, writes anew what they print and the pictures they draw.

A page's blocks run from top to bottom in a folder of their own:

- ```` ```python ```` in one namespace; what it prints stands in a ```` ```text ```` block right below;
- ```` ```python title="nets.py" ```` is written into that file, for `import nets` and `--model nets:make`;
- ```` ```console ```` has lines `$ camzoo ...`; a text block below is compared, and where there is none what they print
  is not of interest. A command that does not end with 0 is an error.

In a text block `...` stands for anything, and the last digit of a number with a point or a per cent sign may be one
higher or lower: another machine rounds in another way. The picture `images/x.jpg` is what the code wrote as `x.png` or
`x.jpg`.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import itertools
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from camzoo import cli

GUIDE = Path(__file__).parent.parent / "docs" / "guide"
HEAVIEST = 120_000
"""Bytes of a picture in the repository."""

WIDTHS = (1400, 1100, 900, 700)
"""Pixels; a picture is kept at the first that is light enough."""

ALIKE, NOTICED = 0.01, 8
"""Two pictures are the same if no more than this share of their squares differs in colour by more than this, of 255."""

BLOCK = re.compile(r'^```(python|console|text)(?: title="([\w.]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"((?<![\w.])-?\d+\.\d+%?(?![\w.])|(?<![\w.])\d+%)")
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(images/(?P<stem>[\w-]+)\.jpg\)")


@dataclass(frozen=True)
class Step:
    """A block of code, and the text that the page shows below it; None where it shows none."""

    kind: str
    title: str | None
    code: str
    line: int
    shown: str | None
    place: tuple[int, int]  # of what is shown, in the page


def steps(text: str) -> list[Step]:
    """The blocks of code in a page, in order."""
    blocks = list(BLOCK.finditer(text))
    found = []
    for block, below in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] == "text":
            continue
        paired = below is not None and below[1] == "text" and not text[block.end() : below.start()].strip()
        shown, place = (below[3], below.span(3)) if paired and below else (None, (block.end(), block.end()))
        found.append(Step(block[1], block[2], block[3], text.count("\n", 0, block.start(3)), shown, place))
    return found


def run(page: Path, folder: Path) -> list[tuple[Step, str]]:
    """Each step of a page with what it printed; files are written into the folder."""
    names: dict = {"__name__": "guide"}
    done = []
    with alone(folder):
        for step in steps(page.read_text()):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                _run(step, page, names)
            done.append((step, tidy(printed.getvalue())))
    return done


def _run(step: Step, page: Path, names: dict) -> None:
    if step.title:
        Path(step.title).write_text(step.code)
    elif step.kind == "python":  # the empty lines make a traceback point at the page's own
        exec(compile("\n" * step.line + step.code, str(page), "exec"), names)
    else:
        for command in re.findall(r"^\$ (.*)", step.code.replace("\\\n", " "), re.MULTILINE):
            _camzoo(command)


def _camzoo(command: str) -> None:
    words = shlex.split(command)
    if words[0] != "camzoo":
        raise ValueError(f"only camzoo is run here, not {command!r}")
    with mock.patch.object(sys, "argv", words):
        try:
            cli.main()
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"{command!r} ended with {ended.code}") from None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """In a folder; the state of torch and what was imported from the folder do not outlive the block."""
    path, modules, dtype = list(sys.path), set(sys.modules), torch.get_default_dtype()
    with contextlib.chdir(folder), torch.random.fork_rng(devices=[]):
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            sys.path[:] = path
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                    del sys.modules[name]


def tidy(text: str) -> str:
    """Without spaces at the ends of lines and empty lines at the ends of the text."""
    lines = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    return lines and lines + "\n"


def holds(step: Step, printed: str) -> bool:
    """Whether a page shows what a step printed."""
    if step.shown is None:
        return step.kind == "console" or not printed
    shown, found = NUMBER.split(tidy(step.shown)), NUMBER.split(printed)
    if len(shown) == len(found):  # the numbers stand at odd places; those that are near enough are made the same
        pairs = enumerate(zip(shown, found, strict=True))
        found = [one if at % 2 and _near(one, other) else other for at, (one, other) in pairs]
    return doctest.OutputChecker().check_output("".join(shown), "".join(found), doctest.ELLIPSIS)


def _near(shown: str, found: str) -> bool:
    """Whether two numbers differ by no more than one in the last digit that is shown."""
    one, other = (Decimal(number.rstrip("%")) for number in (shown, found))
    exponent = one.as_tuple().exponent
    return exponent == other.as_tuple().exponent and abs(one - other) <= Decimal((0, (1,), int(exponent)))


def drawn(folder: Path, stem: str) -> Path | None:
    """The picture of that name that the code of a page has written."""
    return next((path for path in (folder / f"{stem}.png", folder / f"{stem}.jpg") if path.exists()), None)


def opened(path: Path) -> Image.Image:
    """A picture in colour, its file closed."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def distance(new: Path, kept: Path) -> float:
    """The share of a picture that is not as in the one that is kept of it, 0 to 1; 1 where their shapes differ.

    Squares of 16 x 16 pixels are compared by their mean colours: the noise of JPEG and another time in a caption matter
    little there, and another map does.
    """
    first, second = opened(new), opened(kept)
    if abs(first.width * second.height - second.width * first.height) > 2 * max(first.size + second.size):
        return 1.0
    squares = (max(1, second.width // 16), max(1, second.height // 16))
    alike = (first.resize(second.size, Image.Resampling.LANCZOS), second)  # made smaller as `keep` does
    one, two = (np.asarray(each.resize(squares, Image.Resampling.BOX), dtype=float) for each in alike)
    return float((np.abs(one - two).max(-1) > NOTICED).mean())


def complaints(page: Path, folder: Path) -> list[str]:
    """What a page says that is not so, a line for each."""
    wrong = [
        f"line {step.line}: the page shows {step.shown!r}, the code prints {printed!r}"
        for step, printed in run(page, folder)
        if not holds(step, printed)
    ]
    for stem in stems(page):
        kept, new = page.parent / "images" / f"{stem}.jpg", drawn(folder, stem)
        if new is None:
            wrong.append(f"no code writes {stem}.png or {stem}.jpg")
        elif not kept.exists():
            wrong.append(f"{kept.name} is not there")
        elif (apart := distance(new, kept)) > ALIKE:
            wrong.append(f"{kept.name} is not what the code draws: {apart:.1%} of it differs")
    return wrong


def stems(page: Path) -> list[str]:
    """The names of the pictures that a page shows."""
    return [match["stem"] for match in PICTURE.finditer(page.read_text())]


def write(page: Path, folder: Path) -> None:
    """Writes into a page what its code prints, and keeps the pictures that it draws, where they are not so already."""
    text = page.read_text()
    for step, printed in reversed(run(page, folder)):
        if not holds(step, printed):
            start, end = step.place
            text = text[:start] + (printed if step.shown is not None else f"\n\n```text\n{printed}```") + text[end:]
    page.write_text(text)
    for stem in stems(page):
        kept, new = page.parent / "images" / f"{stem}.jpg", drawn(folder, stem)
        if new is None:
            raise FileNotFoundError(f"{page.name}: no code writes {stem}.png or {stem}.jpg")
        if not kept.exists() or distance(new, kept) > ALIKE:
            keep(new, kept)


def keep(new: Path, kept: Path) -> None:
    """A picture as JPEG, as large and as good as its weight allows."""
    kept.parent.mkdir(exist_ok=True)
    for width, quality in itertools.product(WIDTHS, (88, 80, 70)):
        picture = opened(new)
        picture.thumbnail((width, 10 * width), Image.Resampling.LANCZOS)
        picture.save(kept, quality=quality, optimize=True)
        if kept.stat().st_size <= HEAVIEST:
            return
    raise ValueError(f"{kept.name} has {kept.stat().st_size} bytes: draw less in it")


def pages() -> list[Path]:
    """The stories, in order."""
    return sorted(GUIDE.glob("[0-9][0-9]-*.md"))


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else pages():
        with tempfile.TemporaryDirectory() as scratch:
            print(path.name, flush=True)
            write(path.resolve(), Path(scratch))
