"""From the records of a run to its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import stats
from .official import matches
from .record import Record

CLIP = "clip"


@dataclass(frozen=True)
class Score:
    """Of the records of one row: n of them; right; unparsed: answered with none of the choices, or with several;
    unanswered: failed or empty.  All count in n.  official: right by the rule of MMAU's scorer, which leaves out what
    has no answer; None where nothing is left."""

    n: int
    right: int
    unparsed: int
    unanswered: int
    official: float | None

    @property
    def accuracy(self) -> float:
        return self.right / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by Wilson."""
        return stats.wilson(self.right, self.n)


@dataclass(frozen=True)
class Comparison:
    """Two rows on the same questions: lost of them are right in the first only, won in the second only; p by McNemar's
    exact test, mid-p.  difference of accuracy, second minus first, and its interval by the bootstrap over items."""

    n: int
    lost: int
    won: int
    p: float
    difference: float
    low: float
    high: float


Row = tuple[str, str, str]
"""Of a table: what was heard, the form of the prompt, the setting."""


def row_of(record: Record) -> Row:
    return record.sound, record.form, record.setting


def by_row(records: Iterable[Record]) -> dict[Row, list[Record]]:
    rows: dict[Row, list[Record]] = {}
    for record in records:
        rows.setdefault(row_of(record), []).append(record)
    return rows


def score(records: Sequence[Record]) -> Score:
    answered = [record for record in records if record.answered]
    matched = sum(matches(record.choices, record.answer, record.raw or "") for record in answered)
    return Score(
        n=len(records),
        right=sum(record.correct for record in records),
        unparsed=sum(record.answered and record.chosen is None for record in records),
        unanswered=len(records) - len(answered),
        official=matched / len(answered) if answered else None,
    )


def by_group(records: Sequence[Record], column: str) -> dict[str, Score]:
    """The scores by the values of a column of groups, sorted."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(record.groups.get(column, ""), []).append(record)
    return {value: score(part) for value, part in sorted(parts.items())}


def columns(records: Iterable[Record]) -> list[str]:
    """The columns of groups that tell records apart, in an order that is the same whatever was answered first."""
    values: dict[str, set[str]] = {}
    for record in sorted(records, key=lambda record: record.item):
        for column, value in record.groups.items():
            values.setdefault(column, set()).add(value)
    return [column for column, found in values.items() if len(found) > 1]


def compare(first: Sequence[Record], second: Sequence[Record], seed: int = 0) -> Comparison:
    """On the questions that both have.  The positions of an item are drawn together in the bootstrap."""
    others = {(record.item, record.rotation): record for record in second}
    pairs = [(one, other) for one in first if (other := others.get((one.item, one.rotation))) is not None]
    lost = sum(one.correct and not other.correct for one, other in pairs)
    won = sum(other.correct and not one.correct for one, other in pairs)
    items: dict[str, list[tuple[bool, bool]]] = {}
    for one, other in pairs:
        items.setdefault(one.item, []).append((one.correct, other.correct))
    ordered = [items[name] for name in sorted(items)]  # whatever was answered first
    means = [[sum(part[side] for part in found) / len(found) for found in ordered] for side in (0, 1)]
    difference, low, high = stats.paired_bootstrap(means[0], means[1], seed=seed)
    return Comparison(len(pairs), lost, won, stats.mcnemar(lost, won), difference, low, high)
