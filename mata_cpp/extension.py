"""The compiled extension, and its log."""

from __future__ import annotations

import logging
import sys
from typing import Any

from .errors import ModelError

_log = logging.getLogger("mata_cpp.llama")
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


def load() -> Any:
    """The module ``_core``.  Raises ModelError where it is missing."""
    try:
        from . import _core
    except ImportError as error:
        raise ModelError(f"the compiled part of mata-cpp cannot be loaded: {error}; install it again") from None
    return _core


def show_log(wanted: bool) -> None:
    """Write llama.cpp's log to standard error, or drop it.  It is one for the whole process.

    It also goes to the logger "mata_cpp.llama", if that is enabled when a model is loaded.
    """
    listening = _log.isEnabledFor(logging.DEBUG)
    if not wanted and not listening:
        load().set_log_callback(None)
        return

    def pass_on(level: int, text: str) -> None:
        if listening:
            _log.log(_LEVELS.get(level, logging.INFO), "%s", text.rstrip())
        if wanted:
            sys.stderr.write(text if text.endswith("\n") else text + "\n")

    load().set_log_callback(pass_on)
