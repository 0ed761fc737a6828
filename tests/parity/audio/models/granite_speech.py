"""Granite Speech: a conformer over stacked mel frames, then a Q-Former of windows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from .sizes import ARCHS, AUDIO_EMBD, AUDIO_FF, AUDIO_HEADS, N_EMBD, Array

N_MEL_STACKED = 160  # two frames of 80
BLOCK, MAX_POSITION, KERNEL, N_CTC = 200, 512, 15, 10
WINDOW, DOWNSAMPLE, N_QFORMER, QFORMER_FF = 15, 5, 2, 96

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _linear(name: str, out: int, into: int, bias: bool = True) -> Shapes:
    yield name + ".weight", (out, into)
    if bias:
        yield name + ".bias", (out,)


def _norm(name: str, n: int) -> Shapes:
    yield name + ".weight", (n,)
    yield name + ".bias", (n,)


def shapes(arch: str) -> Shapes:
    d, inner = AUDIO_EMBD, 2 * AUDIO_EMBD
    yield from _linear("encoder.input_linear", d, N_MEL_STACKED)
    for il in range(ARCHS[arch].layers):
        layer = f"encoder.layers.{il}."
        for name in ("ff1", "ff2"):
            yield from _norm(layer + name + ".pre_norm", d)
            yield from _linear(layer + name + ".up_proj", AUDIO_FF, d)
            yield from _linear(layer + name + ".down_proj", d, AUDIO_FF)
        yield from _norm(layer + "attn.pre_norm", d)
        yield from _linear(layer + "attn.to_q", d, d, bias=False)
        yield from _linear(layer + "attn.to_kv", 2 * d, d, bias=False)
        yield from _linear(layer + "attn.to_out", d, d)
        yield layer + "attn.rel_pos_emb.weight", (2 * MAX_POSITION + 1, d // AUDIO_HEADS)
        yield from _norm(layer + "conv.norm", d)
        yield layer + "conv.up_conv.weight", (2 * inner, d, 1)
        yield layer + "conv.up_conv.bias", (2 * inner,)
        yield layer + "conv.depth_conv.conv.weight", (inner, 1, KERNEL)
        yield from _norm(layer + "conv.batch_norm", inner)
        yield layer + "conv.batch_norm.running_mean", (inner,)
        yield layer + "conv.batch_norm.running_var", (inner,)
        yield layer + "conv.down_conv.weight", (d, inner, 1)
        yield layer + "conv.down_conv.bias", (d,)
        yield from _norm(layer + "post_norm", d)
    yield from _linear("encoder.out", N_CTC, d)
    yield from _linear("encoder.out_mid", d, N_CTC)
    yield "projector.query", (1, WINDOW // DOWNSAMPLE, d)
    yield from _norm("projector.qformer.layernorm", d)
    for il in range(N_QFORMER):
        layer = f"projector.qformer.encoder.layer.{il}."
        for name in ("attention", "crossattention"):
            for part in ("query", "key", "value"):
                yield from _linear(layer + f"{name}.attention.{part}", d, d)
            yield from _linear(layer + f"{name}.output.dense", d, d)
            yield from _norm(layer + f"{name}.output.LayerNorm", d)
        yield from _linear(layer + "intermediate_query.dense", QFORMER_FF, d)
        yield from _linear(layer + "output_query.dense", d, QFORMER_FF)
        yield from _norm(layer + "output_query.LayerNorm", d)
    yield from _linear("projector.linear", N_EMBD, d)


def gain(name: str, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """(mean, standard deviation) of what the general rule does not know."""
    if name.endswith("LayerNorm.weight"):
        return 1.0, 0.1
    if name.endswith(("running_mean", "rel_pos_emb.weight", "projector.query")):
        return 0.0, 0.2 if name.endswith("mean") else 1.0
    if name == "lm_head.weight":
        return 0.0, 4.0 / shape[1] ** 0.5  # logits are divided
    if name.endswith("running_var"):
        return 1.0, 0.1
    if re.search(r"to_q\.|to_kv\.|\.query\.|\.key\.", name) and name.endswith("weight"):
        return 0.0, float(1.5 / np.sqrt(shape[1]))
    return None


# --- GGUF --------------------------------------------------------------------------------------------

NAMES = {
    "encoder.input_linear": "a.input_projection", "encoder.out": "a.enc_ctc_out",
    "encoder.out_mid": "a.enc_ctc_out_mid",
    "projector.qformer.layernorm": "a.proj_norm", "projector.linear": "a.proj_linear", "ff1.pre_norm": "ffn_norm",
    "ff1.up_proj": "ffn_up", "ff1.down_proj": "ffn_down", "ff2.pre_norm": "ffn_norm_1", "ff2.up_proj": "ffn_up_1",
    "ff2.down_proj": "ffn_down_1", "attn.pre_norm": "ln1", "attn.to_q": "attn_q", "attn.to_out": "attn_out",
    "conv.norm": "norm_conv", "conv.up_conv": "conv_pw1", "conv.down_conv": "conv_pw2",
    "conv.depth_conv.conv": "conv_dw", "post_norm": "ln2", "attention.attention.query": "self_attn_q",
    "attention.attention.key": "self_attn_k", "attention.attention.value": "self_attn_v",
    "attention.output.dense": "self_attn_out", "attention.output.LayerNorm": "self_attn_norm",
    "crossattention.attention.query": "cross_attn_q", "crossattention.attention.key": "cross_attn_k",
    "crossattention.attention.value": "cross_attn_v", "crossattention.output.dense": "cross_attn_out",
    "crossattention.output.LayerNorm": "cross_attn_norm", "intermediate_query.dense": "ffn_up",
    "output_query.dense": "ffn_down", "output_query.LayerNorm": "ffn_norm",
}  # fmt: skip

CONVERTED, WANTED = "conv_norm_var", "conv_norm"
"""The pin's converter writes the batch norm under one name, and its loader reads the other."""


