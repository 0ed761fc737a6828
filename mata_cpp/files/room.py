"""Whether there is room for a model, on the disk and in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

from ..checks import short_name
from ..errors import ModelError
from .entry import memory_needed
from .telling import Report, in_words, say

MARGIN = 200_000_000
"""Bytes of the disk that are left alone."""


def check_disk(name: str, size: int, folder: Path, remedy: str) -> None:
    """size: bytes still to be fetched into folder.  remedy: how another folder is chosen.  Raises ModelError."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(there).free
        if free < size + MARGIN:
            shown = short_name(there)
            raise ModelError(
                f"{name} needs {in_words(size)} on the disk, and {shown} has {in_words(free)} free: {remedy}"
            )


def check_memory(name: str, size: int, insist: bool, report: Report | None) -> None:
    """size: of the model's files in bytes.  insist: only tell where this machine's memory is smaller than they need.

    Raises ModelError.
    """
    needed, total = memory_needed(size), memory()
    if total is None or needed <= total:
        return
    lack = f"{name} needs about {in_words(needed)} of memory, and this machine has {in_words(total)}"
    if not insist:
        raise ModelError(f"{lack} (mata-models pull fetches it all the same)")
    say(report, f"note: {lack}")


def memory() -> int | None:
    """Bytes of memory of this machine, or None where it does not tell."""
    if sys.platform == "win32":  # pragma: no cover
        return _windows_memory()
    with contextlib.suppress(ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


if sys.platform == "win32":  # pragma: no cover

    def _windows_memory() -> int | None:
        import ctypes

        kilobytes = ctypes.c_ulonglong()
        found = ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return kilobytes.value * 1024 if found else None
