"""Figures, read back from the artists and from the pixels."""

from __future__ import annotations

import io
import math
import threading
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from camzoo import figures, render
from camzoo.agreement import MEASURES
from camzoo.errors import RequestError
from camzoo.specs import Computation
from camzoo.study import Cell, Row, Study
from camzoo.types import Heatmap, Resolution, Stage, Status

PLACE = ("net", "last", "4 x 6 channels-first")

BROKEN = {
    "dollars": "costs $5 or $x^{2$ and \\frac",
    "markup": "<script>alert(1)</script> & [bold]x[/bold]",
    "long": "supercalifragilistic" * 40,
    "foreign": "Größe Ñandú 猫 \U0001f638 \udcff",
    "control": "one\ntwo\tthree\x00\x1b[31m",
    "empty": "",
}


def heatmap(values, stage=Stage.RAW, resolution=Resolution.LAYER) -> Heatmap:
    return Heatmap(torch.as_tensor(values)[None], stage, resolution, (16, 24), "m", "b")


def raw(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))


def study(entries, rows: int = 1) -> Study:
    """A Study of finished cells, or with one in each row for each entry: a heatmap, or a status with its reason."""
    cells = [entry for entry in entries if isinstance(entry, Cell)]
    for row in range(rows if not cells else 0):
        for number, entry in enumerate(entries):
            computation = Computation(f"method{number}", ("camzoo", "captum")[number % 2])
            if isinstance(entry, Heatmap):
                cells.append(Cell(row, computation, Status.OK, "", 0.0123, entry))
            else:
                cells.append(Cell(row, computation, *entry))
    generator = np.random.default_rng(0)
    return Study(
        rows=tuple(Row(row, f"{row}.png", "logit of class 3", 3, "cat", 1.5, 0.25, *PLACE) for row in range(rows)),
        cells=tuple(cells),
        pictures=tuple(generator.integers(0, 256, (16, 24, 3), dtype=np.uint8) for _ in range(rows)),
        seed=0,
        environment={},
    )


def panels(figure):
    """The axes with a picture in them: photos and maps, in the order in which they were drawn."""
    return [axes for axes in figure.axes if axes.images]


def drawn(figure) -> list[str]:
    """Every text that is drawn."""
    return [text for artist in figure.findobj(match=lambda it: hasattr(it, "get_text")) if (text := artist.get_text())]


def pixels(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figures.png(figure))).convert("RGB"))


def test_every_cell_is_drawn_by_the_one_renderer() -> None:
    maps = [heatmap(raw(seed)) for seed in range(3)]
    shown = study([*maps, heatmap(raw(2)).at(Stage.NORMALISED)], rows=2)
    photo, *cells = panels(figures.comparison(shown))[:5]
    np.testing.assert_array_equal(photo.images[0].get_array(), shown.pictures[0])
    for axes, cell in zip(cells, shown.of(0), strict=True):
        expected = render.overlay(shown.pictures[0], render.at_size(cell.heatmap, 0, (16, 24)))
        np.testing.assert_allclose(axes.images[0].get_array(), expected, rtol=0, atol=1 / 255)
    np.testing.assert_array_equal(cells[2].images[0].get_array(), cells[3].images[0].get_array())
    assert len(panels(figures.comparison(shown))) == 10


def test_pixels_of_a_known_map() -> None:
    """Left 0 and right 1 on black: the ends of the colour map, at its opacity."""
    values = np.repeat([[0.0, 0.0, 1.0, 1.0]], 4, axis=0)
    black = np.zeros((16, 24, 3), dtype=np.uint8)
    figure = figures.comparison(replace(study([heatmap(values)]), pictures=(black,)))
    image = pixels(figure)
    axes = panels(figure)[1]
    low, high = (render.colour(np.array([[end]]))[0, 0] * render.OPACITY * 255 for end in (0.0, 1.0))
    for share, expected in ((0.1, low), (0.9, high)):
        x, y = axes.transAxes.transform((share, 0.5))
        assert np.abs(image[round(image.shape[0] - y), round(x)] - expected).max() <= 1.5


def test_titles_say_method_backend_seconds_class_and_probability() -> None:
    shown = study([heatmap(raw()), heatmap(raw(1))])
    photo, first, second = panels(figures.comparison(shown))
    assert "cat" in photo.get_title()
    assert "25.0%" in photo.get_title()
    assert photo.get_xlabel() == "0.png"
    assert (first.get_title(), first.get_xlabel()) == ("method0", "camzoo · 12.3 ms")
    assert (second.get_title(), second.get_xlabel()) == ("method1", "captum · 12.3 ms")
    assert "net, layer last (4 x 6 channels-first)" in drawn(figures.comparison(shown))


