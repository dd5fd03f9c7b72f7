"""The leaderboard of an evaluation as a figure: each metric a panel, each method a dot with its interval."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camzoo.evaluation import page
from camzoo.evaluation.reading import Ranking, Results
from camzoo.evaluation.readings import WAYS
from camzoo.lettering import FAINT, INK, fit, width

FILE = "leaderboard.png"
# All lengths are in inches, all sizes of letters in points.
EDGE, LINE, HEAD, FOOT, PANEL, VALUES, BETWEEN, GAP = 0.12, 0.17, 0.34, 0.30, 1.9, 0.42, 0.2, 0.16
LETTER, SMALL, HEADLINE = 6.5, 6.0, 8.0
MOST_ACROSS, DPI, COLOUR = 3, 200, "#0072B2"


def figure(results: Results, rankings: list[Ranking]) -> Figure:
    """The rankings: methods in their order from above, means with 95 % intervals, controls hollow, chance dotted.

    Args:
        results: for the title.
        rankings: of the metrics that rank.
    """
    names = max(width(name, LETTER) for name in results.methods)
    across = min(MOST_ACROSS, len(rankings))
    down = math.ceil(len(rankings) / across)
    names = min(names, 1.6)
    cell = names + GAP + PANEL + VALUES + BETWEEN
    high = HEAD + LINE * len(results.methods) + FOOT
    wide, tall = 2 * EDGE + across * cell, EDGE + HEAD + down * high
    drawn = Figure(figsize=(wide, tall))
    title = f"{len(results.methods)} methods on {len(results.images):,} images of {results.manifest['title']}"
    drawn.text(EDGE / wide, 1 - 0.22 / tall, fit(title, HEADLINE, wide - 2 * EDGE), fontsize=HEADLINE, color=INK)
    for at, ranking in enumerate(rankings):
        row, column = divmod(at, across)
        left, top = EDGE + column * cell + names + GAP, tall - HEAD - row * high - HEAD
        height = LINE * len(results.methods)
        axes = drawn.add_axes((left / wide, (top - height) / tall, PANEL / wide, height / tall))
        _panel(axes, ranking, names)
    return drawn


def _panel(axes: Axes, ranking: Ranking, room: float) -> None:
    standings = ranking.standings
    for at, each in enumerate(standings):
        found = each.mean
        axes.text(
            1.02,
            at,
            page.number(found.value) if found.images else "undefined",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=SMALL,
            color=INK if found.images else FAINT,
        )
        if not found.images:
            continue
        colour, face = (FAINT, "white") if each.control else (COLOUR, COLOUR)
        if not math.isnan(found.low):
            axes.plot([found.low, found.high], [at, at], color=colour, linewidth=1.3, solid_capstyle="butt")
        axes.plot(found.value, at, "o", color=colour, markerfacecolor=face, markersize=3.8)
    if ranking.chance is not None:
        axes.axvline(ranking.chance, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    axes.set_ylim(len(standings) - 0.5, -0.5)
    axes.set_yticks(range(len(standings)), [fit(each.method, LETTER, room) for each in standings], fontsize=LETTER)
    axes.tick_params(axis="x", labelsize=SMALL, length=2, color=FAINT)
    axes.tick_params(axis="y", length=0, pad=4)
    axes.set_title(f"{ranking.metric.name}: {WAYS[ranking.metric.better]}", fontsize=LETTER, loc="left", color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)
