"""Encoders of Whisper's kind: convolutions over the mel, then plain transformer layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from .sizes import (
    ARCHS,
    AUDIO_EMBD,
    AUDIO_FF,
    AUDIO_HEADS,
    GLM_STACK,
    N_CHANNELS,
    N_EMBD,
    N_MEL,
    N_POS,
    ULTRAVOX_MID,
    ULTRAVOX_STACK,
    VOXTRAL_STACK,
    Array,
)

Shapes = Iterator[tuple[str, tuple[int, ...]]]

OVER_BOTH = ("qwen3_omni", "qwen3_asr")  # their convolutions are over time and frequency
FORMULA = ("qwen2_5_omni", *OVER_BOTH)  # their positions are no parameters


def shapes(arch: str) -> Shapes:
    yield from _glm_shapes() if arch == "glmasr" else _encoder_shapes(arch)
    yield from _projector_shapes(arch)


def _convolutions(arch: str) -> Shapes:
    d, tower = ARCHS[arch].width, "audio_tower."
    if arch in OVER_BOTH:
        for i in (1, 2, 3):
            yield tower + f"conv2d{i}.weight", (N_CHANNELS, 1 if i == 1 else N_CHANNELS, 3, 3)
            yield tower + f"conv2d{i}.bias", (N_CHANNELS,)
        yield tower + "conv_out.weight", (d, N_CHANNELS * N_MEL // 8)
    else:
        for i in (1, 2):
            yield tower + f"conv{i}.weight", (d, N_MEL if i == 1 else d, 3)
            yield tower + f"conv{i}.bias", (d,)


def _encoder_shapes(arch: str) -> Shapes:
    d, tower = ARCHS[arch].width, "audio_tower."
    yield from _convolutions(arch)
    if arch not in FORMULA:
        yield tower + "embed_positions.weight", (N_POS, d)
    for il in range(ARCHS[arch].layers):
        layer = tower + f"layers.{il}."
        for name in ("q", "k", "v", "out"):
            yield layer + f"self_attn.{name}_proj.weight", (d, d)
            if name != "k" or arch in OVER_BOTH:
                yield layer + f"self_attn.{name}_proj.bias", (d,)
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            yield layer + name + ".weight", (d,)
            yield layer + name + ".bias", (d,)
        yield layer + "fc1.weight", (AUDIO_FF, d)
        yield layer + "fc1.bias", (AUDIO_FF,)
        yield layer + "fc2.weight", (d, AUDIO_FF)
        yield layer + "fc2.bias", (d,)
    norm = "ln_post" if arch in FORMULA else "layer_norm"
    yield tower + norm + ".weight", (d,)
    yield tower + norm + ".bias", (d,)


def _glm_shapes() -> Shapes:
    d, tower = AUDIO_EMBD, "audio_tower."
    yield from _convolutions("glmasr")
    for il in range(ARCHS["glmasr"].layers):
        layer = tower + f"layers.{il}."
        for name in ("q", "k", "v", "o"):
            yield layer + f"self_attn.{name}_proj.weight", (d, d)
            if name != "k":
                yield layer + f"self_attn.{name}_proj.bias", (d,)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield layer + name + ".weight", (d,)
            yield layer + name + ".bias", (d,)
        yield layer + "mlp.fc1.weight", (AUDIO_FF, d)
        yield layer + "mlp.fc1.bias", (AUDIO_FF,)
        yield layer + "mlp.fc2.weight", (d, AUDIO_FF)
        yield layer + "mlp.fc2.bias", (d,)
    yield tower + "norm.weight", (d,)
    yield tower + "norm.bias", (d,)


def _projector_shapes(arch: str) -> Shapes:
    d, projector, tower = ARCHS[arch].width, "multi_modal_projector.", "audio_tower."
    match arch:
        case "ultravox":
            yield projector + "ln_pre.weight", (d * ULTRAVOX_STACK,)
            yield projector + "linear_1.weight", (ULTRAVOX_MID, d * ULTRAVOX_STACK)
            yield projector + "ln_mid.weight", (ULTRAVOX_MID // 2,)
            yield projector + "linear_2.weight", (N_EMBD, ULTRAVOX_MID // 2)
        case "qwen2_audio":
            yield projector + "linear.weight", (N_EMBD, d)
            yield projector + "linear.bias", (N_EMBD,)
        case "audioflamingo3" | "musicflamingo":
            for i, n in ((1, d), (2, N_EMBD)):
                yield projector + f"linear_{i}.weight", (N_EMBD, n)
                yield projector + f"linear_{i}.bias", (N_EMBD,)
        case "voxtral":
            yield projector + "linear_1.weight", (N_EMBD, d * VOXTRAL_STACK)
            yield projector + "linear_2.weight", (N_EMBD, N_EMBD)
        case "glmasr":
            yield projector + "linear_1.weight", (2 * N_EMBD, d * GLM_STACK)
            yield projector + "linear_1.bias", (2 * N_EMBD,)
            yield projector + "linear_2.weight", (N_EMBD, 2 * N_EMBD)
            yield projector + "linear_2.bias", (N_EMBD,)
        case "qwen2_5_omni":
            yield tower + "proj.weight", (N_EMBD, d)
            yield tower + "proj.bias", (N_EMBD,)
        case "qwen3_omni":
            yield tower + "proj1.weight", (d, d)
            yield tower + "proj1.bias", (d,)
            yield tower + "proj2.weight", (N_EMBD, d)
            yield tower + "proj2.bias", (N_EMBD,)
        case "qwen3_asr":
            yield projector + "linear_1.weight", (d, d)
            yield projector + "linear_1.bias", (d,)
            yield projector + "linear_2.weight", (N_EMBD, d)
            yield projector + "linear_2.bias", (N_EMBD,)


def stored_only(arch: str) -> Shapes:
    """What the published files of GLM-ASR hold besides, and its reference does without."""
    if arch == "glmasr":
        yield "audio_tower.embed_positions.weight", (N_POS, AUDIO_EMBD)
        yield "audio_tower.bos_eos.weight", (2, N_EMBD)


def sinusoids() -> Array:
    """Positions of the Qwen encoders whose positions are a formula, [N_POS, AUDIO_EMBD]."""
    half = AUDIO_EMBD // 2
    scale = np.exp(-np.log(10000.0) / (half - 1) * np.arange(half, dtype=np.float32)).astype(np.float32)
    angle = np.arange(N_POS, dtype=np.float32)[:, None] * scale[None]
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def to_neighbours(x: Array) -> Array:
    """Rows of a query's or key's matrix (or bias), whose rotary halves become pairs of neighbours.

    transformers rotates (i, i + n/2) of the first n rows of a head, which are half of it; GLM-ASR's own files
    rotate (2i, 2i + 1).
    """
    heads = x.reshape(AUDIO_HEADS, AUDIO_EMBD // AUDIO_HEADS, *x.shape[1:]).copy()
    n = heads.shape[1] // 2
    heads[:, :n] = heads[:, :n].reshape(AUDIO_HEADS, 2, n // 2, *x.shape[1:]).swapaxes(1, 2).reshape(heads[:, :n].shape)
    return heads.reshape(x.shape)


# --- GGUF --------------------------------------------------------------------------------------------

NAMES = {
    "conv1": "a.conv1d.1", "conv2": "a.conv1d.2", "conv2d1": "a.conv2d.1", "conv2d2": "a.conv2d.2",
    "conv2d3": "a.conv2d.3", "conv_out": "a.conv_out", "embed_positions": "a.position_embd", "layer_norm": "a.post_ln",
    "ln_post": "a.post_ln", "proj": "mm.a.fc", "proj1": "mm.a.mlp.1", "proj2": "mm.a.mlp.2",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out", "self_attn_layer_norm": "ln1", "final_layer_norm": "ln2", "fc1": "ffn_up",
    "fc2": "ffn_down", "ln_pre": "mm.a.norm_pre", "ln_mid": "mm.a.norm_mid", "linear": "mm.a.fc",
    "linear_1": "mm.a.mlp.1", "linear_2": "mm.a.mlp.2",
    # GLM-ASR's names in transformers
    "norm": "mm.a.norm_pre", "self_attn.o_proj": "attn_out", "input_layernorm": "ln1",
    "post_attention_layernorm": "ln2", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
}  # fmt: skip


def tensors(arch: str, parameters: Mapping[str, Array]) -> Iterator[tuple[str, NDArray]]:
    for name, x in parameters.items():
        if not name.startswith(("audio_tower.", "multi_modal_projector.")):
            continue
        module, _, kind = name.partition(".")[2].rpartition(".")
        if module == "bos_eos":
            yield "v.boi", x[0]
            yield "v.eoi", x[1]
            continue
        layer = re.match(r"layers\.(\d+)\.(.*)", module)
        new = f"a.blk.{layer[1]}.{NAMES[layer[2]]}" if layer else NAMES[module]
        if module.startswith("conv"):
            if kind == "bias":
                x = x.reshape(-1, *[1] * (2 if "2d" in module else 1))
            elif ARCHS[arch].halves:
                x = x.astype(np.float16)
        if arch == "glmasr" and module.endswith(("q_proj", "k_proj")):
            x = to_neighbours(x)
        yield f"{new}.{kind}", x
    if arch in FORMULA:
        yield "a.position_embd.weight", sinusoids()


def keys(arch: str) -> Iterator[tuple[str, object]]:
    about = ARCHS[arch]
    yield "clip.audio.projector_type" if arch in OVER_BOTH else "clip.projector_type", about.projector
    yield "clip.audio.embedding_length", about.width
    yield "clip.audio.feed_forward_length", AUDIO_FF
    yield "clip.audio.block_count", about.layers
    yield "clip.audio.attention.head_count", AUDIO_HEADS
    yield "clip.audio.num_mel_bins", N_MEL
    yield "clip.audio.attention.layer_norm_epsilon", 1e-5
    if about.stack:
        yield "clip.audio.projector.stack_factor", about.stack
