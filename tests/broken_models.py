"""Files that a user may hand over by mistake or that a download has spoilt, made from the tiny models.

Each must end in a message that names the file, never in the end of the process.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tiny_models import CONFIGS, ProjectorConfig, write_lora, write_mmproj, write_model

LLAMA = CONFIGS["llama"]


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _cut(write: Callable[[Path], object], keep: float) -> Callable[[Path], object]:
    """The first part of a good file; 0.999 loses only the end of the last tensor."""

    def cut(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return cut


def _header(n_tensors: int, n_kv: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_kv) + rest


def _model(**overrides: int) -> Callable[[Path], object]:
    return lambda path: write_model(path, LLAMA, overrides={k.replace("__", "."): v for k, v in overrides.items()})


def _projector(**overrides: int) -> Callable[[Path], object]:
    return lambda path: write_mmproj(path, overrides={k.replace("__", "."): v for k, v in overrides.items()})


def _not_numbers(path: Path) -> None:
    """A well-formed model that computes NaN."""
    write_model(path, LLAMA)
    reader = gguf.GGUFReader(path, "r+")
    next(t for t in reader.tensors if t.name == "output.weight").data[...] = np.nan
    reader.data.flush()


def _shaped(name: str = "llama", **changes: Any) -> Callable[[Path], object]:
    """A model whose file is consistent but whose shape cannot be computed with."""
    return lambda path: write_model(path, dataclasses.replace(CONFIGS[name], **changes))


def _vocab_with_duplicate(path: Path) -> None:
    write_model(path, LLAMA)
    # Two entries of one spelling: same length, so the file can be edited in place.
    data = path.read_bytes()
    path.write_bytes(data.replace(b"<|unused_319|>", b"<|unused_318|>").replace(b"what", b"hear"))


def _unknown_arch(path: Path) -> None:
    write_model(path, dataclasses.replace(LLAMA, arch="nosuch"))


def _missing_tensor(path: Path) -> None:
    write_model(path, dataclasses.replace(LLAMA, n_layer=5), overrides={"block_count": 6})


def _vision_projector(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    for key, value in {
        "image_size": 28, "patch_size": 14, "embedding_length": 32, "feed_forward_length": 64, "block_count": 1,
        "attention.head_count": 2, "projection_dim": LLAMA.n_embd,
    }.items():  # fmt: skip
        writer.add_uint32("clip.vision." + key, value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    writer.add_tensor("v.patch_embd.weight", np.zeros((32, 3, 14, 14), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _unknown_projector(path: Path) -> None:
    write_mmproj(path)
    path.write_bytes(path.read_bytes().replace(b"ultravox", b"nosuchpr"))


def _key_bias(path: Path) -> None:
    write_mmproj(path, extra={"a.blk.0.attn_k.bias": np.zeros(96, dtype=np.float32)})


GARBAGE = bytes(np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8))

BROKEN_MODELS: dict[str, Callable[[Path], object]] = {
    "empty": _bytes(b""),
    "garbage": _bytes(GARBAGE),
    "magic_only": _bytes(b"GGUF"),
    "cut_in_metadata": _cut(_model(), 0.0002),
    "cut_in_vocabulary": _cut(_model(), 0.0008),
    "cut_tensor_data": _cut(_model(), 0.5),
    "cut_last_bytes": _cut(_model(), 0.999),
    "huge_tensor_count": _bytes(_header(2**60, 0)),
    "huge_metadata_count": _bytes(_header(0, 2**60)),
    "huge_string": _bytes(_header(0, 1, struct.pack("<Q", 2**62) + b"abc")),
    "no_tokenizer": lambda path: write_model(path, LLAMA, tokenizer=False),
    "vocabulary_with_duplicates": _vocab_with_duplicate,
    "unknown_architecture": _unknown_arch,
    "missing_tensor": _missing_tensor,
    "zero_layers": _model(block_count=0),
    "too_many_layers": _model(block_count=100000),
    "zero_heads": _model(attention__head_count=0),
    "zero_kv_heads": _model(attention__head_count_kv=0),
    "heads_not_a_multiple_of_kv_heads": _model(attention__head_count_kv=3),
    "three_kv_heads_of_eight": _shaped(n_head_kv=3),
    "odd_head_size": _shaped(head_dim=31),
    "rope_sections_of_nothing": _shaped("qwen2vl", rope_sections=(0, 0, 0, 0)),
    "rope_sections_beyond_the_head": _shaped("qwen2vl", rope_sections=(100, 100, 100, 0)),
    "negative_rope_sections": _shaped("qwen2vl", rope_sections=(-4, 6, 6, 0)),
    "window_without_width": _shaped("gemma3", window=2**32 - 1),
    "not_numbers": _not_numbers,
    "zero_head_size": _model(attention__key_length=0, attention__value_length=0),
    "zero_width": _model(embedding_length=0),
    "huge_width": _model(embedding_length=2**31 - 1),
    "zero_context": _model(context_length=0),
    "experts_without_use": _model(expert_count=2),
}  # fmt: skip

BROKEN_PROJECTORS: dict[str, Callable[[Path], object]] = {
    "empty": _bytes(b""),
    "garbage": _bytes(GARBAGE),
    "cut_in_metadata": _cut(write_mmproj, 0.0002),
    "cut_tensor_data": _cut(write_mmproj, 0.5),
    "cut_last_bytes": _cut(write_mmproj, 0.999),
    "huge_tensor_count": _bytes(_header(2**60, 0)),
    "text_model": _model(),
    "vision_only": _vision_projector,
    "unknown_projector": _unknown_projector,
    "other_width": lambda path: write_mmproj(path, ProjectorConfig(n_embd_text=192)),
    "wrong_projection_dim": _projector(projection_dim=192),
    "missing_tensor": lambda path: write_mmproj(path, leave_out=("mm.a.mlp.2.weight",)),
    "missing_query_bias": lambda path: write_mmproj(path, leave_out=("a.blk.0.attn_q.bias",)),
    "key_bias": _key_bias,
    "missing_positions": lambda path: write_mmproj(path, leave_out=("a.position_embd.weight",)),
    "zero_layers": _projector(block_count=0),
    "zero_heads": _projector(attention__head_count=0),
    "heads_do_not_divide": _projector(attention__head_count=5),
    "zero_stack": _projector(projector__stack_factor=0),
    "other_stack": _projector(projector__stack_factor=4),
    "huge_stack": _projector(projector__stack_factor=2**31 - 1),
    "zero_mel_bins": _projector(num_mel_bins=0),
    "other_mel_bins": _projector(num_mel_bins=128),
    "other_width_of_encoder": _projector(embedding_length=128),
    "huge_width_of_encoder": _projector(embedding_length=2**31 - 1),
    "prompt_rule_of_no_text": lambda path: write_mmproj(path, prompt=7),
    "prompt_rule_of_many": lambda path: write_mmproj(path, prompt=["plain", "ultravox"]),
    "prompt_rule_of_bytes": lambda path: write_mmproj(path, prompt=b"\xff\xfe"),
    "prompt_rule_of_escapes": lambda path: write_mmproj(path, prompt="\x1b[31mplain"),
    "prompt_rule_too_long": lambda path: write_mmproj(path, prompt="plain" * 100000),
}

BROKEN_ADAPTERS: dict[str, Callable[[Path], object]] = {
    "empty": _bytes(b""),
    "garbage": _bytes(GARBAGE),
    "cut_tensor_data": _cut(lambda path: write_lora(path, LLAMA), 0.5),
    "text_model": _model(),
    "other_architecture": lambda path: write_lora(path, CONFIGS["qwen2"]),
    "other_width": lambda path: write_lora(path, dataclasses.replace(LLAMA, n_embd=128)),
    "more_layers": lambda path: write_lora(path, dataclasses.replace(LLAMA, n_layer=7)),
}


def write_broken(folder: Path, kind: dict[str, Callable[[Path], object]], name: str) -> Path:
    """Write one of BROKEN_MODELS, BROKEN_PROJECTORS or BROKEN_ADAPTERS into folder."""
    path = folder / f"{name}.gguf"
    kind[name](path)
    return path
