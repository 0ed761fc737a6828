"""Intervals and paired tests for shares of right answers."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt

import numpy as np

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

_BLOCK = 1 << 22
"""Numbers drawn at a time by the bootstrap."""


def wilson(right: int, total: int, z: float = Z95) -> tuple[float, float]:
    """The score interval of a share right/total (Wilson 1927); (0, 1) for nothing."""
    if total == 0:
        return 0.0, 1.0
    share = right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def mcnemar(only_first: int, only_second: int, *, mid: bool = True) -> float:
    """The two-sided p of McNemar's exact test; with mid in its mid-p form (Fagerland et al. 2013), where the outcome
    that was seen counts half: the test without it is conservative.

    only_first, only_second: pairs of which only the one, or only the other, is right.  1 where they do not differ.
    """
    n, low = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    total = 1 << n
    tail = sum(comb(n, k) for k in range(low + 1))
    return float(min(1.0, (2 * tail - (comb(n, low) if mid else 0)) / total))


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0, draws: int = 10_000
) -> tuple[float, float, float]:
    """(mean of second - first, and its 95 % interval) over items drawn with replacement; both have an entry an item."""
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    n = len(differences)
    if n == 0:
        return 0.0, 0.0, 0.0
    random = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _BLOCK // n)
    for start in range(0, draws, step):
        drawn = random.integers(0, n, (min(step, draws - start), n))
        means[start : start + len(drawn)] = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(differences.mean()), float(low), float(high)