def test_a_long_label_does_not_push_the_probability_out() -> None:
    shown = study([heatmap(raw())])
    shown = replace(shown, rows=(replace(shown.rows[0], label="a label that has no end " * 9),))
    figure = figures.comparison(shown)
    assert panels(figure)[0].get_title().startswith("a label")
    assert panels(figure)[0].get_title().endswith("... 25.0%")
    assert_inside(figure)


LONG = "timm:vit_base_patch16_clip.openai_ft_in12k_in1k (file checkpoints/run-{}/fine-tuned-last.safetensors)"


def swept(count: int = 3, rows: int = 2) -> Study:
    """Rows of two models with long names that differ in the middle and at the end, and of two layers."""
    shown = study([heatmap(raw(seed)) for seed in range(count)], rows=4)
    places = [(LONG.format(model) if model else "net", f"stages.{layer}" * 9, f"{layer} x 6") for model, layer in PAIRS]
    own = [
        replace(row, model=model, layer=layer, layout=layout)
        for row, (model, layer, layout) in zip(shown.rows, places, strict=True)
    ]
    cells = tuple(cell for cell in shown.cells if cell.row < rows)
    return replace(shown, rows=tuple(own[:rows]), cells=cells, pictures=shown.pictures[:rows])


PAIRS = ((0, 1), (0, 2), (1, 1), (1, 2))


def beside(figure) -> list[str]:
    """What stands at the side of the rows, line by line."""
    return [artist.get_text() for artist in figure.texts if artist.get_rotation() == 90]


def test_rows_of_several_layers_say_which_and_what_all_share_stands_above() -> None:
    figure = figures.comparison(swept(rows=2))
    assert [line for line in beside(figure) if "x 6" in line] == ["1 x 6", "2 x 6"]
    names = [line for line in beside(figure) if "x 6" not in line]
    assert [(name[:8], name[-8:]) for name in names] == [("stages.1", "stages.1"), ("stages.2", "stages.2")]
    assert all("..." in name for name in names)
    assert "net, 2 layers" in drawn(figure)
    assert_inside(figure)


@pytest.mark.parametrize("count", [1, 9])
def test_rows_of_several_models_say_which(count) -> None:
    figure = figures.comparison(swept(count, rows=4))
    assert beside(figure).count("net") == 2
    assert [line[-13:] for line in beside(figure) if line.startswith("(file")] == [".safetensors)"] * 2
    assert "2 models, 2 layers" in drawn(figure)
    assert_inside(figure)


def test_rows_of_one_model_and_layer_have_nothing_beside_them() -> None:
    assert beside(figures.comparison(study([heatmap(raw())], rows=2))) == []


def test_a_long_subject_goes_on_two_lines_and_keeps_the_layer() -> None:
    shown = study([heatmap(raw())])
    shown = replace(shown, rows=(replace(shown.rows[0], model=LONG.format(7)),))
    figure = figures.comparison(shown)
    (said,) = [artist.get_text() for artist in figure.texts]
    first, second = said.splitlines()
    assert first.startswith("timm:vit_")
    assert first.endswith(".safetensors)")
    assert second == "layer last (4 x 6 channels-first)"
    assert_inside(figure)


@pytest.mark.parametrize(
    ("names", "above", "below"),
    [
        ("method", ["method0", "method1"], ["", ""]),
        ("library", ["camzoo", "captum"], ["", ""]),
        ("both", ["method0", "method1"], ["camzoo", "captum"]),
        ("timed", ["method0", "method1"], ["camzoo · 12.3 ms", "captum · 12.3 ms"]),
    ],
)
def test_names_of_the_maps(names, above, below) -> None:
    _, *maps = panels(figures.comparison(study([heatmap(raw()), heatmap(raw(1))]), names=names))
    assert [axes.get_title() for axes in maps] == above
    assert [axes.get_xlabel() for axes in maps] == below


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": "library"}, "2 maps would be called 'camzoo'"),
        ({"names": "metod"}, "unknown kind of names 'metod': did you mean method"),
        ({"colours": "viridsi"}, "unknown colour map 'viridsi': did you mean viridis"),
    ],
)
def test_names_that_tell_nothing_and_colours_that_are_none(options, said) -> None:
    with pytest.raises(RequestError, match=said):
        figures.comparison(study([heatmap(raw(seed)) for seed in range(3)]), **options)


def test_columns_and_colours_are_as_asked() -> None:
    shown = study([heatmap(raw(seed)) for seed in range(5)])
    figure = figures.comparison(shown, columns=2, colours="viridis")
    assert len({round(axes.get_position().x0, 6) for axes in panels(figure)}) == 3
    expected = render.overlay(shown.pictures[0], render.at_size(shown.cells[0].heatmap, 0, (16, 24)), "viridis")
    np.testing.assert_allclose(panels(figure)[1].images[0].get_array(), expected, rtol=0, atol=1 / 255)


