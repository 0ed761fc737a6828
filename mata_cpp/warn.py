"""Warnings that name the line of the program which called us."""

from __future__ import annotations

import os
import sys
import warnings

_OWN = os.path.dirname(__file__) + os.sep


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Issue a warning at the nearest caller outside this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
