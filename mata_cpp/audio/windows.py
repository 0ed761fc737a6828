"""A long clip in windows that are cut where there is a pause, if there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .clip import Audio
from .encoder import Clip, EncodedClip

MIN_WINDOW_S = 1.0
SEARCHED = 0.3
"""The last part of a window, as a share of it, in which a pause is looked for."""

FRAME_S = 0.1
PAUSE_DB = 15.0
"""A pause is a frame that is so much weaker than the window's mean."""


@dataclass(frozen=True)
class Window:
    """Seconds start to end of a clip.  audio: None where it is silent."""

    start: float
    end: float
    audio: Audio | None


def windows(clip: Clip, every: float, sample_rate: int) -> Iterator[Window]:
    """The clip in windows of at most every seconds, at sample_rate (Hz).  Raises ValueError for windows below 1 s."""
    if not MIN_WINDOW_S <= every < float("inf"):
        raise ValueError(f"every must be at least {MIN_WINDOW_S:g} s, not {every!r}")
    source = clip.audio if isinstance(clip, EncodedClip) else clip
    samples = source.samples(sample_rate)
    length, start = round(every * sample_rate), 0
    while start < len(samples):
        end = _end(samples, start, length, sample_rate)
        yield _window(source, samples, start, end, sample_rate)
        start = end


def overlapping(clip: Clip, length: float, step: float, sample_rate: int) -> Iterator[Window]:
    """Windows of length seconds, one every step seconds; the last ends with the clip."""
    source = clip.audio if isinstance(clip, EncodedClip) else clip
    samples = source.samples(sample_rate)
    size = min(len(samples), round(length * sample_rate))
    starts = list(range(0, max(1, len(samples) - size + 1), max(1, round(step * sample_rate))))
    if starts[-1] + size < len(samples):
        starts.append(len(samples) - size)
    for start in starts:
        yield _window(source, samples, start, start + size, sample_rate)


def _end(samples: NDArray[np.float32], start: int, length: int, rate: int) -> int:
    """Where the window that begins at start is cut: in the middle of its last long pause, else at its full length."""
    end = start + length
    if len(samples) - end < MIN_WINDOW_S * rate / 2:
        return len(samples)
    frame = round(FRAME_S * rate)
    power = np.square(samples[start:end][: length // frame * frame].reshape(-1, frame)).mean(axis=1, dtype=np.float64)
    first = int(len(power) * (1 - SEARCHED))
    if power.mean() < 1e-10:
        return end  # silent as a whole
    quiet = power < power.mean() * 10 ** (-PAUSE_DB / 10)
    best, best_length, run = None, 0, 0
    for number in range(first, len(power)):
        run = run + 1 if quiet[number] else 0
        if run >= max(1, best_length):
            best, best_length = number - run // 2, run
    return end if best is None else start + best * frame + frame // 2


def _window(source: Audio, samples: NDArray[np.float32], start: int, end: int, rate: int) -> Window:
    first, last = start / rate, end / rate
    try:
        audio: Audio | None = Audio((samples[start:end], rate), name=f"{source.name} [{clock(first)}-{clock(last)}]")
    except AudioError:  # silent, or a few samples at the end
        audio = None
    return Window(first, last, audio)


def clock(seconds: float) -> str:
    """Minutes and seconds, 01:30 or 1:01:30."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes:02}:{whole % 60:02}"
