"""A clip from the microphone, by sounddevice (PortAudio).  Needs the extra [mic]."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .clip import Audio

RATE = 16000
"""Hz; what all models listen to."""

BLOCK_S = 0.05
MAX_SECONDS = 3600.0
PATIENCE_S = 5.0
"""A device that gives nothing for so long is broken."""

Level = Callable[[float, float], None]
"""Called about 20 times a second with the seconds recorded and the level of the last ones, in dB of full scale."""


def record(seconds: float, *, on_level: Level | None = None, stop: threading.Event | None = None) -> Audio:
    """Record from the default microphone for so many seconds, or until stop is set.

    Raises AudioError where there is no microphone, it gives only silence, or sounddevice is missing; ValueError.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"a recording takes at most {MAX_SECONDS:g} s, not {seconds:g}")
    sounddevice = _sounddevice()
    came: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()
    blocks: list[NDArray[np.float32]] = []
    wanted, count = round(seconds * RATE), 0
    try:
        with sounddevice.InputStream(
            samplerate=RATE,
            channels=1,
            dtype="float32",
            blocksize=round(BLOCK_S * RATE),
            callback=lambda data, *_: came.put(data[:, 0].copy()),
        ):
            last = time.monotonic()
            while count < wanted and not (stop is not None and stop.is_set()):
                try:
                    block = came.get(timeout=BLOCK_S)  # short, so that Ctrl-C is noticed
                except queue.Empty:
                    if time.monotonic() - last > PATIENCE_S:
                        raise AudioError("the microphone gives no sound: is it in use, or not allowed?") from None
                    continue
                last = time.monotonic()
                blocks.append(block)
                count += len(block)
                if on_level is not None:
                    on_level(count / RATE, _decibels(block))
    except sounddevice.PortAudioError as error:
        raise AudioError(f"cannot record: {_reason(error)}") from None
    if not blocks:
        raise AudioError("nothing was recorded")
    return Audio((np.concatenate(blocks)[:wanted], RATE), name="<microphone>")


def check() -> None:
    """Raises AudioError where nothing can record here, as far as that is known before it begins."""
    _sounddevice()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise AudioError("recording needs sounddevice: pip install sounddevice") from None
    except OSError as error:  # the wheels for Linux come without PortAudio
        raise AudioError(f"recording needs PortAudio (Debian: apt install libportaudio2): {error}") from None
    return sounddevice


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "querying device" in text or "Invalid device" in text or "No Default Input" in text:
        return "no microphone was found"
    return text


def _decibels(block: NDArray[np.float32]) -> float:
    power = float(np.square(block, dtype=np.float64).mean())
    return 10 * math.log10(power) if power > 0 else -math.inf
