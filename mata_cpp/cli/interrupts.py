"""Ctrl-C in a conversation: it stops what runs, and however often it is pressed, it does no more than that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 30
"""So many interrupts end what does not stop."""


class Interrupts:
    """Where the main thread may be interrupted.  A context manager, which has SIGINT while it lasts.

    Within ``with interrupts.allowed():`` the first SIGINT is raised as KeyboardInterrupt.  Those that follow are
    dropped until the next such block, as all are outside of one: what is tidied up after an interrupt is not
    interrupted itself.
    """

    def __init__(self) -> None:
        self._allowed = False
        self._dropped = 0
        self._other: Callable[[], None] | None = None

    def __enter__(self) -> Interrupts:
        self._before = signal.getsignal(signal.SIGINT)
        self._ours = callable(self._before) and threading.current_thread() is threading.main_thread()
        if self._ours:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        self._dropped = 0
        self._allowed = True
        try:
            yield
        finally:
            self._allowed = False

    @contextmanager
    def handed_to(self, other: Callable[[], None]) -> Iterator[None]:
        """Within the block every SIGINT calls other, and raises nothing."""
        self._other = other
        try:
            yield
        finally:
            self._other = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._other is not None:
            self._other()
            return
        # Nothing is called here but to raise: input() runs handlers also while it has an exception at hand.
        if self._allowed or self._dropped >= PATIENCE:
            self._allowed = False
            raise KeyboardInterrupt
        self._dropped += 1
