"""Rectifying, min-max and resizing, against PyTorch's own and against each other in several array libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from camzoo import grids

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = [
    ((7, 7), (224, 224)),
    ((7, 9), (224, 300)),
    ((5, 3), (11, 4)),
    ((20, 31), (9, 5)),
    ((224, 200), (7, 8)),
    ((1, 6), (5, 13)),
    ((4, 4), (4, 9)),
    ((3, 3), (1, 1)),
]


def maps(shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("old", "new"), SIZES, ids=str)
def test_resize_is_bilinear_interpolation_with_half_pixel_centres(dtype, old, new) -> None:
    values = maps((2, *old), dtype)
    exact = interpolate(values.double()[:, None], size=new, mode="bilinear", align_corners=False)[:, 0]
    resized = grids.resize(values, new)
    assert resized.dtype == dtype
    # The place of a centre is rounded to the working precision, and the result to the dtype.
    place = max(old) * torch.finfo(dtype if dtype.itemsize > 2 else torch.float32).eps
    step = float(values.double().abs().max()) * 2
    assert float((resized.double() - exact).abs().max()) <= step * (place + torch.finfo(dtype).eps)


def test_resize_of_a_volume_is_trilinear() -> None:
    values = maps((2, 3, 5, 4))
    exact = interpolate(values[:, None], size=(7, 4, 9), mode="trilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(grids.resize(values, (7, 4, 9)), exact, rtol=0, atol=2e-15)


def test_resize_by_hand() -> None:
    np.testing.assert_array_equal(grids.resize(np.array([[[0.0, 4.0]]]), (1, 4)), [[[0, 1, 3, 4]]])
    np.testing.assert_array_equal(grids.resize(np.array([[[0.0, 2.0, 4.0, 6.0]]]), (1, 2)), [[[1, 5]]])


def test_resize_to_the_same_size_changes_nothing() -> None:
    values = maps((2, 5, 6), torch.bfloat16)
    assert torch.equal(grids.resize(values, (5, 6)), values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [grids.rectify, grids.normalise, lambda m: grids.resize(m, (11, 40))])
def test_numpy_and_torch_give_the_same(dtype, step) -> None:
    values = maps((3, 7, 9)).numpy().astype(dtype)
    found, wanted = step(values), step(torch.from_numpy(values)).numpy()
    assert found.dtype == wanted.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=4 * np.finfo(dtype).eps)


def test_nothing_is_changed_in_place() -> None:
    values = maps((2, 4, 5))
    before = values.clone()
    for step in (grids.rectify, grids.normalise, lambda m: grids.resize(m, (9, 9))):
        step(values)
    assert torch.equal(values, before)


def test_resize_keeps_a_nan_where_it_is() -> None:
    values = torch.ones(1, 7, 7)
    values[0, 3, 3] = float("nan")
    resized = grids.resize(values, (14, 14))
    expected = interpolate(values[None], size=(14, 14), mode="bilinear", align_corners=False)[0]
    assert torch.equal(torch.isnan(resized), torch.isnan(expected))
    assert int(torch.isnan(resized).sum()) == 16
    # At the very centre of a cell only that cell counts.
    np.testing.assert_array_equal(np.isnan(grids.resize(np.array([[[1.0, np.nan]]]), (1, 6)))[0, 0], [0, 0, 1, 1, 1, 1])


def test_resize_of_a_constant_map_is_constant() -> None:
    assert grids.resize(torch.full((1, 7, 7), 0.3), (224, 224)).unique().tolist() == [np.float32(0.3)]


def test_resize_mirrors_with_the_map() -> None:
    values = maps((1, 7, 7))
    torch.testing.assert_close(
        grids.resize(values.flip(2), (20, 33)), grids.resize(values, (20, 33)).flip(2), rtol=0, atol=1e-14
    )


def test_rectify_keeps_nan_and_drops_what_is_negative() -> None:
    values = np.array([[[-2.0, 0.0, 3.0, np.nan, -np.inf, np.inf]]])
    np.testing.assert_array_equal(grids.rectify(values), [[[0, 0, 3, np.nan, 0, np.inf]]])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_normalise_reaches_both_ends_exactly(dtype, scale) -> None:
    scaled = grids.normalise(maps((50, 7, 7), dtype) * scale)
    assert scaled.dtype == dtype
    assert (scaled.amin((1, 2)) == 0).all()
    assert (scaled.amax((1, 2)) == 1).all()


def test_normalise_treats_each_map_by_itself() -> None:
    values = maps((3, 5, 5)) * torch.tensor([1.0, 1e-6, 1e6], dtype=torch.float64)[:, None, None]
    together = grids.normalise(values)
    for index in range(3):
        assert torch.equal(together[index], grids.normalise(values[index : index + 1])[0])


def test_normalise_of_a_constant_map_gives_zeros_and_leaves_its_neighbours_alone() -> None:
    values = np.stack([np.full((2, 2), 7.0), np.array([[1.0, 3.0], [5.0, 9.0]]), np.full((2, 2), -1e300)])
    np.testing.assert_array_equal(grids.normalise(values), [np.zeros((2, 2)), [[0, 0.25], [0.5, 1]], np.zeros((2, 2))])


def test_normalise_shows_nan_and_keeps_it_to_its_map() -> None:
    values = maps((2, 3, 3))
    values[0, 1, 1] = float("nan")
    scaled = grids.normalise(values)
    assert torch.isnan(scaled[0, 1, 1])
    assert torch.isfinite(scaled[1]).all()


def test_normalise_has_no_epsilon() -> None:
    values = np.array([[[0.0, 1e-30, 4e-30]]])
    np.testing.assert_array_equal(grids.normalise(values), [[[0, 0.25, 1]]])


def test_a_volume_is_normalised_as_a_whole() -> None:
    scaled = grids.normalise(maps((2, 3, 4, 5)))
    assert scaled.amin((1, 2, 3)).tolist() == [0, 0]
    assert scaled.amax((1, 2, 3)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("cells", "size", "grid"),
    [
        (196, (224, 224), (14, 14)),
        (49, (224, 224), (7, 7)),
        (12, (30, 40), (3, 4)),
        (12, (40, 30), (4, 3)),
        (197, (224, 224), None),  # a prime number of tokens: a class token is still among them
        (8, (224, 224), None),  # 2 x 4 is no square
    ],
)
def test_grid_of_tokens(cells, size, grid) -> None:
    assert grids.grid_shape(cells, size) == grid
