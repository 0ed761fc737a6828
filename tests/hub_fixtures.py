"""Fixtures for tests with the loopback hub: its address, empty caches, and the commands as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import loopback_hub
import pytest

ROOT = Path(__file__).resolve().parents[1]

MODEL = b"GGUF model " * 20_000
PROJECTOR = b"GGUF mmproj " * 3_000

REPOSITORY = "some-org/Some-GGUF"
FILES = {
    "README.md": b"a card",
    "Some-Q4_K_M.gguf": MODEL,
    "Some-Q8_0.gguf": MODEL + b"8",
    "mmproj-Some-F16.gguf": PROJECTOR,
    "mmproj-Some-Q8_0.gguf": PROJECTOR + b"8",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback_hub.Hub]:
    """A hub with one repository, which huggingface_hub asks; caches of its own, no token."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "MATA_CPP_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("MATA_CPP_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "hf" / "stored_tokens"))
    with loopback_hub.running() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", made.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        made.add(REPOSITORY, FILES)
        yield made


def command(module: str, *words: object, **variables: str) -> list[str]:
    """The words that start a command of mata_cpp.cli."""
    return [sys.executable, "-m", f"mata_cpp.cli.{module}", *map(str, words)]


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **variables}


def process(module: str, *words: object, **variables: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of a command of mata_cpp.cli in a process of its own."""
    done = subprocess.run(
        command(module, *words),
        capture_output=True,
        timeout=120,
        env=environment(**variables),
        errors="replace",
        text=True,
    )
    return done.returncode, done.stdout, done.stderr
