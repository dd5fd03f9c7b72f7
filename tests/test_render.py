"""The one renderer, down to pixel values."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch

from camzoo import render
from camzoo.types import Heatmap, Resolution, Stage


def heatmap(values, stage=Stage.RAW, resolution=Resolution.LAYER) -> Heatmap:
    return Heatmap(values, stage, resolution, (4, 4), "m", "b")


def test_a_map_is_rectified_scaled_and_then_enlarged() -> None:
    raw = torch.tensor([[[9.0, 9.0]], [[-1.0, 2.0]]])
    np.testing.assert_array_equal(render.at_size(heatmap(raw), 1, (1, 4)), [[0, 0.25, 0.75, 1]])


def test_every_stage_and_library_is_drawn_alike() -> None:
    raw = torch.randn(1, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = render.at_size(heatmap(raw), 0, (50, 60))
    later = heatmap(raw).at(Stage.NORMALISED)
    np.testing.assert_array_equal(render.at_size(later, 0, (50, 60)), drawn)
    np.testing.assert_array_equal(render.at_size(heatmap(raw.numpy()), 0, (50, 60)), drawn)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_half_precision_loses_nothing_more_on_the_way(dtype) -> None:
    raw = torch.randn(1, 7, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    shown = heatmap(raw.double()).at(Stage.NORMALISED).values
    exact = torch.nn.functional.interpolate(shown[None], size=(224, 224), mode="bilinear")[0, 0]
    np.testing.assert_allclose(render.at_size(heatmap(raw), 0, (224, 224)), exact.numpy(), rtol=0, atol=1e-14)


def test_colours_are_those_of_the_colour_map() -> None:
    painted = render.colour(np.array([[0.0, 0.5, 1.0]]))
    expected = matplotlib.colormaps[render.COLOURS]([0.0, 0.5, 1.0])[:, :3]
    np.testing.assert_array_equal(painted, expected[None])


def test_what_is_not_finite_is_grey() -> None:
    painted = render.colour(np.array([[np.nan, np.inf, 0.0]]))
    np.testing.assert_array_equal(painted[0, :2], np.full((2, 3), 0.5))
    assert (painted[0, 2] != 0.5).all()


def test_a_map_with_nan_is_drawn_without_a_warning() -> None:
    raw = torch.tensor([[[float("nan"), 1.0], [0.0, 2.0]]])
    assert np.isnan(render.at_size(heatmap(raw), 0, (4, 4))).all()


def test_overlay_by_hand() -> None:
    picture = np.array([[[255, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    drawn = render.overlay(picture, np.array([[0.0, 1.0]]), opacity=0.25)
    low, high = (np.array(matplotlib.colormaps[render.COLOURS](float(v))[:3]) for v in (0, 1))
    np.testing.assert_allclose(drawn[0, 0], 0.25 * low + 0.75 * 0.299, rtol=0, atol=1e-15)
    np.testing.assert_allclose(drawn[0, 1], 0.25 * high + 0.75, rtol=0, atol=1e-15)


@pytest.mark.parametrize("opacity", [0.0, 1.0])
def test_overlay_stays_in_range(opacity) -> None:
    white = np.full((3, 3, 3), 255, dtype=np.uint8)
    drawn = render.overlay(white, np.linspace(0, 1, 9).reshape(3, 3), opacity=opacity)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
