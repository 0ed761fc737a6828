"""When something is heard in a long clip: the likelihood of "Is there ...?" over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .audio.windows import Window, clock, overlapping

if TYPE_CHECKING:
    from .audio.clip import Audio
    from .audio.encoder import Clip

QUESTION = "Is there {}?"
ANSWERS = ("Yes", "No")
WINDOW_S = 5.0
STEPS = 2
"""Windows that cover each moment."""

THRESHOLD = 0.95
CERTAIN = 20.0
"""Log-odds beyond this are cut off, so that one window does not outweigh all others."""


@dataclass(frozen=True)
class Stretch:
    """Seconds start to end, and the highest probability within."""

    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Found:
    """Where what was asked for is heard.

    probabilities: of "Yes" for each moment of step seconds, from the mean log-odds of the windows that cover it; a
    moment whose windows are all silent has 0.  threshold: what a stretch needs.
    """

    what: str
    seconds: float
    step: float
    threshold: float
    probabilities: NDArray[np.float32]

    @property
    def stretches(self) -> list[Stretch]:
        found: list[Stretch] = []
        for number, probability in enumerate(self.probabilities.tolist()):
            start, end = number * self.step, min((number + 1) * self.step, self.seconds)
            if probability < self.threshold or end <= start:
                continue
            if found and math.isclose(found[-1].end, start):
                start, probability = found[-1].start, max(probability, found.pop().probability)
            found.append(Stretch(start, end, probability))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "find": self.what,
            "seconds": round(self.seconds, 3),
            "threshold": self.threshold,
            "step": self.step,
            "probabilities": [round(value, 4) for value in self.probabilities.tolist()],
            "stretches": [
                {"start": s.start, "end": round(s.end, 3), "probability": round(s.probability, 4)}
                for s in self.stretches
            ],
        }

    def __str__(self) -> str:
        """A line for each stretch."""
        return "\n".join(
            f"[{clock(s.start)}-{clock(math.ceil(s.end))}] {self.what} {s.probability:.2f}" for s in self.stretches
        )


def check(what: str, threshold: float) -> tuple[str, float]:
    """Both as find takes them.  Raises ValueError."""
    what = checks.text(what, "what").strip()
    if not what:
        raise ValueError("what must be a text that is not empty")
    threshold = checks.number(threshold, "threshold")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, not {threshold:g}")
    return what, threshold


def search(clip: Clip, what: str, threshold: float, rate: int, log_odds: Callable[[Audio], float]) -> Found:
    """log_odds: of "Yes" against "No" for the sound of one window; rate: what windows are cut for, in Hz."""
    step = WINDOW_S / STEPS
    cut = list(overlapping(clip, WINDOW_S, step, rate))
    odds = [None if window.audio is None else log_odds(window.audio) for window in cut]
    return Found(what, clip.seconds, step, threshold, over_time(cut, odds, step))


def over_time(windows: Sequence[Window], odds: Sequence[float | None], step: float) -> NDArray[np.float32]:
    """Probabilities for each moment of step seconds: the mean of the log-odds of the windows that cover it; None is
    a silent window, which says no."""
    count = math.ceil(round(windows[-1].end / step, 6))
    total, weight = np.zeros(count), np.zeros(count)
    for window, value in zip(windows, odds, strict=True):
        first, last = round(window.start / step), max(round(window.start / step) + 1, round(window.end / step))
        total[first:last] += -CERTAIN if value is None else min(CERTAIN, max(-CERTAIN, value))
        weight[first:last] += 1
    mean = np.divide(total, weight, out=np.full(count, -CERTAIN), where=weight > 0)
    return np.asarray(1 / (1 + np.exp(-mean)), np.float32)
