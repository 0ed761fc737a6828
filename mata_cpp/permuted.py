"""Several clips in several orders, and a vote: audio permutational self-consistency (APSC).

MUGEN, Interspeech 2026, paper 530.  A model that hears several clips prefers some places among them.  The question is
asked with the clips in k orders; the option that is chosen most often wins, and of those chosen equally often the one
with the greatest sum of scores.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import checks

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .model import AudioModel
    from .options import AudioSource, Choices, ChooseOptions
    from .records import Choice


@dataclass(frozen=True)
class Vote:
    """The option at index won.  votes and scores: of each option, scores summed over the orders.

    orders[i]: the clips as choice i heard them, by their numbers from 0.
    """

    text: str
    index: int
    votes: list[int]
    scores: list[float]
    orders: list[tuple[int, ...]]
    choices: list[Choice]

    def __str__(self) -> str:
        return self.text


def choose_permuted(
    model: AudioModel,
    clips: Sequence[AudioSource],
    question: str,
    choices: Choices,
    *,
    k: int = 5,
    seed: int = 0,
    of_clips: bool = False,
    **given: Unpack[ChooseOptions],
) -> Vote:
    """The vote of k different orders of the clips, the given one among them; of fewer where there are no more.

    The question should not depend on the order.  of_clips: choices name the clips by their place ("the first", "the
    second"); a choice then counts for the clip that it meant.  Other options are those of choose.

    Raises ValueError, and what choose raises.
    """
    heard = list(clips)
    if len(heard) < 2:
        raise ValueError("several clips are needed, to hear them in several orders")
    if of_clips and len(choices) != len(heard):
        raise ValueError(f"choices must name each of the {len(heard)} clips, not {len(choices)}")
    encoded = [clip for source in heard for clip in model.encode(source)]
    found = orders(len(encoded), checks.integer(k, "k", 1), checks.seed(seed))
    chosen = [model.choose([encoded[i] for i in order], question, choices, **given) for order in found]
    votes, scores = [0] * len(choices), [0.0] * len(choices)
    for order, choice in zip(found, chosen, strict=True):
        meant = order if of_clips else range(len(choices))
        votes[meant[choice.index]] += 1
        for place, score in enumerate(choice.scores):
            scores[meant[place]] += score
    index = max(range(len(choices)), key=lambda i: (votes[i], scores[i]))
    return Vote(choices[index], index, votes, scores, found, chosen)


def orders(n: int, k: int, seed: int) -> list[tuple[int, ...]]:
    """k different orders of n things, the first of them as they are; of all where there are fewer."""
    draw = random.Random(seed)
    found = {tuple(range(n)): None}
    while len(found) < min(k, math.factorial(n)):
        found[tuple(draw.sample(range(n), n))] = None
    return list(found)
