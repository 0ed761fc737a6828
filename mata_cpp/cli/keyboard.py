"""The terminal's keyboard while a conversation has no prompt."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from . import colour


def can_edit() -> bool:
    """Whether somebody types on a terminal that can do more than print."""
    typed = sys.stdin is not None and sys.stdin.isatty()
    return typed and (colour.is_smart(sys.stdout) or colour.is_smart(sys.stderr))


@contextlib.contextmanager
def kept(*, on: bool) -> Iterator[None]:
    """What is typed ahead is not shown in the middle of an answer, but kept for the next prompt, Ctrl-D included.

    Ctrl-C and Ctrl-Z work as ever.  An editor, which has a mode of its own, may run within the block.
    """
    try:
        import termios
    except ImportError:  # Windows shows nothing by itself
        on = False
    if not on or not can_edit():
        yield
        return
    local_modes = 3  # the place of these flags in the list
    try:
        before = termios.tcgetattr(sys.stdin)
        changed = termios.tcgetattr(sys.stdin)
        changed[local_modes] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(sys.stdin, termios.TCSANOW, changed)
    except (termios.error, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(termios.error, OSError, ValueError):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
