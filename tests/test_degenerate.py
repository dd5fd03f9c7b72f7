"""Maps that show nothing are told as such, with the likely cause."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camzoo.degenerate import as_numpy, reasons
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
    (said,) = reasons(heatmap([values], stage))
    assert said.startswith(start)
    assert bool(said) == bool(start)
    assert "\n" not in said


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_rounding_is_that_of_the_dtype(dtype) -> None:
    eps = torch.finfo(dtype).eps
    made = heatmap(torch.tensor([[[1, 1 + 2 * eps]], [[1, 1 + 8 * eps]]], dtype=dtype))
    assert [bool(why) for why in reasons(made)] == [True, False]
    as_array = Heatmap(np.array([[[1.0, 1 + 2**-51]]]), Stage.RAW, Resolution.LAYER, (8, 8), "m", "b")
    assert reasons(as_array)[0].startswith("constant but for rounding")


def test_each_map_of_a_batch_is_judged_by_itself() -> None:
    batch = heatmap([GOOD, [[0.0, 0.0], [0.0, 0.0]], GOOD])
    assert [bool(why) for why in reasons(batch)] == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4)], ids=str)
def test_all_maps_are_judged_at_one_look(dtype, shape, monkeypatch) -> None:
    maps = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    maps[1], maps[2], maps[3] = 0, 2.5, -maps[3].abs()
    looks: list[int] = []
    look = torch.Tensor.numpy
    monkeypatch.setattr(torch.Tensor, "numpy", lambda values: looks.append(values.numel()) or look(values))
    found = reasons(heatmap(maps))
    assert looks == [2 * 6]
    assert [why.partition(":")[0] for why in found] == ["", "all zero", "constant", "all zero once rectified", "", ""]
    maps[4].flatten()[0], maps[5].flatten()[1] = float("nan"), -float("inf")
    cells = maps[0].numel()
    assert all(why.startswith(f"not finite in 1 of {cells} cells") for why in reasons(heatmap(maps))[4:])
    as_arrays = Heatmap(maps.double().numpy(), Stage.RAW, Resolution.LAYER, (8, 8), "m", "b")
    assert reasons(as_arrays) == reasons(heatmap(maps.double()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_as_numpy_is_exact_for_every_dtype(dtype) -> None:
    values = torch.tensor([0.1, -3.0], dtype=dtype, requires_grad=True)
    found = as_numpy(values)
    assert found.dtype == np.float64
    assert found.tolist() == values.detach().double().tolist()


def test_as_numpy_takes_numpy_too() -> None:
    assert as_numpy(np.array([1, 2], dtype=np.float32)).dtype == np.float64
