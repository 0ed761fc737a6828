"""Colour, where it is a terminal that shows it and nobody asked for none (https://no-color.org)."""

from __future__ import annotations

import os
from typing import Any

ERROR, PROMPT, DIM = "31", "1", "2"
"""Numbers of SGR: red, bold, faint."""


def is_smart(stream: Any) -> bool:
    """Whether stream is a terminal on which a line can be erased and written again."""
    try:
        return bool(stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb")
    except ValueError:  # closed
        return False


def paint(text: str, style: str, stream: Any) -> str:
    """text in a style, if stream shows it."""
    return f"\x1b[{style}m{text}\x1b[0m" if is_smart(stream) and not os.environ.get("NO_COLOR") else text
