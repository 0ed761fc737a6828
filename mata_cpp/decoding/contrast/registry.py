"""The rules by name, with all that they compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import guidance, noise, silence, smooth, text, yesno
from .rule import Rule
from .rules import STRENGTHS, Contrast

RULES: dict[str, Rule] = {
    "silence": silence,
    "noise": noise,
    "smooth": smooth,
    "yesno": yesno,
    "guidance": guidance,
    "text": text,
}
assert list(RULES) == list(STRENGTHS)

READ_RELIANCE = frozenset({"smooth"})
"""Those whose Step needs the audio's share of attention."""

SCORES: dict[str, Callable[[Sequence[float], Sequence[float], Contrast], list[float]]] = {"text": text.scores}
"""Those that score options as wholes, from their log-likelihoods after both prompts."""
