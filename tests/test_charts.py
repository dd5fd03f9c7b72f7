"""Figures of benchmarks, read back from the artists: every row is in them, nothing overlaps or is cut off."""

from __future__ import annotations

import itertools
import math
import threading
import warnings
from dataclasses import replace

import matplotlib
import pytest
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from synthetic import ENVIRONMENT, failed, row, run

from camzoo import charts, lettering
from camzoo.charts import _around, _axes, _style
from camzoo.charts.growing import _spread
from camzoo.charts.trade_off import _front, _letter
from camzoo.errors import RequestError
from camzoo.timing.samples import Case, Outcome, Scope

FIGURES = {"dots": charts.dots, "memory": charts.memory, "pareto": charts.pareto}
NOISE = {"processes": 2, "rounds": 4}


def rows(case: Case | None = None, many: int = 0):
    names = [
        "gradcam",
        "gradcam@captum",
        "layercam@torchcam",
        "scorecam",
        *(f"m{n}@pytorch-grad-cam" for n in range(many)),
    ]
    found = [
        row(name, 1.1 * 1.22**at, case, seed=at, distance=10.0 ** (at % 7 - 7), **NOISE)
        for at, name in enumerate(names)
    ]
    found[1] = replace(found[1], verdict="differs, known", verdict_reason="centred")
    found.append(failed("sscam", Outcome.OUT_OF_MEMORY, "44 GiB", case))
    found.append(failed("legrad", Outcome.NOT_OFFERED, "no attention", case))
    return found


def growing(sizes=(1, 2, 4), power: float = 1.0, seed: int = 0):
    return [
        row(name, cost, Case("net", batch=size), seed=seed + size, forward=0.01 * size**power, **NOISE)
        for size in sizes
        for name, cost in (("gradcam", 1.1), ("gradcam@captum", 3.0))
    ]


def drawn(figure) -> list[str]:
    return [text for artist in figure.findobj(Text) if (text := artist.get_text())]


def out_of_view(figure) -> set:
    """Labels of ticks beyond the ends of their axis, which matplotlib keeps and does not draw."""
    unseen = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                unseen |= {tick.label1, tick.label2}
    return unseen


