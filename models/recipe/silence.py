"""Silence around a phrase that is made as a spectrogram, and what YAMNet says of it."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

QUANTUM = 16
"""Lengths are multiples of this, frames of 10 ms, so that batches have little padding."""
LONGEST = 600
"""Frames of a phrase that gets silence."""
PATCH, STEP = 96, 48
"""YAMNet's, frames."""


def silences(frames: int, rng: Generator) -> tuple[int, int]:
    """Frames of silence before and after a phrase: half of the time up to 0.6 s and 2 s, else what fills it up."""
    before = after = 0
    if rng.random() < 0.5 and frames <= LONGEST:
        before, after = int(rng.uniform(0, 60)), int(rng.uniform(0, 200))
    return before, after + -(before + frames + after) % QUANTUM


def events_between(
    rows: np.ndarray, silence: np.ndarray, before: int, frames: int, after: int, rng: Generator
) -> np.ndarray:
    """YAMNet's rows [N, 1024] for so many frames of silence, phrase and silence: silence's for patches without the
    phrase, else any of rows [M, 1024], which are of recordings of the voice: speech, and no more.
    """
    count = 1 + max(0, -(-(before + frames + after - PATCH) // STEP))
    chosen = rows[rng.integers(0, len(rows), count)].copy()
    for patch in range(count):
        if STEP * patch >= before + frames or STEP * patch + PATCH <= before:
            chosen[patch] = silence
    return chosen
