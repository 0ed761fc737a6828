"""Lines that are broken between words, where a terminal would cut through them."""

from __future__ import annotations

import os
import textwrap
from typing import Any

from . import colour


def columns_of(stream: Any) -> int | None:
    """The width of the terminal that stream is; None where nothing is to be broken."""
    if not colour.is_smart(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def fitted(text: str, stream: Any) -> str:
    """Lines for stream; what goes on in the next line is set in."""
    columns = columns_of(stream)
    if columns is None:
        return text
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        wrapper = textwrap.TextWrapper(
            columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
        )
        lines.append(line if len(line) <= columns else wrapper.fill(line))
    return "\n".join(lines)


class Flow:
    """Text that comes in pieces, broken into lines of so many columns.  A word is given out once it is whole."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._column = 0
        self._space, self._word, self._width = "", "", 0

    def feed(self, text: str) -> str:
        """What can be printed now."""
        out = []
        for character in text:
            width = _width(character)
            if character == "\n":
                out += [self.rest(), "\n"]
                self._column = 0
            elif character in " \t":
                out.append(self._placed())
                self._space += character
            else:
                if width == 2 or self._width + width > self._columns:  # a script without spaces; or no word
                    out.append(self._placed())
                self._word += character
                self._width += width
                if width == 2:
                    out.append(self._placed())
        return "".join(out)

    def rest(self) -> str:
        """What was held back."""
        out = self._placed() + self._space
        self._space = ""
        return out

    def _placed(self) -> str:
        if not self._word:
            return ""
        before, self._space = self._space, ""
        if self._column and self._column + len(before) + self._width > self._columns:
            before, self._column = "\n", 0
        else:
            self._column += len(before)
        self._column += self._width
        word, self._word, self._width = self._word, "", 0
        return before + word


def _width(character: str) -> int:
    """Columns of a character."""
    if character.isascii():
        return 1
    import unicodedata  # not for --help

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
