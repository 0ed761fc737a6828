"""Which choice a free text names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .prompts import LETTERS

_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S | re.I)
_TAGGED = re.compile(r"<(answer|response)>\s*(.*?)\s*(?:</\1>|\Z)", re.S | re.I)
_LEAD = re.compile(
    r"(?:\b(?:final |correct |best |right )?(?:answer|option|choice)(?: is| would be|:)+|\bI (?:choose|pick|select)\b)"
    r"\s*(?:option\b)?",
    re.I,
)
_CORRECTION = re.compile(r"\b(?:actually|no, wait|wait,|correction|on second thought|rather)\b", re.I)
_LETTER = re.compile(r"^\W*(?:option |choice )?([A-Z])\s*(?:[).:\]*,;]|\Z|\n|\s-)", re.I)
_BRACKETED = re.compile(r"[(\[]([A-Z])[)\]]")
_NEGATION = re.compile(
    r"(?:\bnot|n't|\bno|\bneither|\bnor|\brather than|\binstead of|\bwithout)(?:\s+(?:a|an|the|by|from|in|of))*\s*$",
    re.I,
)
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_AFFIRMATION = {"yes": ("yes", "yeah", "yep", "true"), "no": ("no", "nope", "false")}


def parse(text: str, choices: Sequence[str]) -> int | None:
    """The index of the choice that text gives as its answer, of equal ones the first; None where it names none, or
    several.

    Reasoning in <think> is left out; <answer>, "ANSWER:", "the answer is" and what comes after a correction count
    before the rest of the text.  A choice is named by its letter, (A), or by its words.
    """
    text = _THINKING.sub(" ", text).strip()
    tagged = _TAGGED.findall(text)
    if tagged:
        text = tagged[-1][1]
    for part in _parts(text):
        found = _named(part, choices)
        if found is not None:
            return found
    return None


def _parts(text: str) -> list[str]:
    """What to look at, the surest first: after the last "answer is", after a correction, all of it."""
    parts = []
    leads = list(_LEAD.finditer(text))
    if leads:
        parts.append(text[leads[-1].end() :])
    corrections = list(_CORRECTION.finditer(text))
    if corrections:
        parts.append(text[corrections[-1].end() :])
    return [*parts, text]


def _named(text: str, choices: Sequence[str]) -> int | None:
    """The one choice that the text names."""
    bare = _bare(text)
    same = [index for index, choice in enumerate(choices) if _bare(choice) == bare]
    if same:
        return same[0]
    by_words = _mentioned(text, choices)
    if len(by_words) == 1:
        return by_words[0]
    letter = _LETTER.match(text) or (None if by_words else _only(_BRACKETED, text))
    if letter is not None:
        index = LETTERS.find(letter.group(1).upper())
        if 0 <= index < len(choices) and (not by_words or index in by_words):
            return index
    return None


def _only(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = list(pattern.finditer(text))
    return found[0] if found and len({match.group(1) for match in found}) == 1 else None


def _mentioned(text: str, choices: Sequence[str]) -> list[int]:
    """Choices whose words stand in the text, one after the other, not denied, and not within a longer choice."""
    spans: list[tuple[int, int, int]] = []
    said = _spaced(text)
    for index, choice in enumerate(choices):
        for written in _spellings(_spaced(choice)):
            for match in re.finditer(rf"(?<!\S){re.escape(written)}(?!\S)", said):
                if not _NEGATION.search(said[: match.start()]):
                    spans.append((match.start(), match.end(), index))
    outer = [
        span
        for span in spans
        if not any(o[0] <= span[0] and span[1] <= o[1] and o[1] - o[0] > span[1] - span[0] for o in spans)
    ]
    first = {_spaced(choice): index for index, choice in reversed(list(enumerate(choices)))}
    return sorted({first[_spaced(choices[index])] for _, _, index in outer})


def _spellings(choice: str) -> set[str]:
    """The choice, with its numbers as words and as digits; yes and no also as true and false."""
    if not choice:
        return set()
    if choice in _AFFIRMATION:
        return set(_AFFIRMATION[choice])
    words = choice.split()
    digits = [str(_NUMBERS.index(word)) if word in _NUMBERS else word for word in words]
    spelt = [_NUMBERS[int(word)] if word.isdecimal() and int(word) < len(_NUMBERS) else word for word in words]
    return {choice, " ".join(digits), " ".join(spelt)}


def _spaced(text: str) -> str:
    """Lower-cased words with one space between them; signs that belong to a word (#, +, ', %) stay."""
    return " ".join(re.findall(r"[\w#+%']+(?:[.,]\d+)?", text.lower()))


def _bare(text: str) -> str:
    return _spaced(re.sub(r"^\W*\(?[A-Za-z][).:]\s+", "", text.strip()))
