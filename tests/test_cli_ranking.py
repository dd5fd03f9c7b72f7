"""The tables of a benchmark in the terminal: what stands in them, and what keeps its room where there is little."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from test_cli_bench import CASE, ROWS, row

from camzoo.cli import ranking
from camzoo.timing import comparing, statistics, words
from camzoo.timing.samples import Run


def shown(run: Run, width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    ranking.show(run, console)
    return console.export_text()


def line(name: str, text: str) -> str:
    return next(each for each in text.splitlines() if name in each.split())


def test_the_layer_that_the_rule_chose_is_told():
    ruled = row("gradcam", 1.1, case=replace(CASE, layer=None), layer="features.3")
    assert shown(Run((ruled,), "", {})).splitlines()[0].strip().endswith("array, layer features.3")
    named = row("gradcam", 1.1, layer="last_act")
    assert "layer last_act" not in shown(Run((named,), "", {}))


def test_a_library_is_held_to_camzoos_own_of_its_method():
    text = shown(Run(ROWS, "", {}))
    own, library = ROWS[0], ROWS[1]
    assert comparing.reference(library, [own, library]) is own
    assert words.ratio(statistics.paired(library, own)) in line("gradcam@captum", text)
    assert "over own" not in shown(Run(ROWS[:1], "", {}))
    assert "over own" not in shown(Run((row("layercam", 1.0), library), "", {}))


@pytest.mark.parametrize("width", [60, 80, 119])
def test_names_and_costs_keep_their_room_in_a_narrow_terminal(width):
    text = shown(Run(ROWS, "", {}), width)
    assert max(map(len, text.splitlines())) <= width
    assert words.interval(statistics.summary(ROWS[1]).forwards) in line("gradcam@captum", text)
    assert "memory" not in text.splitlines()[1]
    assert "memory" in shown(Run(ROWS, "", {})).splitlines()[1]