def assert_legible(figure) -> None:
    """No text leaves the figure, and none covers another."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    width, height = figure.bbox.size
    boxes = []
    unseen = out_of_view(figure)
    for artist in figure.findobj(Text):
        if artist.get_text().strip() and artist.get_visible() and artist not in unseen:
            box = artist.get_window_extent()
            assert box.x0 >= -1, artist
            assert box.y0 >= -1, artist
            assert box.x1 <= width + 1, artist
            assert box.y1 <= height + 1, artist
            boxes.append((box, artist.get_text()))
    for number, (one, text) in enumerate(boxes):
        for other, covered in boxes[:number]:
            apart = (
                min(one.x1, other.x1) - max(one.x0, other.x0) < 2 or min(one.y1, other.y1) - max(one.y0, other.y0) < 3
            )
            assert apart or len(text) <= 2 or len(covered) <= 2, (text, covered)


@pytest.mark.parametrize("name", FIGURES)
def test_every_row_is_in_the_figure_with_what_became_of_it(name) -> None:
    texts = " ".join(drawn(FIGURES[name](run(*rows()))))
    for each in rows():
        assert each.contender in texts
    assert "out of memory" in texts
    assert "not offered: no attention" in texts
    assert "camzoo bench --model resnet50" in texts


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(("cases", "many"), [(1, 2), (6, 0)])
def test_nothing_is_cut_off_or_covered(name, cases, many) -> None:
    models = [Case(f"model{number}", batch=number + 1) for number in range(cases)]
    assert_legible(FIGURES[name](run(*(each for case in models for each in rows(case, many)))))


def labels(axis) -> list[str]:
    """What stands at the ticks within the ends of an axis."""
    low, high = sorted(axis.get_view_interval())
    return [
        text for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high and (text := tick.label1.get_text())
    ]


@pytest.mark.parametrize("name", ["dots", "pareto"])
@pytest.mark.parametrize("cost", [0.9, 1.2, 3.0, 9.0, 30.0, 100.0, 3000.0])
def test_every_cost_lies_between_numbers_or_is_near_one(name, cost) -> None:
    figure = FIGURES[name](run(row(cost=cost, **NOISE)))
    shown = [float(text.replace(",", "")) for text in labels(figure.axes[0].xaxis)]
    assert 3 <= len(shown) <= _axes.MOST_TICKS
    assert shown[-1] > cost / 2 or cost > 250
    assert_legible(figure)


@pytest.mark.parametrize("ratio", [3.4, 7, 20, 150, 3000])
def test_a_logarithmic_axis_has_three_numbers_wherever_it_begins(ratio) -> None:
    for low in (10 ** (at / 50) for at in range(-150, 50)):
        ticks = _axes.ticks_within(low, ratio * low)
        assert 3 <= len(ticks) <= _axes.MOST_TICKS
        assert all(low <= tick <= ratio * low for tick in ticks)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_forty_contenders(name) -> None:
    assert_legible(FIGURES[name](run(*rows(many=36))))


BACKENDS = [f"package{number}.module:implementation" for number in range(20)]


def of_many(count: int):
    """Rows of so many backends, at two sizes, so that they can be drawn in every way; the last is not ranked."""
    found = [
        row(f"gradcam@{name}", 1.1 * 1.1**at, Case("net", batch=size), seed=at, distance=1e-6, **NOISE)
        for size in (1, 2)
        for at, name in enumerate(BACKENDS[:count])
    ]
    return [*found[:-1], replace(found[-1], verdict="differs, new")]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("count", [9, 20])
def test_the_legend_of_many_backends_stays_in_the_figure(name, count) -> None:
    figure = FIGURES[name](run(*of_many(count)))
    assert_legible(figure)
    (legend,) = figure.legends
    assert len({text.get_text() for text in legend.get_texts()}) == count + 1
    assert all(legend.get_window_extent().y1 < axes.get_window_extent().y0 for axes in figure.axes)


def test_so_does_that_of_many_lines() -> None:
    found = [replace(each, backend=each.backend.replace(":", ".")) for each in of_many(12)]
    figure = charts.scaling(run(*found))
    assert_legible(figure)
    assert len(figure.legends[0].get_texts()) == 13


def test_few_backends_stand_in_one_line() -> None:
    figure = charts.dots(run(*rows()))
    assert len({round(text.get_window_extent().y0) for text in figure.legends[0].get_texts()}) == 1


def test_no_two_backends_look_alike() -> None:
    figure = charts.dots(run(*of_many(20)))
    looks = {(line.get_color(), line.get_marker()) for line in marks(figure)}
    assert len(looks) == 20
    assert len({_style.look_of(number) for number in range(49)}) == 49


def marks(figure):
    """The lines of one point each, with their places."""
    return [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) == 1]


def test_a_dot_lies_at_the_median_and_its_line_is_the_interval() -> None:
    from camzoo.timing import statistics

    shown = row(**NOISE)
    (axes,) = charts.dots(run(shown)).axes
    cost = statistics.summary(shown).forwards
    (dot,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert dot.get_xdata() == [cost.middle]
    assert [cost.low, cost.high] in [list(line.get_xdata()) for line in axes.lines]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < 1 < cost.high < axes.get_xlim()[1]


def test_what_is_not_ranked_is_hollow_and_comes_after_what_is() -> None:
    figure = charts.dots(run(*rows()))
    hollow = [line for line in marks(figure) if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["gradcam", "layercam@torchcam", "scorecam", "gradcam@captum", "legrad", "sscam"]
    assert list(hollow[0].get_ydata()) == [3]


def test_a_noisy_row_is_marked() -> None:
    assert any(text.endswith("*") for text in drawn(charts.dots(run(row(within=0.12)))))
    assert not any(text.endswith("*") for text in drawn(charts.dots(run(row()))))


FEW = {"processes": 1, "rounds": 3}


def test_too_few_samples_have_no_interval() -> None:
    figure = charts.dots(run(row("few", **FEW), row("enough", 2.0, **NOISE)))
    lines = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.4]
    assert [list(line.get_ydata()) for line in lines] == [[0, 0]]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["enough", "few"]
    assert sum("[" in text for text in drawn(figure)) == 1
    assert "line: 95 % interval of the median" in drawn(figure)
    assert not any("interval" in text for text in drawn(charts.dots(run(row(**FEW)))))


@pytest.mark.parametrize("name", FIGURES)
def test_the_legend_tells_of_nothing_that_is_not_there(name) -> None:
    ranked = [row("a", distance=1e-6, **NOISE), row("b", 2.0, distance=1e-6, forward_peak_bytes=None, **NOISE)]
    assert "not ranked" not in drawn(FIGURES[name](run(*ranked, failed("c", Outcome.FAILED))))
    assert "not ranked" in drawn(FIGURES[name](run(*ranked, row("d", verdict="differs, new", **NOISE))))


def test_nor_of_lines_that_are_not_there() -> None:
    alone = [row("a", distance=1e-6, forward_peak_bytes=None, **NOISE)]
    better = row("b", 2.0, distance=1e-7, **NOISE)
    for draw, line in ((charts.pareto, "grey line"), (charts.memory, "dashed line")):
        assert not any(text.startswith(line) for text in drawn(draw(run(*alone))))
        assert any(text.startswith(line) for text in drawn(draw(run(*alone, better))))
    assert not any("interquartile" in text for text in drawn(charts.dots(run(row()))))


def test_each_thing_said_below_has_a_line_of_its_own() -> None:
    texts = drawn(charts.dots(run(row(within=0.12))))
    assert {"line: 95 % interval of the median", "* interquartile range above 10 % of the median"} <= set(texts)


LONG = "camzoo bench --model resnet50 --layer layer4 --methods gradcam,gradcam++,layercam,hirescam,eigencam --rounds 3"


@pytest.mark.parametrize("name", FIGURES)
def test_what_stands_around_a_narrow_figure_is_wrapped(name) -> None:
    case = Case("resnet50", weights="random", layer="layer4", dtype="float32", scope=Scope.ARRAY)
    figure = FIGURES[name](run(row("m", case=case, distance=1e-6, **NOISE), command=LONG))
    texts = "".join(text for text in drawn(figure)).replace(" ", "")
    assert LONG.replace(" ", "") in texts
    assert "cpu,full-sizearrayonthehost" in texts
    assert_legible(figure)


def test_wrapping_ends() -> None:
    assert _around.wrapped("", 6, 1) == []
    lines = _around.wrapped("word " * 400, 6, 1)
    assert len(lines) == _around.MOST_LINES
    assert lines[-1].endswith("...")


def test_a_backend_has_one_colour_and_mark_in_every_panel() -> None:
    case = Case("other", scope=Scope.MAP)
    figure = charts.dots(run(*rows(), row("gradcam@torchcam", 2.0, case), row("gradcam", 1.2, case)))
    looks = {}
    for line in marks(figure):
        looks.setdefault(line.get_marker(), set()).add(line.get_color())
    assert {len(colours) for colours in looks.values()} == {1}
    assert looks["o"] == {_style.COLOURS[0]}


def test_bars_start_at_zero_and_are_as_long_as_the_memory() -> None:
    found = [row("a", peak_bytes=3 * 1024**2, **NOISE), row("b", peak_bytes=1024**2, **NOISE)]
    axes = charts.memory(run(*found, row("c", peak_bytes=None, **NOISE))).axes[0]
    assert sorted(bar.get_width() for bar in axes.patches) == [1024**2, 3 * 1024**2]
    assert axes.get_xlim()[0] == 0
    assert "not measured" in drawn(axes.figure)


def test_the_dashed_line_is_the_memory_of_a_forward_pass() -> None:
    found = [row("a", forward_peak_bytes=700, **NOISE), row("b", forward_peak_bytes=900, **NOISE)]
    (line,) = charts.memory(run(*found)).axes[0].lines
    assert list(line.get_xdata()) == [800, 800]
    bare = [replace(each, forward_peak_bytes=None) for each in found]
    assert not charts.memory(run(*bare)).axes[0].lines


def test_what_ran_out_of_memory_is_hatched() -> None:
    axes = charts.memory(run(*rows())).axes[0]
    (bar,) = [bar for bar in axes.patches if bar.get_hatch()]
    assert bar.get_width() == pytest.approx(axes.get_xlim()[1])


def test_lines_go_through_the_medians_and_end_with_their_exponent() -> None:
    figure = charts.scaling(run(*growing(power=0.8)))
    texts = drawn(figure)
    assert any(text.startswith(("gradcam 0.8", "gradcam 0.7")) for text in texts), texts
    assert any(text.startswith("a plain forward pass 0.80") for text in texts)
    assert "images at a time" in texts
    assert_legible(figure)


def test_times_are_told_as_in_the_tables() -> None:
    shown = labels(charts.scaling(run(*growing(sizes=(1, 2, 4, 64)))).axes[0].yaxis)
    assert len(shown) >= 3
    assert {"20 ms", "100 ms", "2 s"} <= set(shown)
    near = labels(charts.scaling(run(row(case=Case("net")), row(case=Case("net", batch=2)))).axes[0].yaxis)
    assert len(near) >= 3
    assert all(text.endswith(" ms") for text in near)


def bars(figure) -> int:
    return sum(isinstance(artist, LineCollection) for axes in figure.axes for artist in axes.collections)


def test_an_exponent_and_intervals_are_told_of_only_where_there_are_some() -> None:
    def lines(sizes, **noise):
        return charts.scaling(run(*(row("m", case=Case("net", batch=size), **noise) for size in sizes)))

    def said(figure) -> list[str]:
        return [text for text in drawn(figure) if "exponent" in text]

    assert not said(lines((1, 2), **NOISE))
    assert bars(lines((1, 2), **NOISE)) == 2
    (text,) = said(lines((1, 2, 4), **NOISE))
    assert text.endswith("[95 %]")
    single = lines((1, 2, 4), processes=1, rounds=1)
    assert bars(single) == 0
    assert not any("[" in text for text in drawn(single))
    assert len(said(single)) == 1


def test_what_has_no_size_left_is_told() -> None:
    missing = [
        failed("gradcam", Outcome.OUT_OF_MEMORY, "no", Case("net", batch=8)),
        failed("x", Outcome.FAILED, "broke", Case("net")),
    ]
    texts = " ".join(drawn(charts.scaling(run(*growing(), *missing))))
    assert "(out of memory at 8)" in texts
    assert "x (failed at 1)" in texts


def test_a_run_in_which_nothing_varies_does_not_scale() -> None:
    with pytest.raises(RequestError, match="nothing to scale along"):
        charts.scaling(run(*rows()))


def test_the_front_has_what_nothing_beats() -> None:
    assert _front([(2, 1e-3), (1, 1e-2), (3, 1e-2), (4, 1e-7), (1.5, 2e-2)]) == [
        (1, 1e-2),
        (2, 1e-3),
        (4, 1e-7),
    ]


def test_the_line_drawn_joins_only_what_is_ranked() -> None:
    wrong = {"verdict": "differs, known", "verdict_reason": "centred"}
    found = [
        row("cheapest", 1.0, distance=0.5, **wrong, **NOISE),
        row("cheap", 1.5, distance=1e-5, **NOISE),
        row("dear and far", 3.0, distance=1e-4, **NOISE),
        row("dear and near", 4.0, distance=1e-7, **NOISE),
        row("nearest", 5.0, distance=1e-9, **wrong, **NOISE),
    ]
    (axes,) = charts.pareto(run(*found)).axes
    (line,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert list(line.get_ydata()) == [1e-5, 1e-7]
    assert list(line.get_xdata()) == pytest.approx([1.5, 4.0], rel=0.1)


def test_points_have_letters_which_nobody_takes_for_places() -> None:
    figure = charts.pareto(run(*rows()))
    named = [text for text in drawn(figure) if len(text) == 1 and text.isalpha()]
    assert sorted(named) == [*"aabbccdd"]
    assert [_letter(number) for number in (0, 25, 26, 51, 52)] == ["a", "z", "aa", "az", "ba"]


def test_no_letter_lies_on_the_line() -> None:
    found = [row(f"m{at}", 1.1 * 1.3**at, distance=10.0 ** -(at + 2), seed=at, **NOISE) for at in range(8)]
    figure = charts.pareto(run(*found, row("level", 1.2, distance=1e-2, **NOISE)))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (line,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    corners = axes.transData.transform(list(zip(*line.get_data(), strict=True)))
    letters = [text.get_window_extent() for text in axes.texts if text.get_fontsize() == 5]
    assert len(letters) == 9
    for (x, y), (right, below) in itertools.pairwise(corners):
        for box in letters:
            assert not (box.x0 < right and box.x1 > x and box.y0 < y < box.y1)
            assert not (box.x0 < right < box.x1 and box.y0 < y and box.y1 > below)


def test_where_nothing_is_ranked_there_is_no_line() -> None:
    (axes,) = charts.pareto(run(row(verdict="differs, new", **NOISE))).axes
    assert not [line for line in axes.lines if line.get_drawstyle() == "steps-post" and len(line.get_xdata())]


def test_an_exact_map_and_one_without_a_distance() -> None:
    found = [
        row("exact", distance=0.0, **NOISE),
        row("near", 2.0, distance=1e-6, **NOISE),
        row("lost", distance=math.nan, **NOISE),
        row("far", distance=math.inf, **NOISE),
        row("none", distance=None, **NOISE),
        row("blind", distance=None, reference="none: camzoo's own map is all zero", **NOISE),
    ]
    figure = charts.pareto(run(*found))
    texts = drawn(figure)
    assert "exact" in texts
    for name in ("lost", "far", "none"):
        assert f"{name}: no finite distance" in texts
    assert "blind: camzoo's own map is all zero" in texts
    assert_legible(figure)


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([0.1, 0.9], [0.1, 0.9]),
        ([0.5, 0.5, 0.5], [0.5, 0.6, 0.7]),
        ([0.99, 0.98, 0.2], [1.0, 0.9, 0.2]),
        ([0.0] * 12, [index / 10 for index in range(12)]),
    ],
)
def test_ends_are_spread(wanted, places) -> None:
    assert _spread(wanted, 0.1) == pytest.approx(places)


BROKEN = {
    "dollars": "costs $5 or $x^{2$ and \\frac",
    "markup": "<script>alert(1)</script> & [bold]x[/bold]",
    "long": "supercalifragilistic" * 40,
    "foreign": "Größe Ñandú 猫 \U0001f638 \udcff",
    "control": "one\ntwo\tthree\x00\x1b[31m",
    "empty": "",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_no_text_breaks_a_figure(text) -> None:
    case = Case(text, weights=text, layer=text, dtype=text, device=text)
    found = [
        replace(row(case=case, **NOISE), contender=text, backend=text),
        replace(failed("x", Outcome.FAILED, text, case)),
        replace(row("y", case=replace(case, batch=2), **NOISE), verdict=text, verdict_reason=text),
    ]
    for draw in (*FIGURES.values(), charts.scaling):
        assert_legible(draw(run(*found, command=text)))


@pytest.mark.parametrize("name", FIGURES)
def test_a_run_in_which_nothing_worked_is_drawn_too(name) -> None:
    assert_legible(
        FIGURES[name](run(failed("sscam", Outcome.OUT_OF_MEMORY), failed("x", Outcome.NOT_INSTALLED, "pip")))
    )


ALL = FIGURES | {"scaling": charts.scaling}


@pytest.mark.parametrize("name", ALL)
def test_where_nothing_was_measured_there_are_words_and_no_axes(name) -> None:
    why = "the model has no attention, and so there is nothing that this method could read, " * 2
    found = [failed(each, Outcome.FAILED, why, Case("net", batch=size)) for size in (1, 2) for each in ("sscam", "x")]
    figure = ALL[name](run(*found))
    assert_legible(figure)
    assert not figure.axes
    assert not figure.legends
    texts = " ".join(drawn(figure))
    assert "nothing was measured" in texts
    assert texts.count(f"sscam: failed: {why.strip()}") == 2
    assert "line" not in texts


@pytest.mark.parametrize("name", ALL)
def test_nor_in_the_panel_of_a_case_where_nothing_was(name) -> None:
    bad = [failed("gradcam", Outcome.OUT_OF_MEMORY, "44 GiB", Case("big", batch=size)) for size in (1, 2)]
    figure = ALL[name](run(*growing(sizes=(1, 2)), *bad))
    assert_legible(figure)
    last = figure.axes[-1]
    assert not labels(last.xaxis)
    assert not last.patches
    assert not last.lines
    assert any(text.startswith("nothing ") for text in drawn(figure))
    assert any("out of memory" in text for text in drawn(figure))


def test_rows_without_their_memory_have_no_scale_of_it() -> None:
    figure = charts.memory(run(row(peak_bytes=None)))
    assert not figure.axes
    assert "gradcam: not measured" in drawn(figure)


def test_a_figure_can_be_made_in_a_thread_and_leaves_matplotlib_alone() -> None:
    before, made = dict(matplotlib.rcParams), []
    thread = threading.Thread(target=lambda: made.append(charts.dots(run(row(**NOISE)))))
    thread.start()
    thread.join()
    assert len(made) == 1
    assert dict(matplotlib.rcParams) == before


def test_a_line_fits_or_ends_in_dots() -> None:
    assert lettering.fit("short", 8, 3) == "short"
    cut = lettering.fit("a long line of text", 8, 0.5)
    assert cut.endswith("...")
    assert lettering.width(cut, 8) <= 0.5


def test_scenarios_are_drawn_over_what_they_vary() -> None:
    sizes = {"one": 1, "two": 2, "four": 4}
    scenario = {"along": "contender", "label": "methods", "sizes": sizes, "lines": dict.fromkeys(sizes, "together")}
    found = [row(name, 1 + 0.1 * size, seed=size, **NOISE) for name, size in sizes.items()]
    texts = drawn(charts.scaling(run(*found, environment=ENVIRONMENT | {"scenario": scenario})))
    assert "methods" in texts
    assert sum(text.startswith("together 0.") for text in texts) == 1
