"""Fixtures that all tests share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts nothing on the path; the helpers beside the tests are imported by name.
sys.path.insert(0, str(Path(__file__).parent))

from tiny_files import TinyFiles


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFiles:
    return TinyFiles(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session", autouse=True)
def nobodys_configuration() -> Iterator[None]:
    """The defaults are those of the package, whatever the user's own files say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATA_CPP_NO_CONFIG", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """SIGINT as Python has it: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
