"""Ctrl-C is neither lost nor early while a library must not be interrupted."""

from __future__ import annotations

import io
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mata_cpp import Audio
from mata_cpp.audio import interrupts


@pytest.fixture(autouse=True)
def python_handler():
    """pytest in the background is started with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_raised_after_the_block() -> None:
    passed = False
    with pytest.raises(KeyboardInterrupt), interrupts.held():
        os.kill(os.getpid(), signal.SIGINT)
        passed = True
    assert passed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_without_an_interrupt() -> None:
    with interrupts.held():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_are_left_alone() -> None:
    handlers = []

    def look() -> None:
        with interrupts.held():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_an_interrupt_while_a_clip_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO()
    soundfile.write(data, np.full(16000, 0.1), 16000, format="WAV")
    from mata_cpp.audio import decoders

    class Interrupting(decoders.View):
        def read(self, size: int | None = -1) -> bytes:
            os.kill(os.getpid(), signal.SIGINT)
            return super().read(size)

    monkeypatch.setattr(decoders, "View", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        Audio(data.getvalue())
