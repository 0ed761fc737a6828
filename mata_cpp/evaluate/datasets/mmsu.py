"""MMSU (ddwang2000/MMSU: speech, 47 tasks), and the set of VoiceBench that is called mmsu too (MMLU-Pro read aloud)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..items import Item, OfficialForm
from .source import Row, Source

CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")
GROUPS = ("category", "sub-category", "sub-sub-category", "task_name", "linguistics_sub_discipline")

SPOKEN = "Answer the question that is asked in the audio."
_OPTION = re.compile(r"^\s*\(?([A-J])[).:]\s*(.+?)\s*$", re.M)


def items(source: Source) -> Iterator[Item]:
    for row in source.rows():
        if "choice_a" not in row.values:
            raise row.fail(
                "no choice_a; if this is the mmsu of VoiceBench, its name here is voicebench-mmsu"
                if "reference" in row.values
                else "no choice_a"
            )
        choices = tuple(row.text(name) for name in CHOICES if row.get(name) is not None)
        answer = row.text("answer_gt", "answer")
        yield Item(
            id=row.text("id"),
            audio=row.sounds("audio_path", "audio"),
            question=row.text("question"),
            choices=choices,
            answer=row.right(answer, choices),
            groups=row.groups(*GROUPS),
            official=OfficialForm(choices, answer),
        )


def voicebench_items(source: Source) -> Iterator[Item]:
    """The question and its options are in the sound; the prompt's text has them for the letters."""
    for row in source.rows():
        if "reference" not in row.values:
            raise row.fail(
                "no reference; if this is MMSU by ddwang2000, its name here is mmsu"
                if "choice_a" in row.values
                else "no reference"
            )
        choices = _options(row)
        answer = row.right(row.text("reference"), choices)
        yield Item(
            id=row.text("question_id", "id") if row.get("question_id", "id") is not None else str(row.number),
            audio=row.sounds("audio", "audio_path"),
            question=SPOKEN,
            choices=choices,
            answer=answer,
            groups=row.groups("domain", "category"),
            official=OfficialForm(choices, answer),
        )


def _options(row: Row) -> tuple[str, ...]:
    """The options that the prompt's text names by letters; the letters where it names none."""
    found = {letter: text for letter, text in _OPTION.findall(row.text("prompt", "question"))}
    letters = "ABCDEFGHIJ"[: len(found)]
    if len(found) >= 2 and list(found) == list(letters) and len(set(found.values())) == len(found):
        return tuple(found.values())
    return ("A", "B", "C", "D")
