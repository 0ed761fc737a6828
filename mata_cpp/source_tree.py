"""In the root of a clone, Python finds the sources before the package that was installed from them.

The sources lack the compiled part; it is taken from the installed package.  Few imports: every program runs this.
"""

from __future__ import annotations

import os
import sys

STUB = "_core.pyi"
"""What the compiled part offers; sources of another version offer something else."""


def has_compiled_part(folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(name.startswith("_core.") and name.endswith((".so", ".pyd")) for name in names)


def complete(package: list[str]) -> None:
    """Add the installed package's folder to a package's path (``__path__``) that has no compiled part, if it fits."""
    here = package[0]
    if has_compiled_part(here):
        return
    for entry in sys.path:
        other = os.path.join(entry or ".", os.path.basename(here))
        if has_compiled_part(other) and not os.path.samefile(other, here) and _fits(other, here):
            package.append(other)
            return


def _fits(installed: str, sources: str) -> bool:
    try:
        with open(os.path.join(installed, STUB), "rb") as one, open(os.path.join(sources, STUB), "rb") as other:
            return one.read() == other.read()
    except OSError:
        return False
