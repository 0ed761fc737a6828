"""Broken, truncated and mismatched files: a message that names the file, and the process lives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from broken_models import BROKEN_ADAPTERS, BROKEN_MODELS, BROKEN_PROJECTORS
from tiny_files import TinyFiles

# Odd, but of use: nothing in them is read that is wrong.
USABLE = {
    ("model", "zero_context"),
    ("model", "window_without_width"),
    ("projector", "missing_query_bias"),
    ("projector", "key_bias"),
    ("projector", "zero_layers"),
    ("projector", "wrong_projection_dim"),
}
CASES = [
    *(("model", name) for name in BROKEN_MODELS),
    *(("projector", name) for name in BROKEN_PROJECTORS),
    *(("adapter", name) for name in BROKEN_ADAPTERS),
]


@pytest.fixture(scope="module")
def results(tiny: TinyFiles) -> dict[tuple[str, str], dict[str, Any]]:
    """One child process for all files: it must still be there after the last."""
    lines = []
    for kind, name in CASES:
        model: Path | None = tiny.model("llama")
        mmproj = adapter = None
        if kind == "model":
            model = tiny.broken_model(name)
        elif kind == "projector":
            mmproj = tiny.broken_projector(name)
        else:
            adapter = tiny.broken_adapter(name)
        lines.append(json.dumps([kind, name, str(model), mmproj and str(mmproj), adapter and str(adapter)]))
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("bad_inputs.py"))],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, f"ended after {rows[-1:]}: {child.stderr[-2000:]}"
    return {(row["kind"], row["name"]): row for row in rows}


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_message(results: dict[tuple[str, str], dict[str, Any]], kind: str, name: str) -> None:
    row = results[kind, name]
    if (kind, name) in USABLE:
        assert not row["error"], row["message"]
        return
    expected = "MataError" if name == "not_numbers" else "ModelError"
    assert row["error"] == expected, row
    assert "\n" not in row["message"]
    if name != "not_numbers":
        assert f"{name}.gguf" in row["message"]
