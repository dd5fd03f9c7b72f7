"""What comes of an evaluation, for people: a page of Markdown, a figure, and a page that opens in a browser."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from camzoo.evaluation import files, page, reading
from camzoo.evaluation.data import Item
from camzoo.evaluation.reading import Ranking, Results
from camzoo.leaderboard import contents, curves, photos
from camzoo.leaderboard.drawing import DPI, figure
from camzoo.report import filling

FIGURE, PAGE = "leaderboard.png", "leaderboard.html"


def write(results: Results, folder: Path, items: Mapping[str, Item] | None = None) -> list[Path]:
    """Writes the pages and the figures of an evaluation into its folder.

    Args:
        results: of the evaluation.
        folder: where they go.
        items: the images of the data set by name, for their pictures; None for a look at where they came from.

    Raises:
        RequestError: they cannot be written.
    """
    rankings = [reading.ranking(results, name) for name in results.values]
    made = {page.FILE: page.page(results).encode()}
    if ranked := [each for each in rankings if _has_order(each)]:
        buffer = io.BytesIO()
        figure(results, ranked).savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        made[FIGURE] = buffer.getvalue()
    made[PAGE] = html(results, items, rankings).encode()
    for name, content in made.items():
        files.write(folder / name, content)
    return [*(folder / name for name in made), *curves.write(results, folder)]


def html(results: Results, items: Mapping[str, Item] | None = None, rankings: list[Ranking] | None = None) -> str:
    """The leaderboard as one page that needs no server and no network. The same rows and photos give the same page.

    Args:
        results: of the evaluation.
        items: the images of the data set by name; None for a look at where they came from.
        rankings: of every metric, where they are known already.
    """
    items = photos.found(results.manifest) if items is None else items
    rankings = rankings or [reading.ranking(results, name) for name in results.values]
    said = contents.said(results, rankings, items)
    return filling.page(__name__, "template.html", ["leaderboard.css"], ["leaderboard.js"], **said)


def _has_order(ranking: Ranking) -> bool:
    return bool(ranking.metric.better) and any(each.mean.images for each in ranking.standings)
