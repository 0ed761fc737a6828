"""Random-weight models of realistic shape: speed does not depend on what the weights say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Q4_0_BLOCK = 32


def q4_0(rng: np.random.Generator, rows: int, columns: int, std: float) -> NDArray[np.uint8]:
    """Random Q4_0 data [rows, columns/32*18]: per 32 weights a float16 scale and 16 bytes of 4-bit values."""
    blocks = rows * columns // Q4_0_BLOCK
    data = rng.integers(0, 256, size=(blocks, 18), dtype=np.uint8)
    scale = np.float16(std / 4.6)  # the standard deviation of uniform values -8..7
    data[:, :2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    return data.reshape(rows, columns // Q4_0_BLOCK * 18)


def write_qwen2(
    path: Path,
    *,
    n_layer: int = 20,
    n_embd: int = 1536,
    n_ff: int = 8960,
    n_head: int = 12,
    n_head_kv: int = 2,
    n_vocab: int = 32000,
    seed: int = 0,
) -> Path:
    """A Qwen2 model with Q4_0 weights (about 1.0 B parameters by default) and a vocabulary of made-up tokens."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_name("random Qwen2 shape")
    writer.add_context_length(32768)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_head_kv)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"<{i}>" for i in range(n_vocab)])
    writer.add_token_types([gguf.TokenType.NORMAL] * n_vocab)
    writer.add_token_merges(["< 0"])
    writer.add_eos_token_id(0)

    def matrices() -> Iterator[tuple[str, int, int]]:
        yield "token_embd.weight", n_vocab, n_embd
        yield "output.weight", n_vocab, n_embd
        kv = n_embd // n_head * n_head_kv
        for i in range(n_layer):
            yield f"blk.{i}.attn_q.weight", n_embd, n_embd
            yield f"blk.{i}.attn_k.weight", kv, n_embd
            yield f"blk.{i}.attn_v.weight", kv, n_embd
            yield f"blk.{i}.attn_output.weight", n_embd, n_embd
            yield f"blk.{i}.ffn_gate.weight", n_ff, n_embd
            yield f"blk.{i}.ffn_up.weight", n_ff, n_embd
            yield f"blk.{i}.ffn_down.weight", n_embd, n_ff

    for name, rows, columns in matrices():
        writer.add_tensor(name, q4_0(rng, rows, columns, 0.02), raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def vector(name: str, size: int, value: float) -> None:
        writer.add_tensor(name, np.full(size, value, dtype=np.float32))

    vector("output_norm.weight", n_embd, 1.0)
    kv = n_embd // n_head * n_head_kv
    for i in range(n_layer):
        vector(f"blk.{i}.attn_norm.weight", n_embd, 1.0)
        vector(f"blk.{i}.ffn_norm.weight", n_embd, 1.0)
        vector(f"blk.{i}.attn_q.bias", n_embd, 0.1)
        vector(f"blk.{i}.attn_k.bias", kv, 0.1)
        vector(f"blk.{i}.attn_v.bias", kv, 0.1)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
