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
        ([[3.0]], Stage.RAW, "constant: the layer's grid has a single cell"),
        ([[1.0, float("nan"), float("inf"), 0.0]], Stage.RAW, "not finite in 2 of 4 cells"),
    ],
)
def test_reasons(values, stage, start) -> None:
    said = reason(heatmap([values], stage), 0)
    assert said.startswith(start)
    assert bool(said) == bool(start)
    assert "\n" not in said


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
