"""A short run of fuzz.py."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("what", "count"), [("audio", 1500), ("gguf", 400)])
def test_mutated_files(what: str, count: int) -> None:
    pytest.importorskip("mata_cpp._core", reason="the extension is not built")
    script = Path(__file__).with_name("fuzz.py")
    run = subprocess.run(
        [sys.executable, str(script), what, "--count", str(count)], capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