def test_vector_figures_are_the_same_twice_and_have_letters() -> None:
    shown = study([heatmap(raw())])
    pdf, svg = ([figures.vector(figures.comparison(shown), kind, 100) for _ in range(2)] for kind in ("pdf", "svg"))
    assert pdf[0] == pdf[1]
    assert svg[0] == svg[1]
    assert pdf[0].startswith(b"%PDF")
    assert b"CIDFontType2" in pdf[0]
    assert b"/Type3" not in pdf[0]
    assert ElementTree.fromstring(svg[0]).tag.endswith("svg")
    assert svg[0].count(b"<image") == len(panels(figures.comparison(shown))) + 1  # and the scale


def test_the_resolution_is_as_asked() -> None:
    figure = figures.comparison(study([heatmap(raw())]))
    with Image.open(io.BytesIO(figures.png(figure, 50))) as image:
        assert image.size == pytest.approx(50 * figure.get_size_inches(), abs=1)


def test_options_are_part_of_the_title() -> None:
    computation = Computation("scorecam", "torchcam", {"top_channels": 64})
    cell = Cell(0, computation, Status.OK, "", 2.0, heatmap(raw()))
    axes = panels(figures.comparison(study([cell])))[1]
    assert axes.get_title() == "scorecam(top_channels=64)"
    assert axes.get_xlabel() == "torchcam · 2.0 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "not timed"),
        (0.00001234, "0.0123 ms"),
        (0.5, "500 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (75, "75.0 s"),
    ],
)
def test_seconds(seconds, text) -> None:
    assert figures._seconds(seconds) == text


def test_one_colour_scale_from_0_to_1() -> None:
    figure = figures.comparison(study([heatmap(raw()), heatmap(100 * raw(1))]))
    (scale,) = [axes for axes in figure.axes if not axes.images]
    assert scale.get_ylim() == (0, 1)
    assert [label.get_text() for label in scale.get_yticklabels()] == ["0.0", "0.5", "1.0"]


@pytest.mark.parametrize("status", [Status.FAILED, Status.NOT_INSTALLED, Status.NOT_OFFERED])
def test_a_cell_without_a_map_shows_its_status_and_reason(status) -> None:
    texts = " ".join(drawn(figures.comparison(study([heatmap(raw()), (status, "pip install something")]))))
    assert str(status) in texts
    assert "pip install something" in texts
    assert "captum" in texts


def test_a_study_in_which_nothing_worked_is_drawn_too() -> None:
    shown = study([(Status.FAILED, "ValueError: no"), (Status.NOT_INSTALLED, "pip install it")], rows=2)
    assert figures.png(figures.comparison(shown)).startswith(b"\x89PNG")
    assert figures.png(figures.agreement(shown)).startswith(b"\x89PNG")


def test_a_map_that_shows_nothing_says_so() -> None:
    cells = (Cell(0, Computation("m"), Status.OK, "", 0.1, heatmap(np.zeros((4, 6))), "all zero: because of this"),)
    texts = " ".join(" ".join(drawn(figures.comparison(study(cells)))).split())
    assert "all zero: because of this" in texts


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_no_text_breaks_a_figure(text) -> None:
    rows = (Row(0, text, text, 3, text, 1.0, 0.5, *[text] * 3), Row(0, text, text, None, "", 1.0, None, *[text] * 3))
    named = Computation("gradcam", text or "b", {"option": text})
    cells = tuple(
        cell
        for row in range(2)
        for cell in (
            Cell(row, named, Status.OK, "", 0.1, heatmap(raw()), text),
            Cell(row, Computation("other", text or "b"), Status.FAILED, text),
            Cell(row, Computation("third"), Status.OK, "", 0.1, heatmap(raw(1))),
        )
    )
    shown = replace(study(cells, rows=2), rows=rows)
    for figure in (figures.comparison(shown), figures.agreement(shown)):
        figures.png(figure)
        assert_inside(figure)


def test_a_dollar_is_a_dollar() -> None:
    cells = [(Status.FAILED, "costs $5 or $6")]
    figure = figures.comparison(study(cells))
    (reason,) = [it for it in figure.findobj(match=lambda it: hasattr(it, "get_text")) if "costs" in it.get_text()]
    assert reason.get_text() == "costs $5 or $6"
    assert not reason.get_parse_math()


