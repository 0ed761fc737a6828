"""Lines for the user, sizes in words, and waiting for another process."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

Report = Callable[[str], None]
"""Gets lines for the user."""


def say(report: Report | None, line: str) -> None:
    """Give a line to report; None: to standard error."""
    if report is not None:
        report(line)
    else:
        print(f"mata-cpp: {line}", file=sys.stderr, flush=True)


def shows_bars(report: Report | None) -> bool:
    """Whether to draw a progress bar: where nobody takes the lines, on a terminal."""
    return report is None and sys.stderr is not None and sys.stderr.isatty()


def in_words(size: int) -> str:
    """Bytes: "128 MB", "3.6 GB"."""
    if size >= 999_500_000:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 999_500 else f"{size / 1e3:.0f} kB"


@contextlib.contextmanager
def locked(path: Path, report: Report | None) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it.  Raises OSError."""
    with open(path, "a+b") as file:
        waiting = False
        while not try_lock(file):
            if not waiting:
                say(report, "another process is fetching the model: waiting for it")
                waiting = True
            time.sleep(0.2)
        yield


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def try_lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
