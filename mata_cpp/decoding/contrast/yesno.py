"""Contrast with silence, and doubt about a first "Yes": TAD, Interspeech 2026, paper 637.

    z = (1 + a) * z_audio - a * z_silence
    at the first token, if (yes - no of z_audio) - (yes - no of z_silence) < 0.2: z(yes) - 2.5

yes and no: the greatest logit among the tokens that begin such an answer.  A "Yes" that the model says after silence as
well is not about the sound.  The paper's text was not at hand: 0.2 is taken as a difference of logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import silence
from .formula import Logits, contrasted
from .rule import Step
from .rules import Contrast

MARGIN = 0.2
PENALTY = 2.5

other = silence.other


def doubted(logits: Logits, heard: Logits, silent: Logits, yes: Sequence[int], no: Sequence[int]) -> Logits:
    """logits, with less for the tokens of yes where the sound does not speak for them."""
    if _margin(heard, yes, no) - _margin(silent, yes, no) >= MARGIN:
        return logits
    result = logits.copy()
    result[list(yes)] -= np.float32(PENALTY)
    return result


def combined(heard: Logits, other: Logits, contrast: Contrast, step: Step) -> Logits:
    logits = contrasted(heard, other, contrast.amount)
    return doubted(logits, heard, other, step.yes, step.no) if step.first else logits


def _margin(logits: Logits, yes: Sequence[int], no: Sequence[int]) -> float:
    return float(logits[list(yes)].max() - logits[list(no)].max())
