"""What happens to a recording between a microphone and a file: level, rooms, noise, other sounds, bandwidth."""

from __future__ import annotations

import numpy as np
import soxr
from clips import RATE
from numpy.random import Generator


def crop(x: np.ndarray, seconds: float, rng: Generator) -> np.ndarray:
    """A window of a long clip, the loudest of three random ones."""
    n = int(seconds * RATE)
    if len(x) <= n:
        return x
    starts = rng.integers(0, len(x) - n + 1, 3)
    return max((x[s : s + n] for s in starts), key=lambda part: float(np.square(part).mean()))


def speed(x: np.ndarray, factor: float) -> np.ndarray:
    return soxr.resample(x, RATE * factor, RATE).astype(np.float32)


def room(x: np.ndarray, rng: Generator) -> np.ndarray:
    """Reverberation by decaying noise, 0.1-0.8 s."""
    length = rng.uniform(0.1, 0.8)
    n = int(length * RATE)
    decay = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    decay[0] = rng.uniform(3, 12)
    size = 1 << (len(x) + n).bit_length()
    wet = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(decay, size), size)[: len(x)]
    return _level(wet, x)


def tone(x: np.ndarray, rng: Generator, low: float = 0, high: float = 8000, tilt: float = 0) -> np.ndarray:
    """A band (soft edges) and a tilt in dB an octave around 1 kHz."""
    size = 1 << len(x).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    gain = 1 / np.sqrt(1 + (hertz / max(high, 1)) ** 12)
    if low:
        gain *= 1 / np.sqrt(1 + (low / np.maximum(hertz, 1)) ** 8)
    gain *= 10 ** (tilt * np.log2(np.clip(hertz, 60, 8000) / 1000) / 20)
    return _level(np.fft.irfft(np.fft.rfft(x, size) * gain, size)[: len(x)], x)


def noise(n: int, rng: Generator) -> np.ndarray:
    """Noise of a random colour, from white to brown, rms 1."""
    size = 1 << n.bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(size)) / np.maximum(np.arange(size // 2 + 1), 8) ** rng.uniform(0, 1)
    sound = np.fft.irfft(spectrum, size)[:n]
    return sound / max(1e-9, float(np.sqrt(np.square(sound).mean())))


def mix(x: np.ndarray, other: np.ndarray, decibels: float) -> np.ndarray:
    """x with another sound so many dB below it."""
    other = np.resize(other, len(x))
    scale = _rms(x) / max(1e-9, _rms(other)) * 10 ** (-decibels / 20)
    return x + other * scale


def repeat(x: np.ndarray, rng: Generator, most: float = 5.0) -> np.ndarray:
    """A short event again and again, with pauses."""
    parts: list[np.ndarray] = []
    total = 0
    for _ in range(int(rng.integers(2, 5))):
        pause = np.zeros(int(rng.uniform(0.05, 0.8) * RATE), np.float32)
        if total + len(x) + len(pause) > most * RATE:
            break
        parts += [x * rng.uniform(0.6, 1), pause]
        total += len(x) + len(pause)
    return np.concatenate(parts[:-1]) if len(parts) > 1 else x


def finish(x: np.ndarray, rng: Generator) -> np.ndarray:
    """The level of the file: peak between -26 and -0.3 dB of full scale."""
    return (x / max(1e-6, float(np.abs(x).max())) * 10 ** (rng.uniform(-26, -0.3) / 20)).astype(np.float32)


def vary(
    x: np.ndarray, rng: Generator, gentle: bool = False, changes_speed: bool = True, voice: bool = False
) -> np.ndarray:
    """One random variant of a clip.  gentle: what must stay countable and comparable is only equalized and levelled;
    voice: words, which may be anyone's, so that height and speed change more.
    """
    if changes_speed and rng.random() < (0.75 if voice else 0.5):
        x = speed(x, rng.uniform(0.84, 1.2) if voice else rng.uniform(0.88, 1.14))
    if rng.random() < 0.3:
        x = tone(x, rng, tilt=rng.uniform(-4, 4))
    if rng.random() < 0.25 and not gentle:
        x = room(x, rng)
    if rng.random() < 0.2:
        x = tone(x, rng, low=rng.choice([0, 100, 250]), high=rng.choice([3400, 4000, 5500]))
    if rng.random() < (0.2 if gentle else 0.4):
        x = mix(x, noise(len(x), rng), rng.uniform(20 if gentle else 8, 40))
    return finish(x, rng)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean())) if len(x) else 0.0


def _level(changed: np.ndarray, like: np.ndarray) -> np.ndarray:
    return (changed * (_rms(like) / max(1e-9, _rms(changed)))).astype(np.float32)
