"""What the synthetic voices say: sentences of a grammar, prompts recombined, and words drawn from a long list."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import packages

SHORT = frozenset(
    (
        "a",
        "i",
        "am",
        "an",
        "as",
        "at",
        "be",
        "by",
        "do",
        "go",
        "he",
        "if",
        "in",
        "is",
        "it",
        "me",
        "my",
        "no",
        "of",
        "on",
        "or",
        "so",
        "to",
        "up",
        "us",
        "we",
    )
)
"""Words of one or two letters; the word list has all letters as words."""
WORDS = 4000
"""Of the most frequent ones."""

SUBJECTS = [
    "the dog",
    "my brother",
    "the old man",
    "a young woman",
    "our teacher",
    "the driver",
    "the doctor",
    "a small child",
    "the captain",
    "nobody",
]
VERBS = ["opened", "closed", "found", "bought", "painted", "lost", "cleaned", "forgot", "carried", "wanted"]
OBJECTS = [
    "the door",
    "a red car",
    "the window",
    "two apples",
    "the blue book",
    "a cup of tea",
    "the old clock",
    "some bread",
    "the garden",
    "a long letter",
]
PLACES = [
    "this morning",
    "in the park",
    "after dinner",
    "near the river",
    "at school",
    "last week",
    "on the train",
    "before the rain",
    "",
    "",
]
REQUESTS = [
    "please call me later",
    "turn off the light",
    "what time is it",
    "where is the station",
    "thank you very much",
    "good morning everyone",
    "i will be there soon",
    "can you help me",
    "the weather is nice today",
    "see you tomorrow",
    "how much does it cost",
    "open the window please",
    "my name is anna",
    "i would like some water",
    "the train is late",
    "press one for english",
    "please leave a message",
    "your call is important",
    "please try again",
    "goodbye",
]


def sentences(rng: random.Random, count: int) -> list[str]:
    made = list(REQUESTS)
    while len(made) < count:
        words = (rng.choice(SUBJECTS), rng.choice(VERBS), rng.choice(OBJECTS), rng.choice(PLACES))
        made.append(" ".join(word for word in words if word))
    return made


def recombined(texts: list[str], rng: random.Random, count: int) -> list[str]:
    """Phrases of 2 to 9 words in which every pair of neighbours comes from one of the texts."""
    after: dict[str, list[str]] = {}
    for text in texts:
        words = ["", *text.split(), ""]
        for one, two in zip(words, words[1:], strict=False):
            after.setdefault(one, []).append(two)
    made: list[str] = []
    while texts and len(made) < count:
        words = [rng.choice(after[""])]
        while words[-1] and len(words) < 10:
            words.append(rng.choice(after[words[-1]]))
        if len(words) >= 3 and not words[-1]:
            made.append(" ".join(words[:-1]))
    return made


def vocabulary(wheels: Path, debs: Path) -> list[str]:
    """Frequent English words first, about: GPT-2's tokens, in the order in which byte pairs were merged, as far as the
    word list of the package wamerican has them (SCOWL, Copyright Kevin Atkinson, free to use with its notice).
    """
    (listed,) = (text for path, text in packages.files(packages.deb("wamerican", debs), endings=("american-english",)))
    known = {word for word in listed.decode().split() if re.fullmatch("[a-z]{3,}", word)} | SHORT
    tokens = packages.whisper_files(wheels)["vocabulary.txt"].decode().splitlines()
    words = [token[1:] for token in tokens if token.startswith("\u0120")]
    return [word for word in words if word in known][:WORDS]


def drawn(words: list[str], rng: random.Random, count: int) -> list[str]:
    """Two to eight words in no order; how often each comes falls with its rank."""

    def word() -> str:
        return words[min(len(words) - 1, int(math.exp(rng.uniform(math.log(5), math.log(len(words) + 5))) - 5))]

    return [" ".join(word() for _ in range(rng.randint(2, 8))) for _ in range(count)]
