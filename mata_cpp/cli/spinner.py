"""What the command is doing, on the last line of a terminal, as long as there is nothing else to show.

It is written to standard error, and only where that is a terminal.  Whatever else is printed goes into a block
``with cleared():``.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator

from . import colour

FRAMES, PLAIN_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
PERIOD_S = 0.1
DELAY_S = 0.2
"""What ends sooner is not shown."""

ERASE = "\r\x1b[K"

_lock = threading.RLock()
_visible = False


@contextlib.contextmanager
def cleared() -> Iterator[None]:
    """Take the line away, if one is shown; a spinner that still turns comes back after the block, on the next line.

    The block must print whole lines, or the spinner be stopped.
    """
    global _visible
    with _lock:
        if _visible:
            _write(ERASE)
            _visible = False
        yield


class Spinner:
    """A line that turns from start() to stop(), which may be called in any order and more than once."""

    def __init__(self, text: str, *, quiet: bool = False) -> None:
        self.text = text
        self._on = not quiet and colour.is_smart(sys.stderr)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def on(self) -> bool:
        """Whether it would be seen."""
        return self._on

    def start(self) -> None:
        if self._on and self._thread is None:
            self._thread = threading.Thread(target=self._turn, name="mata-spinner", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        with cleared():
            pass

    def _turn(self) -> None:
        global _visible
        frames, number, wait = _frames(), 0, DELAY_S
        while not self._stop.wait(wait):
            line = f"{frames[number % len(frames)]} {self.text}"
            line = line[: max(1, shutil.get_terminal_size((80, 24)).columns - 1)]
            with _lock:
                if self._stop.is_set():
                    return
                _write(ERASE + colour.paint(line, colour.DIM, sys.stderr))
                _visible = True
            number, wait = number + 1, PERIOD_S


@contextlib.contextmanager
def showing(text: str, *, quiet: bool = False) -> Iterator[Spinner]:
    """A spinner with text while the block runs."""
    spinner = Spinner(text, quiet=quiet)
    spinner.start()
    try:
        yield spinner
    finally:
        spinner.stop()


@contextlib.contextmanager
def loading(name: str, *, quiet: bool = False) -> Iterator[Callable[[float], None] | None]:
    """Yields what AudioModel(progress=) takes, None where nobody would see it.

    It starts with the first progress: a download, which comes before, has a bar of its own.
    """
    spinner = Spinner(f"loading {name}", quiet=quiet)

    def progress(share: float) -> None:
        spinner.text = f"loading {name} {100 * share:.0f} %"
        spinner.start()

    try:
        yield progress if spinner.on else None
    finally:
        spinner.stop()


def _frames() -> str:
    with contextlib.suppress(UnicodeError, LookupError):
        FRAMES.encode(getattr(sys.stderr, "encoding", None) or "ascii")
        return FRAMES
    return PLAIN_FRAMES


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
