"""Maps that show nothing are told as such, with the likely cause."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camzoo.degenerate import as_numpy, reason
from camzoo.types import Heatmap, Resolution, Stage

GOOD = [[0.0, 1.0], [2.0, 3.0]]


def heatmap(values, stage=Stage.RAW) -> Heatmap:
    return Heatmap(torch.as_tensor(values), stage, Resolution.LAYER, (8, 8), "m", "b")


@pytest.mark.parametrize(
    ("values", "stage", "start"),
    [
        (GOOD, Stage.RAW, ""),
        (GOOD, Stage.RECTIFIED, ""),
        (GOOD, Stage.NORMALISED, ""),
        ([[-1.0, 0.5]], Stage.RAW, ""),
        ([[0.0, 0.0]], Stage.RAW, "all zero: this layer's output is zero, or the score does not depend on it"),
        ([[0.0, -0.0]], Stage.RECTIFIED, "all zero: no cell speaks for the target"),
        ([[0.0, 0.0]], Stage.NORMALISED, "all zero: no cell speaks for the target"),
        ([[2.0, 2.0]], Stage.RAW, "constant: no cell"),
        ([[-2.0, -2.0]], Stage.RAW, "constant: no cell"),
        ([[-2.0, -1.0]], Stage.RAW, "all zero once rectified: every cell speaks against the target"),
        ([[-2.0, 0.0]], Stage.RAW, "all zero once rectified"),
        ([[1.0, 1 + 2**-23]], Stage.RAW, "constant but for rounding"),
        ([[-7.0, -7 * (1 + 2**-22)]], Stage.RAW, "constant but for rounding"),
        ([[1.0, 1 + 2**-20]], Stage.RAW, ""),
        ([[0.0, 1e-30]], Stage.RAW, ""),
        ([[3.0]], Stage.RAW, "constant: the layer's grid has a single cell"),
        ([[1.0, float("nan"), float("inf"), 0.0]], Stage.RAW, "not finite in 2 of 4 cells"),
    ],
)
def test_reasons(values, stage, start) -> None:
    said = reason(heatmap([values], stage), 0)
    assert said.startswith(start)
    assert bool(said) == bool(start)
    assert "\n" not in said


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_rounding_is_that_of_the_dtype(dtype) -> None:
    eps = torch.finfo(dtype).eps
    made = heatmap(torch.tensor([[[1, 1 + 2 * eps]], [[1, 1 + 8 * eps]]], dtype=dtype))
    assert [bool(reason(made, index)) for index in range(2)] == [True, False]
    as_array = Heatmap(np.array([[[1.0, 1 + 2**-51]]]), Stage.RAW, Resolution.LAYER, (8, 8), "m", "b")
    assert reason(as_array, 0).startswith("constant but for rounding")


def test_each_map_of_a_batch_is_judged_by_itself() -> None:
    batch = heatmap([GOOD, [[0.0, 0.0], [0.0, 0.0]], GOOD])
    assert [bool(reason(batch, index)) for index in range(3)] == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_as_numpy_is_exact_for_every_dtype(dtype) -> None:
    values = torch.tensor([0.1, -3.0], dtype=dtype, requires_grad=True)
    found = as_numpy(values)
    assert found.dtype == np.float64
    assert found.tolist() == values.detach().double().tolist()


def test_as_numpy_takes_numpy_too() -> None:
    assert as_numpy(np.array([1, 2], dtype=np.float32)).dtype == np.float64
