"""Arguments of the wrong type or size: each a ValueError of one line; and names in messages, which are kept short."""

from __future__ import annotations

import math
import numbers
from typing import Any

INT32 = (1 << 31) - 1


def short_repr(value: Any) -> str:
    """repr(value) in one short line."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else line[:77] + "..."


def short_name(name: object) -> str:
    """A name or a path for a message, in one line, cut in the middle where it is too long for one."""
    text = str(name)
    line = " ".join(text.split()) if "\n" in text else text
    return line if len(line) <= 200 else f"{line[:90]}...{line[-60:]}"


def integer(value: Any, name: str, low: int, high: int = INT32) -> int:
    """value, of Python or NumPy, as an int from low to high."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if whole and low <= int(value) <= high:
        return int(value)
    limits = f"of at least {low}" if high == INT32 and not (whole and value > high) else f"from {low} to {high}"
    raise ValueError(f"{name} must be a whole number {limits}, not {short_repr(value)}")


def number(value: Any, name: str) -> float:
    """value, of Python or NumPy, as a finite float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, not {short_repr(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite, not {short_repr(value)}")
    return result


def text(value: Any, name: str) -> str:
    """value if it is a text without lone surrogates, which no tokenizer can take."""
    if isinstance(value, str):
        try:
            value.encode()
            return value
        except UnicodeEncodeError:
            pass
    raise ValueError(f"{name} must be a text of valid characters, not {short_repr(value)}")


def seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= int(value) < 1 << 32:
        raise ValueError(f"seed must be a whole number of 32 bits, not {short_repr(value)}")
    return int(value)
