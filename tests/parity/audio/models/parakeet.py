"""Parakeet, the ears of Nemotron-H omni: a conformer with relative positions over all of a clip.

Only the encoder is of that model: the language model beside it is a plain one.  Matrices and convolutions of the
layers have no biases, and the convolved input is not scaled: the pin knows of no other form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from .sizes import ARCHS, AUDIO_EMBD, AUDIO_FF, AUDIO_HEADS, N_CHANNELS, N_EMBD, N_MEL, Array

KERNEL, N_MID, N_FFT, WINDOW = 9, 96, 512, 400

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def shapes(arch: str) -> Shapes:
    d, c, tower = AUDIO_EMBD, N_CHANNELS, "audio_tower."
    for i, shape in {0: (c, 1, 3, 3), 2: (c, 1, 3, 3), 3: (c, c, 1, 1), 5: (c, 1, 3, 3), 6: (c, c, 1, 1)}.items():
        yield tower + f"subsampling.layers.{i}.weight", shape
        yield tower + f"subsampling.layers.{i}.bias", (c,)
    yield tower + "subsampling.linear.weight", (d, c * N_MEL // 8)
    yield tower + "subsampling.linear.bias", (d,)
    for il in range(ARCHS[arch].layers):
        layer = tower + f"layers.{il}."
        for name in ("feed_forward1", "feed_forward2"):
            yield layer + f"{name}.linear1.weight", (AUDIO_FF, d)
            yield layer + f"{name}.linear2.weight", (d, AUDIO_FF)
        for name in ("bias_u", "bias_v"):
            yield layer + f"self_attn.{name}", (AUDIO_HEADS, d // AUDIO_HEADS)
        for name in "qkvo":
            yield layer + f"self_attn.{name}_proj.weight", (d, d)
        yield layer + "self_attn.relative_k_proj.weight", (d, d)
        yield layer + "conv.pointwise_conv1.weight", (2 * d, d, 1)
        yield layer + "conv.depthwise_conv.weight", (d, 1, KERNEL)
        for name in ("weight", "bias", "running_mean", "running_var"):
            yield layer + f"conv.norm.{name}", (d,)
        yield layer + "conv.pointwise_conv2.weight", (d, d, 1)
        for name in ("feed_forward1", "self_att", "conv", "feed_forward2", "out"):
            yield layer + f"norm_{name}.weight", (d,)
            yield layer + f"norm_{name}.bias", (d,)
    yield "embed_audio.layer_norm.weight", (d,)
    yield "embed_audio.linear_1.weight", (N_MID, d)
    yield "embed_audio.linear_2.weight", (N_EMBD, N_MID)


def gain(name: str, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """(mean, standard deviation) of what the general rule does not know."""
    if name.startswith("embed_audio.linear"):
        return 0.0, 1.0 / shape[1] ** 0.5
    if name.endswith(("running_mean", "bias_u", "bias_v")):
        return 0.0, 0.3
    if name.endswith("running_var"):
        return 1.0, 0.1
    return None


def mel_filters() -> Array:
    """Slaney's triangles of equal area, [1, N_MEL, N_FFT / 2 + 1], as the published files hold them."""
    knee, step = 1000.0, 200.0 / 3
    linear = knee / step

    def to_mel(f: NDArray) -> NDArray:
        return np.where(f < knee, f / step, linear + np.log(np.maximum(f, knee) / knee) * 27 / np.log(6.4))

    def to_hertz(m: NDArray) -> NDArray:
        return np.where(m < linear, m * step, knee * np.exp(np.log(6.4) / 27 * (m - linear)))

    edges = to_hertz(np.linspace(to_mel(np.array(0.0)), to_mel(np.array(8000.0)), N_MEL + 2))
    bins = np.linspace(0, 8000, N_FFT // 2 + 1)
    slopes = edges[:, None] - bins[None]
    rise, fall = -slopes[:-2] / np.diff(edges)[:-1, None], slopes[2:] / np.diff(edges)[1:, None]
    made = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return made.astype(np.float32)[None]


def window() -> Array:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))).astype(np.float32)


# --- GGUF --------------------------------------------------------------------------------------------

NAMES = {
    "subsampling.linear": "a.pre_encode.out", "feed_forward1.linear1": "ffn_up", "feed_forward1.linear2": "ffn_down",
    "feed_forward2.linear1": "ffn_up_1", "feed_forward2.linear2": "ffn_down_1", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_out",
    "self_attn.relative_k_proj": "linear_pos", "conv.pointwise_conv1": "conv_pw1", "conv.pointwise_conv2": "conv_pw2",
    "conv.depthwise_conv": "conv_dw", "conv.norm": "conv_norm", "norm_feed_forward1": "ffn_norm",
    "norm_self_att": "ln1", "norm_conv": "norm_conv", "norm_feed_forward2": "ffn_norm_1", "norm_out": "ln2",
    "layer_norm": "mm.a.norm_pre", "linear_1": "mm.a.mlp.1", "linear_2": "mm.a.mlp.2",
}  # fmt: skip
SEEN = (0, 1, 3)  # of the projector of images, which the loader asks for


def tensors(arch: str, parameters: Mapping[str, Array]) -> Iterator[tuple[str, NDArray]]:
    for name, x in parameters.items():
        if not name.startswith(("audio_tower.", "embed_audio.")):
            continue
        module, _, kind = name.partition(".")[2].rpartition(".")
        layer = re.match(r"layers\.(\d+)\.(.*)", module)
        block, module = (f"a.blk.{layer[1]}.", layer[2]) if layer else ("", module)
        if kind.startswith("running_"):
            yield f"{block}conv_norm_{kind.removeprefix('running_')}", x
        elif module == "self_attn":
            yield f"{block}pos_{kind}", x
        elif module.startswith("subsampling.layers."):
            x = x.reshape(1, -1, 1, 1) if kind == "bias" else x
            yield f"a.conv1d.{module.rpartition('.')[2]}.{kind}", x
        else:
            if module == "conv.depthwise_conv" and kind == "weight":
                x = x[..., None].transpose(3, 1, 0, 2)
            elif module.startswith("conv.pointwise"):
                x = x[..., 0]
            yield f"{block}{NAMES[module]}.{kind}", x
    yield "a.mel_filters", mel_filters()
    yield "a.window", window()
    for i in SEEN:
        yield f"mm.model.mlp.{i}.weight", np.zeros((N_EMBD, N_EMBD) if i else N_EMBD, np.float32)


def keys(arch: str) -> Iterator[tuple[str, object]]:
    yield "clip.audio.projector_type", ARCHS[arch].projector
    yield "clip.audio.embedding_length", AUDIO_EMBD
    yield "clip.audio.feed_forward_length", AUDIO_FF
    yield "clip.audio.block_count", ARCHS[arch].layers
    yield "clip.audio.attention.head_count", AUDIO_HEADS
    yield "clip.audio.num_mel_bins", N_MEL
    yield "clip.audio.attention.layer_norm_epsilon", 1e-5
    yield "clip.audio.subsampling_factor", 8
    yield "clip.audio.conv_kernel_size", KERNEL