def tensors(arch: str, parameters: Mapping[str, Array], norm: str = WANTED) -> Iterator[tuple[str, NDArray]]:
    """norm: the name of the batch norm, of which the converter makes a factor and an addend."""
    for name, x in parameters.items():
        if not name.startswith(("encoder.", "projector.")):
            continue
        layer = re.match(r"encoder\.layers\.(\d+)\.(.*)|projector\.qformer\.encoder\.layer\.(\d+)\.(.*)", name)
        if name == "projector.query":
            yield "a.proj_query", x
        elif layer is None:
            module, _, kind = name.rpartition(".")
            yield f"{NAMES[module]}.{kind}", x
        else:
            block = f"a.blk.{layer[1]}." if layer[1] else f"a.proj_blk.{layer[3]}."
            module, _, kind = (layer[2] or layer[4]).rpartition(".")
            if module == "conv.batch_norm":
                if kind == "weight":
                    stem = name.removesuffix("weight")
                    factor = x / np.sqrt(parameters[stem + "running_var"] + np.float32(1e-5))
                    yield f"{block}{norm}.weight", factor
                    yield f"{block}{norm}.bias", parameters[stem + "bias"] - parameters[stem + "running_mean"] * factor
            elif module == "attn.to_kv":
                yield f"{block}attn_k.weight", x[:AUDIO_EMBD]
                yield f"{block}attn_v.weight", x[AUDIO_EMBD:]
            elif module == "attn.rel_pos_emb":
                yield f"{block}attn_rel_pos_emb", x
            else:
                x = x.reshape(x.shape[0], -1) if module.startswith("conv.") and x.ndim == 3 else x
                yield f"{block}{NAMES[module]}.{kind}", x


def keys(arch: str) -> Iterator[tuple[str, object]]:
    yield "clip.projector_type", ARCHS[arch].projector
    yield "clip.audio.embedding_length", AUDIO_EMBD
    yield "clip.audio.feed_forward_length", AUDIO_FF
    yield "clip.audio.block_count", ARCHS[arch].layers
    yield "clip.audio.attention.head_count", AUDIO_HEADS
    yield "clip.audio.num_mel_bins", N_MEL_STACKED
    yield "clip.audio.attention.layer_norm_epsilon", 1e-5
    yield "clip.audio.chunk_size", BLOCK
    yield "clip.audio.conv_kernel_size", KERNEL
    yield "clip.audio.max_pos_emb", MAX_POSITION
    yield "clip.audio.projector.window_size", WINDOW
    yield "clip.audio.projector.downsample_rate", DOWNSAMPLE
    yield "clip.audio.projector.head_count", AUDIO_HEADS
