"""The cheapest way through candidates."""

from __future__ import annotations

import numpy as np


def cheapest(cost: np.ndarray, units: np.ndarray, jump: float) -> np.ndarray:
    """Which of K candidates to take at each time, [T], so that the sum is least (Viterbi) of their costs [T, K] and of
    jump wherever a unit [T, K] is not the one before it plus one.
    """
    total, before = cost[0], []
    for now in range(1, len(cost)):
        follows = units[now][None] == units[now - 1][:, None] + 1
        ways = total[:, None] + jump * ~follows
        before.append(ways.argmin(0))
        total = ways.min(0) + cost[now]
    path = [int(total.argmin())]
    for where in reversed(before):
        path.append(int(where[path[-1]]))
    return np.array(path[::-1])
