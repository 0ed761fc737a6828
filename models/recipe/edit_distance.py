"""Levenshtein's distance."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(hypothesis: Sequence, reference: Sequence) -> int:
    """Insertions, deletions and substitutions between two sequences."""
    row = list(range(len(reference) + 1))
    for i, one in enumerate(hypothesis, 1):
        corner, row[0] = row[0], i
        for j, two in enumerate(reference, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (one != two))
    return row[-1]
