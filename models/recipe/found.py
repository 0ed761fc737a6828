"""Names to ask for that are not the labels': what YAMNet finds in a clip.  Nobody checked them."""

from __future__ import annotations

import collections
import random
from collections.abc import Sequence

from labels import KIND, WORDS, close
from qa import Drawn, plain_names

SURE, ABSENT = 0.35, 0.03
"""A class that YAMNet finds this probable is there; one below the other is not."""
BRANCHES = (
    (67, ("person", "speech")),
    (132, ("animal",)),
    (277, ("musical instrument", "music")),
    (521, ("machine or tool", "vehicle", "water and weather", "household")),
)
"""AudioSet's classes in the order of its ontology: up to which one a branch goes, and which kinds are in it."""


def _words(names: Sequence[str]) -> set[str]:
    return {word.rstrip("s") for name in names for word in name.split() if len(word) > 3}


class Names:
    """Draws right and wrong names, so that neither tells by itself which it is."""

    def __init__(self, classes: Sequence[str], usual: Sequence[float]) -> None:
        """classes: what YAMNet's are called; usual: their mean probabilities."""
        self.names = [plain_names(name) for name in classes]
        self.usual = usual
        self.right: collections.Counter[int] = collections.Counter()
        self.wrong: collections.Counter[int] = collections.Counter()

    def fits(self, number: int, label: str) -> bool:
        """Whether a class may be what a clip of this label is: of the same branch, or called by the same word."""
        kinds = next(kinds for end, kinds in BRANCHES if number < end)
        return KIND[label] in kinds or bool(_words(self.names[number]) & _words(WORDS[label]))

    def about(self, scores: Sequence[float], label: str) -> Drawn:
        """A function that draws a name of something that is in the clip, rare ones rather than frequent ones, and up
        to four names of what is not, above all those that were right more often than wrong; or None.
        """
        own = {name for known in {label, *close(label)} for name in WORDS[known]}
        own_words = _words(sorted(own))
        there = [i for i, p in enumerate(scores) if p > SURE and self.names[i] and self.fits(i, label)]
        absent = [
            i for i, p in enumerate(scores) if p < ABSENT and self.names[i] and not _words(self.names[i]) & own_words
        ]

        def draw(rng: random.Random) -> tuple[str, list[str]] | None:
            if not there:
                return None
            weights = [
                scores[i] / (self.usual[i] + 0.01) * (1 + self.wrong[i]) / (1 + 3 * self.right[i]) for i in there
            ]
            (right,) = rng.choices(there, weights)
            taken = set(self.names[right])
            found: dict[str, int] = {}
            owed = [max(3 * self.right[i] - self.wrong[i], 0.05) for i in absent]
            for i in rng.choices(absent, owed, k=16):
                if not taken & set(self.names[i]):
                    taken |= set(self.names[i])
                    found[rng.choice(self.names[i])] = i
            found = dict(list(found.items())[:4])
            self.right[right] += 1
            self.wrong.update(list(found.values())[:3])
            return rng.choice(self.names[right]), list(found)

        return draw
