"""A lower precision, played in float64: what a computation may differ by, measured and not guessed.

Every result, of the model's forward and backward passes and of the formulas alike, is moved to one of its two
neighbours in the lower precision, as if at random and the nearer one more often (Monte Carlo arithmetic: Parker 1997,
CSD-970002). What the precision has exactly stays as it is. The spread of a few such runs is how far rounding moves
the outcome, with whatever amplifies it on the way: cancellation, small gaps of eigenvalues, thresholds.
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from camzoo import asking, attention

IN_SINGLE = tuple(f"camzoo.methods.{name}" for name in ("_arrays", "dff", "kpcacam"))


class Rounding(TorchDispatchMode):
    """Within this block every float64 result has no more digits than another dtype holds.

    Equal values go the same way, as in any arithmetic: what is constant stays so.

    Args:
        dtype: the precision that is played.
        seed: of the way that each value goes.
    """

    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self.dtype = dtype
        self.factor = random.Random(seed).getrandbits(62) | 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        if not any(aliases):
            return tree_map_only(torch.Tensor, self.rounded, result)
        if isinstance(result, torch.Tensor) and all(alias.is_write for alias in aliases):
            result.copy_(self.rounded(result))
        return result  # a view has the digits of what it looks at

    def at_least_single(self, array: torch.Tensor) -> torch.Tensor:
        """What the formulas of half precision are computed in from here on."""
        self.dtype = torch.float32
        return array

    def rounded(self, values: torch.Tensor) -> torch.Tensor:
        """Each value at one of its two neighbours: noise below the last bit that is kept, and then a cut.

        The noise is a hash of the value, its bits times an odd number, of which the upper ones are taken.
        """
        if values.dtype != torch.float64:
            return values
        lost = round(math.log2(torch.finfo(self.dtype).eps / torch.finfo(torch.float64).eps))
        bits = values.contiguous().view(torch.int64)
        moved = bits * self.factor
        moved >>= 64 - lost
        moved &= 2**lost - 1
        moved += bits
        moved &= -(2**lost)  # infinity and NaN have nothing below, so that they stay
        return moved.view(torch.float64)


def spread(
    compute: Callable[[Rounding], torch.Tensor],
    wanted: torch.Tensor,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> torch.Tensor:
    """The largest distance of each value `(...)` from what is wanted, over two runs that round differently.

    Args:
        compute: given the mode that it runs in.
        wanted: the same in float64.
        dtype: the precision that is played.
        monkeypatch: what checks itself "to rounding" must be told of the rounding that is played.
    """
    slack = min(200 * torch.finfo(dtype).eps, 0.5)

    def close(found: torch.Tensor, reference: torch.Tensor) -> bool:
        return found.shape == reference.shape and bool((found - reference).abs().max() <= slack * reference.abs().max())

    furthest = torch.zeros_like(wanted)
    with monkeypatch.context() as patch:
        patch.setattr(asking, "_close", close)
        patch.setattr(attention, "_close", close)
        for seed in range(2):
            mode = Rounding(dtype, seed)
            for module in IN_SINGLE:
                patch.setattr(importlib.import_module(module), "at_least_single", mode.at_least_single)
            with mode:
                found = compute(mode)
            mode.dtype = dtype
            found = mode.rounded(found)  # a draw of the host enters in the dtype asked for
            furthest = torch.maximum(furthest, (found - wanted).abs())
    return furthest
