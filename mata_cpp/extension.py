"""The compiled extension, and its log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from .errors import ModelError
from .source_tree import has_compiled_part

_log = logging.getLogger("mata_cpp.llama")
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


def load() -> Any:
    """The module ``_core``.  Raises ModelError where it is missing."""
    try:
        from . import _core
    except ImportError as error:
        raise ModelError(_why_not(error)) from None
    return _core


def _why_not(error: ImportError) -> str:
    here = Path(__file__).parent
    if has_compiled_part(str(here)) or not (here.parent / "csrc").is_dir():
        return f"the compiled part of mata-cpp cannot be loaded: {error}; install it again"
    return (
        f"the sources in {here.parent} have no compiled part, and no installed one fits them: "
        "run pip install . there, or start Python in another folder"
    )


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
