"""Sequences whose graphs differ, but have equally many nodes and leaves, take turns: each computes as it does alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.audio import models
from parity.prompts import templates
from parity.prompts.vocabulary import add_tokenizer

SETTINGS: list[tuple[str, list[float]] | None] = [
    None,
    ("scale", [0, 0.1, 0.1, 0]),
    ("scale", [0.5] * 4),
    ("add", [0, 1.0, 1.0, 0]),
    ("add", [0.5] * 4),
    ("abs", [0.5] * 4),
    ("abs", [0, 0, 0.3, 0.4]),
]
N_STEPS = 12
CLOSE = 5e-3
"""Flash attention cuts long rows into pieces, and where depends on what else the cache holds."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = partial(add_tokenizer, arch="qwen2_audio", template=templates.TEXT["qwen2_audio"])
    return models.write_text("qwen2_audio", tmp_path_factory.mktemp("alternate") / "text.gguf", tokenizer)


def engine(text: Path) -> Any:
    from mata_cpp import _core

    return _core.Engine(str(text), n_ctx=1024, n_threads=1, cache_type_k="f32", cache_type_v="f32", flash_attn="on")


def start(engine: Any, i: int) -> Any:
    """A session with a clip of a length of its own, and setting i."""
    session, rng = engine.session(), np.random.default_rng(i)
    session.feed_tokens([1, 2, 3])
    span = session.feed_embeddings(rng.standard_normal((20 + 15 * i, models.N_EMBD)).astype(np.float32))
    setting = SETTINGS[i]
    if setting is not None:
        session.set_mata(*setting, [(*span, 1.0)])
    session.feed_tokens([4, 5, 6 + i])
    return session


def tokens(i: int) -> list[int]:
    return np.random.default_rng(50 + i).integers(1, 60, N_STEPS).tolist()


def alone(text: Path, i: int) -> list[np.ndarray]:
    opened = engine(text)
    session, rows = start(opened, i), []
    for token in tokens(i):
        session.feed_tokens([token])
        rows.append(session.logits())
    opened.close()
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_alternating_settings(text: Path, seed: int) -> None:
    wanted = [alone(text, i) for i in range(len(SETTINGS))]
    opened = engine(text)
    sessions = [start(opened, i) for i in range(len(SETTINGS))]
    order = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(SETTINGS)), N_STEPS))
    at = [0] * len(SETTINGS)
    for i in order:
        sessions[i].feed_tokens([tokens(i)[at[i]]])
        assert np.abs(sessions[i].logits() - wanted[i][at[i]]).max() < CLOSE
        at[i] += 1
    opened.close()
