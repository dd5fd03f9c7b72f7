"""Text that fits, for every figure: how wide a line is, at which size it fits, where it has to be cut."""

from __future__ import annotations

import bisect
import functools
from typing import Any

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

Style = dict[str, Any]
INK, FAINT, EMPTY = "#1a1a1a", "#5f5f5f", "#f0f0f0"


def printable(text: str) -> str:
    """One line of what the font has a glyph for: it would warn of every other character, and draw a box."""
    return "".join(letter if ord(letter) in _glyphs() else "?" for letter in " ".join(text.split()))


@functools.cache
def _glyphs() -> frozenset[int]:
    known: Any = get_font(findfont(FontProperties())).get_charmap()
    return frozenset(known)


@functools.lru_cache(4096)
def width(text: str, size: float, weight: str = "normal") -> float:
    """How wide a line of text is, in inches."""
    points: float = text_to_path.get_text_width_height_descent(text, FontProperties(size=size, weight=weight), False)[0]
    return points / 72


def fit(text: str, size: float, room: float, weight: str = "normal") -> str:
    """A text on one line, its end left out where it is wider than the room, in inches."""
    text = printable(text)
    if width(text, size, weight) <= 1.001 * room:
        return text
    kept = bisect.bisect_right(range(len(text)), room, key=lambda end: width(text[:end] + "...", size, weight)) - 1
    return text[: max(kept, 1)].rstrip() + "..."
