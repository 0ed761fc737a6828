"""Fixtures for tests of the Python package: clips made by code, and a stand-in for the compiled extension."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import mata_cpp

HERE = Path(__file__).parent


def tone(seconds=1.0, rate=16000, hertz=440.0, channels=1):
    """float32 [frames] or [frames, channels]; the channels differ in loudness."""
    time = np.arange(int(seconds * rate)) / rate
    mono = (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
    return mono if channels == 1 else np.stack([mono / (k + 1) for k in range(channels)], axis=1)


def encoded(samples, rate=16000, format="WAV", subtype=None):
    """An audio file as bytes."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


@pytest.fixture
def make_tone():
    return tone


@pytest.fixture
def make_file():
    return encoded


@pytest.fixture
def clip(tmp_path):
    """A wav file of one second, which the stand-in hears as 5 tokens."""
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded(tone()))
    return path


@pytest.fixture
def sound_data():
    """The folder of recorded sound, which is no part of the repository."""
    for folder in (os.environ.get("MATA_TEST_DATA"), HERE.parent.parent / "shared" / "data"):
        if folder and (Path(folder) / "esc10").is_dir():
            return Path(folder)
    pytest.skip("recorded sound is not here (MATA_TEST_DATA)")


def _load_fake():
    spec = importlib.util.spec_from_file_location("fake_core", HERE / "fake_core.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_core"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake(monkeypatch):
    """The stand-in in place of mata_cpp._core; ``fake.OPTIONS`` shapes the next engine."""
    module = _load_fake()
    monkeypatch.setitem(sys.modules, "mata_cpp._core", module)
    monkeypatch.setattr(mata_cpp, "_core", module, raising=False)
    return module


@pytest.fixture
def fake_model(fake, tmp_path):
    """A model file and its projector beside it, as far as the stand-in looks at them."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF model")
    (tmp_path / "mmproj-model.gguf").write_bytes(b"GGUF mmproj")
    return model


@pytest.fixture
def make_chat(fake, fake_model):
    """make_chat(script=..., n_ctx=..., **engine options) -> AudioChat on the stand-in."""
    chats = []

    def make(options=None, **arguments):
        fake.OPTIONS.update(options or {})
        chat = mata_cpp.AudioChat(fake_model, **arguments)
        chats.append(chat)
        return chat

    yield make
    for chat in chats:
        chat.close()


@pytest.fixture
def make_model(fake, fake_model):
    """make_model(engine options, **arguments) -> AudioModel on the stand-in."""
    models = []

    def make(options=None, **arguments):
        fake.OPTIONS.update(options or {})
        model = mata_cpp.AudioModel(fake_model, **arguments)
        models.append(model)
        return model

    yield make
    for model in models:
        model.close()
