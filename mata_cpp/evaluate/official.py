"""The rule and the reports of the official scorers of MMAU and MMAR.

Both match sets of lower-cased words: a prediction is right if it has all words of the answer and none that only a wrong
choice has.  An entry without a prediction is left out, which makes the denominator smaller; one with an empty
prediction is wrong.  Sakshi et al. 2024, "MMAU", arXiv 2410.19168; Ma et al. 2025, "MMAR", arXiv 2505.13032.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import short_name
from ..errors import MataError
from .datasets.source import bare
from .items import Item

PREDICTION = {"mmau": "model_output", "mmar": "answer_prediction"}
"""The field of a prediction, by data set."""

_LINE = "*" * 30


def matches(choices: Iterable[str], answer: str, prediction: str) -> bool:
    """Whether prediction counts as right."""
    said, right = _words(prediction), _words(answer)
    if not said:
        return False
    wrong = {word for choice in choices if _words(choice) != right for word in _words(choice) - right}
    return right <= said and not said & wrong


@dataclass(frozen=True)
class Section:
    """A part of a report: title, the entry's field, and the values in the order in which they are printed."""

    title: str
    field: str
    values: tuple[str, ...]


SECTIONS = {
    "mmau": (
        Section("Task-wise Accuracy:", "task", ("sound", "music", "speech")),
        Section("Difficulty-wise Accuracy:", "difficulty", ("easy", "hard", "medium")),
        Section("Sub-category-wise Accuracy:", "sub-category", ()),
    ),
    "mmar": (
        Section(
            "Modality-wise Accuracy:",
            "modality",
            (
                *("sound", "music", "speech", "mix-sound-music", "mix-sound-speech", "mix-music-speech"),
                "mix-sound-music-speech",
            ),
        ),
        Section(
            "Category-wise Accuracy:",
            "category",
            ("Signal Layer", "Perception Layer", "Semantic Layer", "Cultural Layer"),
        ),
        Section("Sub-category-wise Accuracy:", "sub-category", ()),
    ),
}
"""What the scorers report by.  Values that are not named come in the order of the data."""


def report(dataset: str, items: Sequence[Item], predictions: Mapping[str, str | None]) -> str:
    """What the official scorer of "mmau" or "mmar" prints.  predictions: the text for each id that has one."""
    counts: list[dict[str, list[int]]] = []
    sections = SECTIONS[dataset]
    for section in sections:
        counts.append({value: [0, 0] for value in section.values})
    right = total = 0
    for item in items:
        said = _published(item, predictions.get(item.id))
        if said is None:
            continue
        official = item.official
        choices, answer = (item.choices, item.answer) if official is None else (official.choices, official.answer)
        match = matches(choices, answer, said)
        right, total = right + match, total + 1
        for section, found in zip(sections, counts, strict=True):
            count = found.setdefault(item.groups.get(section.field, ""), [0, 0])
            count[0] += match
            count[1] += 1
    lines = []
    for section, found in zip(sections, counts, strict=True):
        lines += [_LINE, section.title]
        lines += [f"{value} : {_percent(*count)} over {count[1]} samples" for value, count in found.items()]
    lines += [_LINE, f"Total Accuracy: {_percent(right, total)} over {total} samples", _LINE, "No prediction count: 0"]
    return "\n".join(lines) + "\n"


def write_predictions(path: Path, dataset: str, items: Iterable[Item], predictions: Mapping[str, str | None]) -> int:
    """A file that the official scorer of the data set takes: a JSON list of the entries with the prediction added.

    Entries without a prediction are left out.  How many were written.  Raises MataError.
    """
    entries: list[dict[str, Any]] = []
    for item in items:
        said = _published(item, predictions.get(item.id))
        if said is None:
            continue
        official = item.official
        entries.append(
            {
                "id": item.id,
                **({} if official is None else official.fields),
                "question": item.question,
                "choices": list(item.choices if official is None else official.choices),
                "answer": item.answer if official is None else official.answer,
                **item.groups,
                PREDICTION.get(dataset, "prediction"): said,
            }
        )
    try:
        path.write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise MataError(f"cannot write {short_name(path)}: {error.strerror or error}") from None
    return len(entries)


def _published(item: Item, said: str | None) -> str | None:
    """A prediction that is a choice's bare text, with the letter that the choice is published with: the rule needs all
    words of the answer, and the letter is one."""
    if said is None or item.official is None:
        return said
    published = item.official.choices
    return next((whole for whole, text in zip(published, bare(published), strict=True) if text == said), said)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))


def _percent(right: int, total: int) -> str:
    return f"{100 * right / total if total else 0.0:.2f}%"
