"""What several rules share: the contrast itself, and the cut of unlikely tokens."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FAR = 1e4
"""How far below all others the logits of tokens are that are left out."""

Logits = NDArray[np.float32]
"""Of the next token, [n_vocab]."""


def contrasted(heard: Logits, other: Logits, strength: float) -> Logits:
    """(1 + strength) * heard - strength * other.

    With log-probabilities in place of logits it is the same up to a constant, which no choice depends on.
    """
    result: Logits = np.float32(1 + strength) * heard - np.float32(strength) * other
    return result


def without_unlikely(logits: Logits, heard: Logits, share: float) -> Logits:
    """logits, and far less where heard gives less than share of the probability of its likeliest token.

    These have a probability of 0.  They keep the order of heard, for a grammar that allows none of the others.
    """
    if share == 0:
        return logits
    below = heard - heard.max()
    likely = below >= math.log(share)
    result: Logits = np.where(likely, logits, logits[likely].min() - np.float32(FAR) + below)
    return result
