"""Ctrl-C held back while a library calls Python code that it could not pass an exception through."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held() -> Iterator[None]:
    """An interrupt within the block is raised after it.

    soundfile and PyAV read through callbacks from C, which print an exception and drop it.  Only the main thread is
    ever interrupted by Python; in others, and where SIGINT has no Python handler, nothing is done.
    """
    handler = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(handler):
        yield
        return
    seen: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if seen:
            handler(signal.SIGINT, seen[-1])
