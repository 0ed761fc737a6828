"""A model whose layers have no attention: MATA is refused with a reason, all else works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tiny_models import add_vocab, finish

N_LAYER = 2


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Mamba model."""
    path = tmp_path_factory.mktemp("mamba") / "mamba.gguf"
    n_embd, n_inner, n_state, n_rank, width = 64, 128, 16, 4, 4
    writer = gguf.GGUFWriter(path, "mamba")
    for key, value in {
        "context_length": 512, "embedding_length": n_embd, "block_count": N_LAYER, "feed_forward_length": 0,
        "attention.head_count": 0, "ssm.conv_kernel": width, "ssm.inner_size": n_inner, "ssm.state_size": n_state,
        "ssm.time_step_rank": n_rank,
    }.items():  # fmt: skip
        writer.add_uint32("mamba." + key, value)
    writer.add_layer_norm_rms_eps(1e-5)
    n_vocab = add_vocab(writer, "bpe")
    rng = np.random.default_rng(9)

    def random(name: str, *shape: int) -> None:
        writer.add_tensor(name, (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32))

    random("token_embd.weight", n_vocab, n_embd)
    random("output_norm.weight", n_embd)
    for il in range(N_LAYER):
        b = f"blk.{il}."
        random(b + "attn_norm.weight", n_embd)
        random(b + "ssm_in.weight", 2 * n_inner, n_embd)
        random(b + "ssm_conv1d.weight", n_inner, width)
        random(b + "ssm_conv1d.bias", n_inner)
        random(b + "ssm_x.weight", n_rank + 2 * n_state, n_inner)
        random(b + "ssm_dt.weight", n_inner, n_rank)
        random(b + "ssm_dt.bias", n_inner)
        writer.add_tensor(b + "ssm_a", -np.ones((n_inner, n_state), dtype=np.float32))
        random(b + "ssm_d", n_inner)
        random(b + "ssm_out.weight", n_embd, n_inner)
    finish(writer)
    return path


@pytest.fixture(scope="module")
def engine(mamba: Path) -> Any:
    from mata_cpp import _core

    engine = _core.Engine(str(mamba), n_ctx=128, n_threads=1)
    yield engine
    engine.close()


def test_says_why(engine: Any) -> None:
    assert "attention" in engine.mata_refusal


def test_setting_is_refused(engine: Any) -> None:
    from mata_cpp.errors import MataError

    session = engine.session()
    with pytest.raises(MataError, match="attention"):
        session.set_mata("scale", [0.1] * N_LAYER, [(0, 2, 1.0)])
    with pytest.raises((MataError, ValueError)):
        session.set_attention_readout([0])
    session.feed_tokens([20, 30, 40])
    assert np.isfinite(session.logits()).all()
    session.close()


def test_good_models_are_not_refused(engines: Any) -> None:
    for name in ("llama", "qwen2vl", "gemma2", "lfm2"):
        assert engines(name).mata_refusal == ""
