"""What the synthetic voices say: sentences of a grammar and of WordNet, prompts recombined, and words drawn from a long
list.
"""

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
_SPOKEN = """
monday tuesday wednesday thursday friday saturday sunday
january february march april may june july august september october november december
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty
sixty seventy eighty ninety hundred thousand thousands million millions billion tenth twentieth
alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike oscar papa quebec romeo
sierra tango uniform victor whiskey yankee zulu underscore backslash ampersand hyphen comma
voicemail mailbox keypad password passwords username website email online internet menu
anna maria david michael john peter paul susan robert london paris america europe english french
doctor's it's i'm you're don't can't won't isn't that's we're they're i've let's o'clock
b c d e f g h j k l m n o p q r s t u v w x y z
"""
SPOKEN = tuple(_SPOKEN.split())
"""Names, numbers, letters and short forms, which the word list has not, or only with a capital."""

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
    """Frequent English words first, about: GPT-2's tokens, in the order in which byte pairs were merged, as far as they
    are words.
    """
    known = packages.words(debs) | SHORT
    tokens = packages.whisper_files(wheels)["vocabulary.txt"].decode().splitlines()
    words = [token[1:] for token in tokens if token.startswith("\u0120")]
    return [word for word in words if word in known][:WORDS]


def examples(debs: Path) -> list[str]:
    """The examples of WordNet (the package wordnet-base; Princeton University, its own free licence), in an order that
    is always the same: 2 to 9 words, all of them in the list of words.
    """
    known = packages.words(debs) | SHORT | {*SPOKEN}
    endings = tuple(f"data.{part}" for part in ("noun", "verb", "adj", "adv"))
    found = set()
    for _, content in packages.files(packages.deb("wordnet-base", debs), endings=endings):
        for line in content.decode("latin-1").splitlines():
            if line.startswith(" "):  # the licence
                continue
            for quoted in re.findall('"([^"]+)"', line.partition("|")[2]):
                said = re.sub("[,;.!?:]", " ", quoted).split()
                said = [x.lower() if i == 0 or x == "I" or x.startswith("I'") else x for i, x in enumerate(said)]
                if 2 <= len(said) <= 9 and known.issuperset(said):
                    found.add(" ".join(said))
    ordered = sorted(found)
    random.Random(0).shuffle(ordered)
    return ordered


def word(words: list[str], rng: random.Random) -> str:
    """One of the list; how often each comes falls with its rank.  One in twelve is of SPOKEN."""
    if rng.random() < 1 / 12:
        return rng.choice(SPOKEN)
    return words[min(len(words) - 1, int(math.exp(rng.uniform(math.log(40), math.log(len(words) + 40))) - 40))]


def drawn(words: list[str], rng: random.Random, count: int) -> list[str]:
    """One to eight words in no order."""
    return [" ".join(word(words, rng) for _ in range(rng.choice((1, 1, 2, 3, 4, 5, 6, 7, 8)))) for _ in range(count)]


def few(texts: list[str], words: list[str], rng: random.Random, count: int) -> list[str]:
    """One to three words of those that phrases are mostly made of: SPOKEN, the texts', the two thousand first."""
    said, first = sorted({word for text in texts for word in text.split()}), words[:2000]
    pools = [SPOKEN, said or first, first]
    return [
        " ".join(rng.choice(*rng.choices(pools, (4, 3, 3))) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))
        for _ in range(count)
    ]


def common(texts: list[str], words: list[str]) -> set[str]:
    """The words that a phrase is likely made of."""
    return {*words[:1500], *SPOKEN, *SHORT, *(word for text in texts for word in text.split())}


def weight(text: str, known: set[str]) -> float:
    """How often a phrase is drawn, relatively: the more of its words are common ones, the more often."""
    words = text.split()
    return max(0.03, (sum(word in known for word in words) / len(words)) ** 4)


def replaced(texts: list[str], words: list[str], rng: random.Random, count: int) -> list[str]:
    """Parts of the texts, 2 to 9 words, about a third of which are others: how a prompt goes on can only be heard."""
    made: list[str] = []
    while texts and len(made) < count:
        said = rng.choice(texts).split()
        length = rng.randint(2, 9)
        start = rng.randrange(max(1, len(said) - length + 1))
        part = [word(words, rng) if rng.random() < 0.35 else old for old in said[start : start + length]]
        made.append(" ".join(part))
    return made
