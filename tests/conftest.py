"""Fixtures that all tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts nothing on the path; the helpers beside the tests are imported by name.
sys.path.insert(0, str(Path(__file__).parent))

from tiny_files import TinyFiles


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFiles:
    return TinyFiles(tmp_path_factory.mktemp("tiny"))
