"""A mel spectrogram to look at.  (What a model hears is made by the engine, each model's own way.)"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 0.025
RANGE_DB = 70.0
MAX_COLUMNS = 1200


def mel_spectrogram(samples: NDArray[np.float32], rate: int, n_mels: int = 64) -> NDArray[np.float32]:
    """Mono float32 [frames] at rate Hz -> decibels below the loudest, [n_mels, n_columns], float32, from -70 to 0.

    Bands are equally wide on the mel scale (2595 lg(1 + f/700)) from 0 Hz to rate / 2.  Columns are equally spaced over
    the whole clip, at most MAX_COLUMNS; in long clips a column is the mean power of several windows of 25 ms.
    """
    window = max(16, round(WINDOW_S * rate))
    hop = max(1, window * 2 // 5)
    n_windows = max(1, -(-len(samples) // hop))
    padded = np.pad(samples.astype(np.float32), (window // 2, window + hop))
    n_fft = 1 << (window - 1).bit_length()
    bank = mel_bank(n_mels, n_fft, rate)
    shape = np.hanning(window).astype(np.float32)
    per_column = -(-n_windows // MAX_COLUMNS)
    columns = []
    for first in range(0, n_windows, per_column):
        starts = range(first * hop, min(first + per_column, n_windows) * hop, hop)
        frames = np.stack([padded[start : start + window] for start in starts])
        power = np.abs(np.fft.rfft(frames * shape, n_fft)) ** 2
        columns.append(bank @ power.mean(axis=0))
    mel = np.stack(columns, axis=1)
    level = 10 * np.log10(np.maximum(mel, 1e-20) / max(float(mel.max()), 1e-20))
    found: NDArray[np.float32] = np.maximum(level, -RANGE_DB).astype(np.float32)
    return found


def mel_of(hertz: float) -> float:
    return 2595.0 * float(np.log10(1.0 + hertz / 700.0))


def mel_bank(n_mels: int, n_fft: int, rate: int) -> NDArray[np.float64]:
    """Triangles over the bins of an FFT, [n_mels, n_fft / 2 + 1]; a band narrower than a bin takes the nearest."""
    edges = 700.0 * (10.0 ** (np.linspace(0.0, mel_of(rate / 2), n_mels + 2) / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(n_fft, 1.0 / rate)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = np.clip(np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0.0, None)
    for band in np.flatnonzero(bank.sum(axis=1) == 0.0):
        bank[band, np.argmin(np.abs(bins - edges[band + 1]))] = 1.0
    return np.asarray(bank / bank.sum(axis=1, keepdims=True))
