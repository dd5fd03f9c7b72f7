"""Where there is nothing to draw: why, in words."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from camzoo.charts._around import Around, captions, wrapped
from camzoo.charts._style import EDGE, LETTER, LINE, UNMEASURED
from camzoo.lettering import FAINT, INK, Style
from camzoo.timing.samples import Outcome, Run
from camzoo.timing.statistics import Ranked


def why_unmeasured(ranked: Ranked) -> str:
    """Why a row has no figure of its memory, or of what else it has samples for."""
    return ranked.why if ranked.row.outcome is not Outcome.OK else "not measured"


def unmeasured(run: Run, ranked: Sequence[Sequence[Ranked]], title: str) -> Figure:
    """What is drawn where there is nothing to draw: why, for each contender, and no axes."""
    common, apart = captions(run.cases)
    room = UNMEASURED - 2 * EDGE
    lines = [("nothing was measured", INK, "bold")]
    for name, rows in zip(apart, ranked, strict=True):
        lines += [(line, INK, "bold") for line in wrapped(name, LETTER, 0.9 * room)]
        said = [f"{each.row.contender}: {why_unmeasured(each)}" for each in rows]
        lines += [(line, FAINT, "normal") for text in said for line in wrapped(text, LETTER, room)]
    around = Around(title, common, run.command)
    figure = around.figure(UNMEASURED, LINE * (len(lines) + 1))
    high = figure.get_figheight()
    top = high - around.head(UNMEASURED)
    for number, (text, colour, weight) in enumerate(lines):
        style: Style = {"color": colour, "fontweight": weight, "va": "top", "parse_math": False}
        figure.text(EDGE / UNMEASURED, (top - LINE * number) / high, text, fontsize=LETTER, **style)
    return figure
