"""In the root of a clone the sources hide the installed package: its compiled part is taken, if it fits."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mata_cpp

SCRIPT = """
import mata_cpp
print(mata_cpp.__file__)
from mata_cpp.extension import load
try:
    print(load().__file__)
except mata_cpp.ModelError as error:
    print(error)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    sources = Path(mata_cpp.__file__).parent
    shutil.copytree(sources, tmp_path / "mata_cpp", ignore=shutil.ignore_patterns("_core.*.so", "*.pyd", "__pycache__"))
    (tmp_path / "csrc").mkdir()
    return tmp_path


def lines(clone: Path) -> list[str]:
    child = subprocess.run([sys.executable, "-c", SCRIPT], cwd=clone, capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    return child.stdout.splitlines()


def test_the_installed_compiled_part_is_taken(clone: Path) -> None:
    package, compiled = lines(clone)
    assert Path(package).parent == clone / "mata_cpp"
    assert Path(compiled).name.startswith("_core.") and Path(compiled).parent != clone / "mata_cpp"


def test_one_of_other_sources_is_not(clone: Path) -> None:
    with (clone / "mata_cpp" / "_core.pyi").open("a", encoding="utf-8") as stub:
        stub.write("more: int\n")
    _, message = lines(clone)
    assert message == (
        f"the sources in {clone} have no compiled part, and no installed one fits them: run pip install . there, "
        "or start Python in another folder"
    )
