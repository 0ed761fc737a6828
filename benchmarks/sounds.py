"""Clips for measuring speed: tones, noise and something like speech, made by code, or a recording repeated."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16000


def mixed(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """[n] at 16 kHz, within -1..1: a gliding buzz cut into syllables, two tones that come and go, noise."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    pitch = 120 * 2 ** (0.3 * np.sin(2 * np.pi * 0.4 * t) + 0.1 * np.sin(2 * np.pi * 1.7 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formant = 600 + 300 * np.sin(2 * np.pi * 1.3 * t)
    speech = np.zeros(n)
    for harmonic in range(1, 21):
        speech += np.exp(-(((harmonic * pitch - formant) / 350) ** 2)) * np.sin(harmonic * phase)
    speech *= np.clip(np.sin(2 * np.pi * 4 * t) + 0.3, 0, 1)
    tones = np.sin(2 * np.pi * 440 * t) * (np.sin(2 * np.pi * 0.5 * t) > 0) + np.sin(2 * np.pi * 1234 * t) * (t % 3 < 1)
    noise = rng.standard_normal(n) * (0.2 + 0.8 * (t % 5 > 4))
    sound = speech + 0.3 * tones + 0.1 * noise
    return (0.7 * sound / np.abs(sound).max()).astype(np.float32)


def repeated(recording: Path, seconds: float) -> NDArray[np.float32]:
    """[n] at 16 kHz: the recording's first channel, over and over."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
    sound = soxr.resample(samples[:, 0], rate, RATE)
    return np.resize(sound, round(seconds * RATE)).astype(np.float32)


def write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    """16 bit, one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path
