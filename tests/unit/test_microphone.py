"""Recording, with a stand-in for sounddevice."""

import sys
import threading
import types

import numpy as np
import pytest

from mata_cpp import AudioError
from mata_cpp.audio import microphone

RATE = microphone.RATE


class PortAudioError(Exception):
    pass


@pytest.fixture
def device(monkeypatch):
    """sounddevice with a microphone that hears noise; what it does can be changed."""
    made = types.ModuleType("sounddevice")
    made.PortAudioError = PortAudioError
    made.blocks = 10_000
    made.level = 0.1
    made.error = None
    made.settings = {}

    class InputStream:
        def __init__(self, *, callback, blocksize, **settings):
            if made.error is not None:
                raise made.error
            made.settings = {"blocksize": blocksize, **settings}
            self._callback, self._size, self._closed = callback, blocksize, threading.Event()

        def _run(self):
            rng = np.random.default_rng(0)
            for _ in range(made.blocks):
                if self._closed.is_set():
                    return
                block = made.level * rng.standard_normal((self._size, 1)).astype(np.float32)
                self._callback(block, self._size, None, None)
                self._closed.wait(0.001)

        def __enter__(self):
            self._thread = threading.Thread(target=self._run)
            self._thread.start()
            return self

        def __exit__(self, *exc):
            self._closed.set()
            self._thread.join()

    made.InputStream = InputStream
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def test_so_many_seconds(device):
    levels = []
    clip = microphone.record(0.5, on_level=lambda seconds, decibels: levels.append((seconds, decibels)))
    assert (clip.seconds, clip.sample_rate, clip.name) == (0.5, RATE, "<microphone>")
    assert device.settings["samplerate"] == RATE and device.settings["channels"] == 1
    assert len(levels) == 10 and levels[-1][0] == pytest.approx(0.5)
    assert all(decibels == pytest.approx(-20, abs=1) for _, decibels in levels)


def test_it_can_be_ended_early(device):
    stop = threading.Event()
    clip = microphone.record(60, on_level=lambda seconds, _: seconds > 0.3 and stop.set(), stop=stop)
    assert 0.3 < clip.seconds < 1


def test_silence_is_refused(device):
    device.level = 0.0
    with pytest.raises(AudioError, match="<microphone> is silent: every sample is 0"):
        microphone.record(0.2)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Error querying device -1", "cannot record: no microphone was found"),
        (
            "Error opening InputStream: Device unavailable",
            "cannot record: Error opening InputStream: Device unavailable",
        ),
    ],
)
def test_no_device(device, reason, message):
    device.error = PortAudioError(reason)
    with pytest.raises(AudioError) as error:
        microphone.record(1)
    assert str(error.value) == message


def test_a_device_that_gives_nothing(device, monkeypatch):
    monkeypatch.setattr(microphone, "PATIENCE_S", 0.2)
    device.blocks = 0
    with pytest.raises(AudioError, match="the microphone gives no sound"):
        microphone.record(1)


def test_without_sounddevice(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match=r"recording needs sounddevice: pip install"):
        microphone.record(1)


@pytest.mark.parametrize("seconds", [0, -1, 4000, float("nan")])
def test_absurd_lengths(device, seconds):
    with pytest.raises(ValueError, match="a recording takes at most 3600 s"):
        microphone.record(seconds)
