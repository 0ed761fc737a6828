"""A run as a report: tables for people, and the same as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import scores
from .jobs import CHOICE_FORMS
from .prompts import FORMS
from .record import SOUNDS, Record
from .scores import Comparison, Row, Score

HEARD = {"clip": "", "none": "no audio", "silence": "silence instead", "other": "another clip"}


class Report:
    """facts and records: of a log, in its order.  base: the setting that the others are compared with; the first of the
    log unless given."""

    def __init__(self, facts: Mapping[str, Any], records: Sequence[Record], base: str | None = None) -> None:
        self.facts = facts
        self.records = records
        self.rows = scores.by_row(records)
        self._names = list(dict.fromkeys(record.setting for record in records if record.sound == scores.CLIP))
        self.base = base or (self._names[0] if self._names else "off")

    @property
    def forms(self) -> list[str]:
        """In the order in which they are known, whatever was answered first."""
        found = {record.form for record in self.records}
        known = [form for form in dict.fromkeys((*CHOICE_FORMS, *FORMS)) if form in found]
        return [*known, *sorted(found.difference(known))]

    def ordered(self) -> list[tuple[Row, list[Record]]]:
        """Rows as they are printed: by form; within one the settings in their order, then the baselines."""

        def key(row: Row) -> tuple[int, int, int]:
            sound, form, setting = row
            number = self._names.index(setting) if setting in self._names else len(self._names)
            return self.forms.index(form), SOUNDS.index(sound), number

        return sorted(self.rows.items(), key=lambda found: key(found[0]))

    def comparison(self, row: Row) -> Comparison | None:
        """With the base setting, on the same form; None for the base itself."""
        first = self.rows.get((scores.CLIP, row[1], self.base))
        if first is None or row == (scores.CLIP, row[1], self.base):
            return None
        return scores.compare(first, self.rows[row])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        columns = scores.columns(self.records)
        found = []
        for row, records in self.ordered():
            compared = self.comparison(row)
            found.append(
                {
                    "sound": row[0],
                    "form": row[1],
                    "setting": row[2],
                    **_score(scores.score(records)),
                    "compared": None if compared is None else {"with": self.base, **_comparison(compared)},
                    "by": {
                        column: {value: _score(one) for value, one in scores.by_group(records, column).items()}
                        for column in columns
                    },
                }
            )
        return {"run": dict(self.facts), "rows": found}

    def text(self, by: Sequence[str] = ()) -> str:
        """Tables for a terminal.  by: columns of groups to split every row by."""
        lines = [_title(self.facts), ""]
        width = max((len(label_of(row)) for row in self.rows), default=0)
        for form in self.forms:
            lines += [f"prompt: {form}", _heading(width, self._against)]
            for row, records in self.ordered():
                if row[1] == form:
                    lines.append(_line(label_of(row), width, scores.score(records), self.comparison(row)))
            lines.append("")
        for column in by:
            lines += self._split(column)
        return "\n".join(lines).rstrip() + "\n"

    @property
    def _against(self) -> str:
        return "the first row" if self._names[:1] in ([], [self.base]) else self.base

    def _split(self, column: str) -> list[str]:
        lines = []
        for row, records in self.ordered():
            parts = scores.by_group(records, column)
            width = max(len(value) for value in parts)
            lines += [f"{label_of(row)}, {row[1]}, by {column}", _heading(width)]
            lines += [_line(value, width, one, None) for value, one in parts.items()]
            lines.append("")
        return lines


def _title(facts: Mapping[str, Any]) -> str:
    return f"{facts.get('dataset', '?')}: {facts.get('model', '?')}, {facts.get('method', '?')}"


def label_of(row: Row) -> str:
    """What a row is called: its setting, or what was heard instead of the clip."""
    return HEARD[row[0]] or row[2]


def _heading(width: int, against: str | None = None) -> str:
    head = f"{'':{width}}     n  right    95 %          unparsed  unanswered  official"
    return head if against is None else f"{head}  against {against}"


def _line(label: str, width: int, found: Score, compared: Comparison | None) -> str:
    low, high = found.interval
    official = "     -" if found.official is None else f"{100 * found.official:6.1f}"
    line = (
        f"{label:{width}} {found.n:5}  {100 * found.accuracy:5.1f}  {100 * low:5.1f} to {100 * high:5.1f}"
        f"  {found.unparsed:8}  {found.unanswered:10}  {official:>8}"
    )
    if compared is None:
        return line
    return (
        f"{line}  {100 * compared.difference:+.1f} ({100 * compared.low:+.1f} to {100 * compared.high:+.1f}),"
        f" {compared.won} won, {compared.lost} lost, p {compared.p:.3f}"
    )


def _score(found: Score) -> dict[str, Any]:
    low, high = found.interval
    return {
        "n": found.n,
        "right": found.right,
        "accuracy": round(found.accuracy, 6),
        "interval": [round(low, 6), round(high, 6)],
        "unparsed": found.unparsed,
        "unanswered": found.unanswered,
        "official_accuracy": None if found.official is None else round(found.official, 6),
    }


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "n": found.n,
        "won": found.won,
        "lost": found.lost,
        "p": round(found.p, 6),
        "difference": round(found.difference, 6),
        "interval": [round(found.low, 6), round(found.high, 6)],
    }
