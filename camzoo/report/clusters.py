"""The order in which a matrix of likeness shows its groups."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def order(likeness: Matrix) -> list[int]:
    """Average-linkage clustering, read from leaf to leaf: what is alike stands side by side.

    `L(a, b) = mean_ij likeness_ij` over `i` in `a`, `j` in `b`; the two groups with the largest `L` are joined, so
    turned that their likest ends meet, until one group is left (UPGMA: Sokal and Michener 1958).

    Args:
        likeness: `(n, n)`, symmetric, larger for what is more alike; NaN for undefined.

    Returns:
        The indices `0..n-1`; those that are not even like themselves, being undefined, come last.
    """
    defined = np.isfinite(np.diagonal(likeness))
    known = np.nan_to_num(likeness, nan=-1)  # a pair that was never seen together is not joined early
    groups = [[int(index)] for index in np.flatnonzero(defined)]
    while len(groups) > 1:
        pairs = itertools.combinations(range(len(groups)), 2)
        one, other = max(pairs, key=lambda pair: known[np.ix_(groups[pair[0]], groups[pair[1]])].mean())
        joined = _joined(groups[one], groups.pop(other), known)
        groups[one] = joined
    return [*itertools.chain(*groups), *map(int, np.flatnonzero(~defined))]


def _joined(one: list[int], other: list[int], likeness: Matrix) -> list[int]:
    """Two groups end to end, turned so that the likest ends meet; as they are where that makes no odds."""
    turns = [(first, second) for first in (one, one[::-1]) for second in (other, other[::-1])]
    first, second = max(turns, key=lambda pair: likeness[pair[0][-1], pair[1][0]])
    return first + second
