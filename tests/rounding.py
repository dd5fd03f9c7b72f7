"""A lower precision, played in float64: what a computation may differ by, measured and not guessed.

The result of every operation, of the model's forward and backward passes and of the formulas alike, is moved to one
of its two neighbours in the lower precision, a coin deciding which (Monte Carlo arithmetic: Parker 1997, CSD-970002).
What the precision has exactly stays as it is, as in real arithmetic. The spread of a few such runs is how far rounding
moves the result, with whatever amplifies it on the way: cancellation, small gaps of eigenvalues, thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from camzoo import asking, attention


class Rounding(TorchDispatchMode):
    """Within this block every float64 result has no more digits than another dtype holds.

    Args:
        dtype: the precision that is played.
        seed: of the coins.
    """

    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self.dtype = dtype
        self.coins = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        if not any(aliases):
            return tree_map_only(torch.Tensor, self.rounded, result)
        if isinstance(result, torch.Tensor) and all(alias.is_write for alias in aliases):
            result.copy_(self.rounded(result))
        return result  # a view has the digits of what it looks at

    def rounded(self, values: torch.Tensor) -> torch.Tensor:
        """Each value at one of its two neighbours."""
        if values.dtype != torch.float64 or values.device.type != "cpu":
            return values
        nearest = values.to(self.dtype)
        near = nearest.double()
        beyond = torch.nextafter(nearest, torch.where(values > near, torch.inf, -torch.inf).to(self.dtype)).double()
        stays = (values == near) | ~beyond.isfinite() | (torch.rand(values.shape, generator=self.coins) < 0.5)
        return torch.where(stays, near, beyond)


def spread(compute: Callable[[Rounding], torch.Tensor], wanted: torch.Tensor, dtype: torch.dtype, monkeypatch: Any):
    """The largest distance of each value `(...)` from what is wanted, over three runs with other coins.

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
        for seed in range(3):
            with Rounding(dtype, seed) as mode:
                found = compute(mode)
            found = mode.rounded(found)  # a draw of the host enters in the dtype asked for
            furthest = torch.maximum(furthest, (found - wanted).abs())
    return furthest
