"""Paths as people type them in a conversation, or drop them into the terminal: quoted, escaped, as a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import url2pathname


def typed_path(text: str) -> str:
    """The first reading of text that is there; else text as it is, without quotes."""
    readings = list(_readings(text.strip()))
    return next((path for path in readings if os.path.exists(path)), readings[-1])


def _readings(text: str) -> Iterator[str]:
    yield os.path.expanduser(text)
    if text.lower().startswith("file:"):
        url = urlsplit(text)
        if url.netloc in ("", "localhost"):
            yield url2pathname(url.path)
    yield os.path.expanduser(re.sub(r"\\(.)", r"\1", text))  # as a shell would read it
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    yield os.path.expanduser(text)
