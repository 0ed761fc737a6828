"""Whether a fetched file is still what was fetched, without reading all of it each time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from ..checks import short_name

RECORD = ".{}.checked"
"""The name of the file that tells which state of a file beside it was checked."""


def sha256(path: Path) -> str:
    """Of a whole file.  Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_intact(path: Path, expected: str) -> bool:
    """Whether path has the sha256 expected.  It is read only if it was changed or replaced since it was checked last.

    Raises OSError where it cannot be read.
    """
    state = _state(path, expected)
    record = path.with_name(RECORD.format(path.name))
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if json.loads(record.read_text("utf-8")) == state:
            return True
    if sha256(path) != expected:
        return False
    with contextlib.suppress(OSError):  # in a folder that is read-only: it is read again the next time
        record.write_text(json.dumps(state) + "\n", "utf-8")
    return True


def _state(path: Path, expected: str) -> dict[str, int | str]:
    found = path.stat()
    return {"sha256": expected, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}


def damage(path: Path, remedy: str = "delete it, and it is fetched again") -> str:
    """What to say of a file that is not intact.  remedy: what to do then."""
    return f"{short_name(path)} is damaged or was changed: {remedy}"
