"""Paths as people type them in a conversation, or drop them into the terminal: quoted, escaped, as a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..checks import short_name
from ..errors import AudioError

_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|\\.|\S)+""" if os.name != "nt" else r"""(?:'[^']*'|"[^"]*"|\S)+""", re.DOTALL)
_SPECIAL = re.compile(r"""([\s\\'"()&;$`!*?\[\]{}<>|#])""")


def typed_path(text: str) -> str:
    """The first reading of text that is there; else text as it is, without quotes."""
    readings = list(_readings(text.strip()))
    return next((path for path in readings if _exists(path)), readings[-1])


def new_path(text: str) -> str:
    """A path for a file that need not be there: as it is if something is, else as a shell would read it."""
    found = typed_path(text)
    words = split_words(text)
    if _exists(found) or len(words) != 1 or text[:1] in ("'", '"'):
        return found
    return os.path.expanduser(unescaped(text))


def typed_paths(text: str) -> list[str]:
    """All of text as one path if that is there, else each of its words, split as a shell splits them.

    Raises AudioError if some of the words are there and some are not.
    """
    whole = typed_path(text)
    words = split_words(text)
    if len(words) < 2 or _exists(whole):
        return [whole]
    paths = [typed_path(word) for word in words]
    missing = [path for path in paths if not _exists(path)]
    if len(missing) == len(paths):
        return [whole]
    if missing:
        raise AudioError(f"no such file: {short_name(missing[0])} (a question goes on a line of its own)")
    return paths


def split_words(text: str) -> list[str]:
    """The words of a line as they are written, quotes and backslashes included."""
    return _WORD.findall(text)


def escaped(path: str) -> str:
    """A path as a terminal writes it when a file is dropped: one word for split_words and typed_path."""
    if os.name == "nt":
        return f'"{path}"' if " " in path else path
    return _SPECIAL.sub(r"\\\1", path)


def unescaped(word: str) -> str:
    """As a shell would read a word without quotes."""
    return re.sub(r"\\(.)", r"\1", word) if os.name != "nt" else word


def _exists(path: str) -> bool:
    return "\0" not in path and os.path.exists(path)


def _readings(text: str) -> Iterator[str]:
    if "\0" in text:
        yield text
        return
    yield os.path.expanduser(text)
    if text.lower().startswith("file:"):
        try:
            url = urlsplit(text)
        except ValueError:  # as "file://[x"
            pass
        else:
            if url.netloc in ("", "localhost"):
                yield url2pathname(url.path)
    yield os.path.expanduser(unescaped(text))
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    yield os.path.expanduser(text)
