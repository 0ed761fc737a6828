"""What compiled libraries write straight to file descriptor 2, caught."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

_lock = threading.RLock()


@contextlib.contextmanager
def caught() -> Iterator[list[str]]:
    """Lines that come on descriptor 2 within the block are in the list after it, and not shown.

    One thread at a time.  Where there is no standard error or no place for the lines, nothing is caught.
    """
    lines: list[str] = []
    with _lock, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ValueError):
            if sys.__stderr__ is not None:  # else descriptor 2 may be any file by now
                sys.__stderr__.flush()
                stack.enter_context(_redirected(lines))
        yield lines


@contextlib.contextmanager
def _redirected(lines: list[str]) -> Iterator[None]:
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            lines += file.read().decode("utf-8", "replace").splitlines()