def assert_inside(figure) -> None:
    """No text leaves the figure, and no title of a panel reaches into the next one's."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for artist in figure.findobj(match=lambda it: hasattr(it, "get_text")):
        if artist.get_text().strip() and artist.get_visible():
            box = artist.get_window_extent()
            assert box.x0 >= -1, artist
            assert box.y0 >= -1, artist
            assert box.x1 <= width + 1, artist
            assert box.y1 <= height + 1, artist
    boxes = [axes.title.get_window_extent() for axes in panels(figure)]
    boxes += [axes.xaxis.label.get_window_extent() for axes in panels(figure)]
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            assert one.width * other.width == 0 or not _overlap(one, other)


def _overlap(one, other) -> bool:
    return min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1


@pytest.mark.parametrize("count", [1, 3, 8, 9, 11, 17])
def test_nothing_overlaps_or_is_cut_off_however_many_methods(count) -> None:
    shown = study([heatmap(raw(seed)) for seed in range(count)], rows=2)
    figure = figures.comparison(shown)
    assert len(panels(figure)) == 2 * (count + 1)
    assert_inside(figure)
    lines = math.ceil(count / 8)
    assert len({round(axes.get_position().x0, 6) for axes in panels(figure)}) == 1 + math.ceil(count / lines)


@pytest.mark.parametrize("shape", [(60, 20, 3), (20, 60, 3), (2, 2, 3)])
def test_pictures_of_any_shape(shape) -> None:
    shown = study([heatmap(raw()), (Status.FAILED, "ValueError: no")])
    shown = replace(shown, pictures=(np.zeros(shape, dtype=np.uint8),))
    figure = figures.comparison(shown)
    assert_inside(figure)
    assert panels(figure)[1].images[0].get_array().shape == shape


def test_agreement_has_a_matrix_for_each_measure_with_its_numbers() -> None:
    shown = study([heatmap(raw()), heatmap(raw(1)), heatmap(-raw())])
    figure = figures.agreement(shown)
    matrices = panels(figure)
    assert [axes.get_title().lower() for axes in matrices] == list(MEASURES)
    for axes, measure in zip(matrices, MEASURES, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), shown.agreement(0).values[measure])
        assert axes.images[0].get_clim() == ((0, 1) if "overlap" in measure else (-1, 1))
    assert [label.get_text() for label in matrices[0].get_yticklabels()] == ["method0", "method1@captum", "method2"]
    assert f"{shown.agreement(0).values['pearson'][0, 1]:.2f}" in drawn(figure)
    assert_inside(figure)


def test_agreement_is_the_mean_over_rows_where_defined() -> None:
    zero = Cell(0, Computation("b"), Status.OK, "", 0.1, heatmap(np.zeros((4, 6))), "all zero: because")
    cells = (
        Cell(0, Computation("a"), Status.OK, "", 0.1, heatmap(raw())),
        zero,
        Cell(0, Computation("c"), Status.OK, "", 0.1, heatmap(raw(2))),
        Cell(1, Computation("a"), Status.OK, "", 0.1, heatmap(raw(3))),
        Cell(1, Computation("b"), Status.OK, "", 0.1, heatmap(raw(4))),
        Cell(1, Computation("c"), Status.FAILED, "ValueError: only for this target"),
    )
    shown = study(cells, rows=2)
    figure = figures.agreement(shown)
    first, second = shown.agreement(0).values["pearson"], shown.agreement(1).values["pearson"]
    matrix = np.ma.filled(panels(figure)[0].images[0].get_array(), math.nan)
    assert matrix[0, 0] == pytest.approx(1)
    assert matrix[0, 1] == second[0, 1]
    assert matrix[0, 2] == first[0, 2]
    assert math.isnan(matrix[1, 2])
    texts = " ".join(drawn(figure))
    assert "n/a: b is all zero: because" in texts
    assert "mean of 2 images, targets, layers or models" in texts
    assert_inside(figure)


def test_agreement_of_rows_is_their_mean() -> None:
    shown = study([heatmap(raw()), heatmap(raw(1))], rows=2)
    other = replace(shown.cells[3], heatmap=heatmap(raw(7)))
    shown = replace(shown, cells=(*shown.cells[:3], other))
    first, second = (shown.agreement(row).values["pearson"][0, 1] for row in range(2))
    assert first != second
    assert panels(figures.agreement(shown))[0].images[0].get_array()[0, 1] == pytest.approx((first + second) / 2)


def test_agreement_of_many_maps() -> None:
    figure = figures.agreement(study([heatmap(raw(seed)) for seed in range(40)]))
    assert_inside(figure)
    assert "1.00" not in drawn(figure)


def test_a_huge_figure_is_still_written(monkeypatch) -> None:
    monkeypatch.setattr(figures, "LARGEST", 300)
    image = pixels(figures.comparison(study([heatmap(raw())], rows=3)))
    assert 295 <= max(image.shape) <= 301


def test_a_figure_can_be_made_in_a_thread_and_leaves_matplotlib_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    made = []
    thread = threading.Thread(target=lambda: made.append(figures.png(figures.comparison(study([heatmap(raw())])))))
    thread.start()
    thread.join()
    assert made[0].startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


def test_a_figure_is_the_same_twice() -> None:
    shown = study([heatmap(raw()), (Status.FAILED, "no")])
    assert figures.png(figures.comparison(shown)) == figures.png(figures.comparison(shown))
