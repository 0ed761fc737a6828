"""What benchmarks/encoder_share.py takes for known of each audio architecture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from parity.audio import models

from benchmarks import encoder_models, encoder_share, encoder_work
from mata_cpp import _core


def test_all_architectures() -> None:
    assert set(encoder_models.SIZES) == set(encoder_work.USES) == set(models.ARCHS)


@pytest.mark.parametrize("arch", models.ARCHS)
def test_tokens(arch: str, tmp_path: Path) -> None:
    text = models.write_text(arch, tmp_path / "text.gguf")
    engine = _core.Engine(str(text), str(models.write_mmproj(arch, tmp_path / "mmproj.gguf")), n_ctx=2048, n_threads=1)
    for seconds in (1.0, 1.7, 7.003, 29.995, 30.0):
        n = round(seconds * engine.sample_rate)
        assert encoder_work.USES[arch](n).tokens == engine.count_audio_tokens(np.full(n, 0.1, np.float32)), seconds
    assert (encoder_work.USES[arch](16000).frames >= 3000) == (engine.padded_samples == 480000)
    engine.close()


@pytest.mark.parametrize("arch", models.ARCHS)
def test_another_size(arch: str, tmp_path: Path) -> None:
    """The files are as long as they say, fit each other and are heard; the tests' own sizes are back afterwards."""
    before = list(models.shapes(arch))
    size = encoder_models.SIZES[arch]
    small = replace(size, layers=size.layers and 4, width=size.width and 160, heads=size.heads and 8, n_embd=512)
    small = replace(small, width=640) if arch == "gemma4_unified" else small
    text, projector = encoder_models.write(arch, small, tmp_path)
    assert list(models.shapes(arch)) == before
    engine = _core.Engine(str(text), str(projector), n_ctx=512, n_threads=1)
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    assert engine.encode_audio(noise).embeddings.shape == (encoder_work.USES[arch](16000).tokens, 512)
    engine.close()


def test_whisper_large() -> None:
    """The sum that was made by hand: 2274 GFLOP for 1500 rows of 32 layers, 20.8 times as much as for 85."""
    _, share, whole = encoder_share.shares("qwen2_audio", encoder_models.SIZES["qwen2_audio"])
    assert whole == pytest.approx(2274e9, rel=0.01)
    assert 1 / share == pytest.approx(20.8, rel=0.01)
