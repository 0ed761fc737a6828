"""Which choice a free text names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .prompts import LETTERS

_THINKING = re.compile(r"\A.*</think(?:ing)?>|<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S | re.I)
_TAGGED = re.compile(r"<(answer|response)>\s*(.*?)\s*(?:</\1>|\Z)", re.S | re.I)
_LEAD = re.compile(
    r"(?:\b(?:final |correct |best |right )?(?:answer|option|choice)(?:[*_]*(?: is| would be|:))+"
    r"|\bI (?:choose|pick|select)\b|答案(?:是|为|:|：))\s*(?:option\b)?",
    re.I,
)
_CORRECTION = re.compile(r"\b(?:wait,|(?:actually|no, wait|correction|on second thought|rather(?! than))\b)", re.I)
_NO = re.compile(r"\A\W*no,\s*(?=\w)", re.I)
_LETTER = re.compile(
    r"\A[\W_]*(?:(?:option|choice)\b[\W_]*([A-Z])\b"
    r"|([A-Z])(?:\s*(?:[).:\]}*,;]|[_\"'”’](?![^\W_])|\Z|\n|\s-)|(?=\s+(?:because|since|as|for)\b)))",
    re.I,
)
_ONLY_LETTER = re.compile(r"\A[\W_]*(?:(?:option|choice)\b[\W_]*)?([A-Z])[\W_]*\Z", re.I)
_NEXT_LETTER = re.compile(r"\A[\W_]*(?:(?:and|or)\b[\W_]*)?([A-Z])(?![\w'’#])")
_SET_OFF = re.compile(r"[(\[{]([A-Z])[)\]}]|\b(?:[Oo]ption|[Cc]hoice)\s+([A-Z])\b")
_ARTICLE = re.compile(r"\A(?:an?|the)\s+")
_NEGATION = re.compile(
    r"(?:(?:\bnot|n't|\bno|\bneither|\bnor|\brather than|\binstead of|\bwithout)"
    r"(?:\s+(?:a|an|the|by|from|in|of|option))*\W*|不是|没有|并非|不)\Z",
    re.I,
)
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Scripts that put no space between words, or write particles to them: Thai, Japanese, Chinese, Korean."""

_TENS = re.compile(r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)\s+\Z")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_AFFIRMATION = {"yes": ("yes", "yeah", "yep", "true"), "no": ("no", "nope", "false")}


def parse(text: str, choices: Sequence[str], *, lettered: bool = False) -> int | None:
    """The index of the choice that text gives as its answer, of equal ones the first; None where it names none, or
    several.  lettered: the prompt put letters to the choices, so that a mere letter is one, whatever the choices are.

    Reasoning in <think> is left out; <answer>, "ANSWER:", "the answer is" and what comes after a correction count
    before the rest of the text.  A choice is named by its letter, (A), or by its words.  A letter at the start counts
    before the words of an explanation, but not before those of the choice that it stands in front of.
    """
    text = _THINKING.sub(" ", text).strip()
    tagged = _TAGGED.findall(text)
    if tagged:
        text = tagged[-1][1]
    for part in _parts(text):
        only = _ONLY_LETTER.match(part) if lettered else None
        found = _named(part, choices) if only is None or _index(only) >= len(choices) else _index(only)
        if found is not None:
            return _first_same(found, choices)
    return None


def _parts(text: str) -> list[str]:
    """What to look at, the surest first: after the last "answer is", after a correction, all of it."""
    parts = []
    leads = list(_LEAD.finditer(text))
    if leads:
        parts.append(text[leads[-1].end() :])
    corrections = list(_CORRECTION.finditer(text))
    if corrections:
        corrected = text[corrections[-1].end() :]
        parts += [corrected, _NO.sub("", corrected)]
    return [*parts, text]


def _named(text: str, choices: Sequence[str]) -> int | None:
    """The one choice that the text names."""
    exact = [index for index, choice in enumerate(choices) if _folded(choice) == _folded(text)]
    if exact:
        return exact[0]
    bare = _bare(text)
    same = {_first_same(index, choices) for index, choice in enumerate(choices) if bare and _bare(choice) == bare}
    if len(same) == 1:
        return same.pop()
    by_words = _mentioned(text, choices)
    letter = _LETTER.match(text)
    if letter is not None and _may_be(letter, choices):
        return _lettered(letter, text[letter.end() :], choices, by_words)
    if by_words:
        return by_words[0] if len(by_words) == 1 else None
    set_off = [found for found in _SET_OFF.finditer(text) if not _NEGATION.search(text[: found.start()])]
    indices = {_index(found) for found in set_off if _may_be(found, choices)}
    return indices.pop() if len(indices) == 1 else None


def _lettered(letter: re.Match[str], rest: str, choices: Sequence[str], by_words: Sequence[int]) -> int | None:
    """What a letter at the start of a text names.  rest: what follows it."""
    index = _index(letter)
    other = _NEXT_LETTER.match(rest)
    if other is not None and other[1] != letter[0].strip()[-1:] and _may_be(other, choices):
        return by_words[0] if len(by_words) == 1 else None
    if len(by_words) == 1 and index != by_words[0]:
        said = _ARTICLE.sub("", _spaced(rest))
        if any(said.startswith(written) for written in _spellings(_spaced(choices[by_words[0]]))):
            return by_words[0]
    return index


def _index(letter: re.Match[str]) -> int:
    return LETTERS.index(next(filter(None, letter.groups())).upper())


def _may_be(letter: re.Match[str], choices: Sequence[str]) -> bool:
    """Whether it is the letter of a choice, and not a choice's own words."""
    index = _index(letter)
    return index < len(choices) and not any(_spaced(choice) == LETTERS[index].lower() for choice in choices)


def _first_same(index: int, choices: Sequence[str]) -> int:
    """The first choice that has the same text."""
    return [_folded(choice) for choice in choices].index(_folded(choices[index]))


def _mentioned(text: str, choices: Sequence[str]) -> list[int]:
    """Choices whose words stand in the text, one after the other, not denied, and not within a longer choice."""
    spans: list[tuple[int, int, int]] = []
    said = _spaced(text)
    for index, choice in enumerate(choices):
        for written in _spellings(_spaced(choice)):
            for match in re.finditer(_standing(written), said):
                before = said[: match.start()]
                part_of_number = written.split()[0] in _NUMBERS[1:10] and _TENS.search(before)
                if not part_of_number and not _NEGATION.search(before):
                    spans.append((match.start(), match.end(), index))
    outer = [
        span
        for span in spans
        if not any(o[0] <= span[0] and span[1] <= o[1] and o[1] - o[0] > span[1] - span[0] for o in spans)
    ]
    return sorted({_first_same(index, choices) for _, _, index in outer})


def _standing(written: str) -> str:
    """A pattern for these words as words of their own."""
    start = "" if re.match(f"[{_UNSPACED}]", written) else r"(?<!\S)"
    end = "" if re.search(f"[{_UNSPACED}]$", written) else r"(?!\S)"
    return start + re.escape(written) + end


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


def _folded(text: str) -> str:
    return text.strip().strip("\"'*").rstrip(".").casefold()


def _bare(text: str) -> str:
    return _spaced(re.sub(r"^\W*\(?[A-Za-z][).:]\s+", "", text.strip()))
