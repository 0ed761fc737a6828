"""Intervals and tests, against enumeration and values worked out by hand."""

from itertools import product
from math import comb, sqrt

import numpy as np
import pytest

from mata_cpp.evaluate import stats


@pytest.mark.parametrize(("right", "total"), [(0, 10), (3, 10), (10, 10), (50, 80), (1, 1)])
def test_wilson_ends_are_where_the_score_test_gives_z(right, total):
    """The interval's ends solve |p_hat - p| = z sqrt(p (1 - p) / n)."""
    low, high = stats.wilson(right, total)
    share = right / total
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(stats.Z95 * sqrt(end * (1 - end) / total), rel=1e-9)


def test_wilson_of_nothing():
    assert stats.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (1, 4), (2, 2), (0, 6), (7, 3), (0, 0)])
def test_mcnemar_by_enumeration(lost, won):
    """All ways in which the pairs that differ could have fallen; those as likely as the one seen count half."""
    n = lost + won
    if lost == won:
        assert stats.mcnemar(lost, won) == 1.0
        return
    far = abs(lost - won)
    beyond = same = 0
    for signs in product((0, 1), repeat=n):
        distance = abs(2 * sum(signs) - n)
        beyond += distance > far
        same += distance == far
    assert stats.mcnemar(lost, won) == pytest.approx((beyond + same / 2) / 2**n)
    assert stats.mcnemar(lost, won, mid=False) == pytest.approx((beyond + same) / 2**n)
    assert stats.mcnemar(lost, won) == stats.mcnemar(won, lost) <= stats.mcnemar(lost, won, mid=False)


def test_mcnemar_of_a_large_difference():
    assert stats.mcnemar(0, 20) == pytest.approx(1 / 2**20)
    n = 101
    assert stats.mcnemar(50, 51) == pytest.approx(1 - comb(n, 50) / 2**n)  # the smallest difference there is


def test_bootstrap():
    random = np.random.default_rng(1)
    first, second = random.random(400), random.random(400) + 0.1
    difference, low, high = stats.paired_bootstrap(first, second)
    changes = second - first
    assert difference == pytest.approx(changes.mean())
    half = 1.96 * changes.std(ddof=1) / sqrt(400)
    assert low == pytest.approx(difference - half, abs=0.01) and high == pytest.approx(difference + half, abs=0.01)
    assert stats.paired_bootstrap(first, second) == (difference, low, high)


def test_bootstrap_of_equal_rows_and_of_nothing():
    assert stats.paired_bootstrap([1, 0, 1], [1, 0, 1]) == (0.0, 0.0, 0.0)
    assert stats.paired_bootstrap([], []) == (0.0, 0.0, 0.0)
