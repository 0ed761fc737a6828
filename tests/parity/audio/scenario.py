"""What is compared: clips, prompt, MATA's settings, and which numbers of the reference are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import clips, models

REFERENCES = Path(__file__).parent / "references"
MISTAKES = REFERENCES / "mistakes"

BEFORE, AFTER, ANSWER = (3, 17, 42, 8, 60), (11, 5, 33, 71, 26, 9), (14, 50, 2, 66)
MODES = ("off", "scale", "abs", "add")

SUM: NDArray[np.float32] = (
    np.random.RandomState(1).standard_normal(models.N_EMBD).astype(np.float32) / models.N_EMBD**0.5
)
"""Every embedding is kept as its product with this; few are kept whole."""


@dataclass(frozen=True)
class Case:
    seconds: float
    loudness: str

    @property
    def name(self) -> str:
        return f"{self.seconds:g}s-{self.loudness}"

    @property
    def clip(self) -> NDArray[np.float32]:
        return clips.clip(self.seconds, clips.AMPLITUDES[self.loudness])


def cases() -> Iterator[Case]:
    for seconds in clips.SECONDS:
        for loudness in clips.AMPLITUDES:
            yield Case(seconds, loudness)


def kept_rows(n_tokens: int) -> NDArray[np.int64]:
    """Some of n_tokens rows: the first and last ones, and some between."""
    return np.unique(np.linspace(0, n_tokens - 1, 12).round().astype(np.int64))
