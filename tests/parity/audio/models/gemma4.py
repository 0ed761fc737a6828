"""Gemma 4's ears: the conformer of E2B, and the single matrix of 12B, which hears samples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from . import gemma4_text
from .sizes import ARCHS, AUDIO_EMBD, AUDIO_FF, AUDIO_HEADS, N_EMBD, N_MEL, Array

CHANNELS = (N_MEL, 32)  # the pin takes the first for the mel bands
N_OUT, KERNEL, SAMPLES = 40, 5, 640
CLAMPS = ("input_min", "input_max", "output_min", "output_max")

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def shapes(arch: str) -> Shapes:
    if arch == "gemma4_unified":
        yield "embed_audio.embedding_projection.weight", (N_EMBD, SAMPLES)
        return
    d, tower = AUDIO_EMBD, "audio_tower."
    for i, into in enumerate((1, CHANNELS[0])):
        yield tower + f"subsample_conv_projection.layer{i}.conv.weight", (CHANNELS[i], into, 3, 3)
        yield tower + f"subsample_conv_projection.layer{i}.norm.weight", (CHANNELS[i],)
    yield tower + "subsample_conv_projection.input_proj_linear.weight", (d, CHANNELS[1] * N_MEL // 4)
    for il in range(ARCHS[arch].layers):
        layer = tower + f"layers.{il}."
        linears = {"self_attn.post": (d, d), "lconv1d.linear_start": (2 * d, d), "lconv1d.linear_end": (d, d)}
        linears |= {f"self_attn.{name}_proj": (d, d) for name in "qkv"}
        for name in ("feed_forward1", "feed_forward2"):
            linears |= {f"{name}.ffw_layer_1": (AUDIO_FF, d), f"{name}.ffw_layer_2": (d, AUDIO_FF)}
            yield layer + name + ".pre_layer_norm.weight", (d,)
            yield layer + name + ".post_layer_norm.weight", (d,)
        for name, shape in linears.items():
            yield layer + name + ".linear.weight", shape
            for clamp in CLAMPS:
                yield layer + f"{name}.{clamp}", ()
        yield layer + "self_attn.per_dim_scale", (d // AUDIO_HEADS,)
        yield layer + "self_attn.relative_k_proj.weight", (d, d)
        yield layer + "lconv1d.depthwise_conv1d.weight", (d, 1, KERNEL)
        for name in ("lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm_pre_attn", "norm_post_attn", "norm_out"):
            yield layer + name + ".weight", (d,)
    yield tower + "output_proj.weight", (N_OUT, d)
    yield tower + "output_proj.bias", (N_OUT,)
    yield "embed_audio.embedding_projection.weight", (N_EMBD, N_OUT)


def gain(name: str, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """(mean, standard deviation) of what the general rule does not know."""
    if name.startswith("language_model."):
        return gemma4_text.gain(name, shape)
    if name.startswith("embed_audio."):
        return 0.0, 1.0 / shape[1] ** 0.5
    if name.endswith(CLAMPS):  # a few values of a hundred are clamped
        return (-2.4 if name.endswith("min") else 2.4), 0.2
    if name.endswith("per_dim_scale"):
        return 0.0, 0.5
    return None


# --- GGUF --------------------------------------------------------------------------------------------

NAMES = {
    "subsample_conv_projection.layer0.conv": "a.conv1d.0", "subsample_conv_projection.layer0.norm": "a.conv1d.0.norm",
    "subsample_conv_projection.layer1.conv": "a.conv1d.1", "subsample_conv_projection.layer1.norm": "a.conv1d.1.norm",
    "subsample_conv_projection.input_proj_linear": "a.input_projection", "output_proj": "a.pre_encode.out",
    "embedding_projection": "mm.a.input_projection", "feed_forward1.ffw_layer_1": "ffn_up",
    "feed_forward1.ffw_layer_2": "ffn_down", "feed_forward1.pre_layer_norm": "ffn_norm",
    "feed_forward1.post_layer_norm": "ffn_post_norm", "feed_forward2.ffw_layer_1": "ffn_up_1",
    "feed_forward2.ffw_layer_2": "ffn_down_1", "feed_forward2.pre_layer_norm": "ffn_norm_1",
    "feed_forward2.post_layer_norm": "ffn_post_norm_1", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.post": "attn_out", "self_attn.relative_k_proj": "attn_k_rel",
    "norm_pre_attn": "attn_pre_norm", "norm_post_attn": "attn_post_norm", "norm_out": "ln2",
    "lconv1d.linear_start": "conv_pw1", "lconv1d.linear_end": "conv_pw2", "lconv1d.depthwise_conv1d": "conv_dw",
    "lconv1d.pre_layer_norm": "conv_norm", "lconv1d.conv_norm": "norm_conv",  # the converter confuses these two
}  # fmt: skip


def tensors(arch: str, parameters: Mapping[str, Array]) -> Iterator[tuple[str, NDArray]]:
    for name, x in parameters.items():
        if not name.startswith(("audio_tower.", "embed_audio.")):
            continue
        module, _, kind = name.partition(".")[2].replace(".linear.", ".").rpartition(".")
        layer = re.match(r"layers\.(\d+)\.(.*)", module)
        block, module = (f"a.blk.{layer[1]}.", layer[2]) if layer else ("", module)
        if kind == "per_dim_scale":
            yield f"{block}per_dim_scale.weight", np.logaddexp(0, x)
            continue
        if kind in CLAMPS:
            x = x.reshape(1)
        elif module == "lconv1d.depthwise_conv1d":
            x = x.reshape(x.shape[0], -1)
        yield f"{block}{NAMES[module]}.{kind}", x


def keys(arch: str) -> Iterator[tuple[str, object]]:
    unified = arch == "gemma4_unified"
    yield "clip.audio.projector_type", ARCHS[arch].projector
    yield "clip.audio.embedding_length", SAMPLES if unified else AUDIO_EMBD
    yield "clip.audio.feed_forward_length", 0 if unified else AUDIO_FF
    yield "clip.audio.block_count", 0 if unified else ARCHS[arch].layers
    yield "clip.audio.attention.head_count", 0 if unified else AUDIO_HEADS
    yield "clip.audio.num_mel_bins", N_MEL
    yield "clip.audio.attention.layer_norm_epsilon", 1e-6
