"""Questions of several lines between three quotes."""

from __future__ import annotations

PROMPT, CONTINUATION = "> ", ". "
QUOTES = '"""'


def is_open(text: str) -> bool:
    """Whether text begins with three quotes, which have not been closed at its end."""
    text = text.strip()
    return text.startswith(QUOTES) and (len(text) < 2 * len(QUOTES) or not text.endswith(QUOTES))


def unquoted(text: str) -> str:
    """text without the three quotes around it, if it has them."""
    inner = text.strip()
    if not inner.startswith(QUOTES):
        return text
    return inner.removeprefix(QUOTES).removesuffix(QUOTES).strip()
