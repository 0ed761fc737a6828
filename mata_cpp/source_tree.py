"""In the root of a clone, Python finds the sources before the package that was installed from them.

The sources lack the compiled part; it is taken from the installed package.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

STUB = "_core.pyi"
"""What the compiled part offers; sources of another version offer something else."""


def has_compiled_part(folder: Path) -> bool:
    return any((folder / f"_core{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def complete(package: list[str]) -> None:
    """Add the installed package's folder to a package's path (``__path__``) that has no compiled part, if it fits."""
    here = Path(package[0])
    if has_compiled_part(here):
        return
    for entry in sys.path:
        other = Path(entry or ".") / here.name
        if has_compiled_part(other) and not _same(other, here) and _fits(other, here):
            package.append(str(other))
            return


def _same(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:
        return False


def _fits(installed: Path, sources: Path) -> bool:
    try:
        return (installed / STUB).read_bytes() == (sources / STUB).read_bytes()
    except OSError:
        return False
