"""The clips of the audio parity tests: made by code, so that references need no recordings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16000
SECONDS = (0.3, 1.7, 7.0, 29.995, 31.0, 65.0)
AMPLITUDES = {"loud": 1.0, "quiet": 0.01}


def clip(seconds: float, amplitude: float = 1.0) -> NDArray[np.float32]:
    """Gliding tones over noise, with pauses of silence; the same start for every length."""
    n = round(seconds * RATE)
    time = np.arange(n) / RATE
    noise = np.random.RandomState(7).standard_normal(n)
    glide = np.sin(2 * np.pi * (220 * time + 40 * np.sin(2 * np.pi * 0.9 * time)))
    chirp = np.sin(2 * np.pi * (1500 * time - 300 * np.cos(2 * np.pi * 0.31 * time)))
    loudness = 0.55 + 0.45 * np.sin(2 * np.pi * 1.3 * time)
    pause = np.sin(2 * np.pi * 0.45 * time + 0.5) > -0.8
    return (amplitude * pause * (loudness * (0.35 * glide + 0.15 * chirp) + 0.03 * noise)).astype(np.float32)
