"""Notices that a model says the same thing over and over, as csrc/engine/repetition.h does for the engine's loop."""

from __future__ import annotations

PERIOD_MAX = 64
TIMES_MIN = 4


class Repetition:
    """limit: so many tokens that only repeat what stands before them are no answer any more, if the phrase has come at
    least TIMES_MIN times; 0: never.

    times and period: how often the phrase came, and its tokens, once it was too often.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tokens: list[int] = []
        self._same = [0] * (PERIOD_MAX + 1)  # [period] tokens at the end that equal the one a period before
        self.times = self.period = 0

    def add(self, token: int) -> bool:
        """Whether the phrase at the end has now come too often."""
        count = len(self._tokens)
        self._tokens.append(token)
        if self._limit <= 0:
            return False
        for period in range(1, min(PERIOD_MAX, count) + 1):
            self._same[period] = self._same[period] + 1 if self._tokens[count - period] == token else 0
            times = 1 + self._same[period] // period
            if self._same[period] + period >= self._limit and times >= TIMES_MIN:
                self.times, self.period = times, period
                return True
        return False
