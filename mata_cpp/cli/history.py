"""The file that keeps the questions of earlier conversations: an entry a line, more lines of an entry after a tab."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

OFF_VARIABLE = "MATA_CPP_NO_HISTORY"
"""Set to 1: nothing is read, and nothing is kept."""

KEPT = 1000


def is_off() -> bool:
    return os.environ.get(OFF_VARIABLE, "").lower() not in ("", "0", "no", "false")


def path() -> Path:
    import platformdirs

    return platformdirs.user_state_path("mata-cpp", appauthor=False) / "history"


def load(file: Path) -> list[str]:
    """The entries, oldest first, at most KEPT; none where the file cannot be read.  A file that is longer is cut."""
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return []
    entries: list[str] = []
    for line in text.split("\n"):
        if line.startswith("\t") and entries:
            entries[-1] += "\n" + line[1:]
        elif line:
            entries.append(line)
    if len(entries) > 2 * KEPT:
        _replace(file, entries[-KEPT:])
    return entries[-KEPT:]


def append(file: Path, entry: str) -> None:
    """Keep one more entry, for nobody else to read; where that cannot be done, nothing happens."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as out:
            out.write(_written(entry))


def _replace(file: Path, entries: list[str]) -> None:
    scratch = file.with_name(f"{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        for entry in entries:
            append(scratch, entry)
        os.replace(scratch, file)


def _written(entry: str) -> bytes:
    return (entry.strip().replace("\n", "\n\t") + "\n").encode("utf-8", "surrogateescape")
