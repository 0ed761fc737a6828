"""The compiled extension, and its log."""

from __future__ import annotations

import sys
from typing import Any

from .errors import ModelError


def load() -> Any:
    """The module ``_core``.  Raises ModelError where it is missing."""
    try:
        from . import _core
    except ImportError as error:
        raise ModelError(f"the compiled part of mata-cpp cannot be loaded: {error}; install it again") from None
    return _core


def show_log(wanted: bool) -> None:
    """Write llama.cpp's log to standard error, or drop it.  It is one for the whole process."""
    load().set_log_callback(_print_log if wanted else None)


def _print_log(level: int, text: str) -> None:
    sys.stderr.write(text if text.endswith("\n") else text + "\n")
