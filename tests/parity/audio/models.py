"""Tiny random models of the six audio architectures whose clips become tokens as in the reference.

The parameters are made by name from a frozen random stream, so the models exist without torch.  Names and
shapes are those of the reference's state dict (write_references.py loads them there); ``write_gguf`` writes
what the converter of the pinned llama.cpp makes of them (write_references.py holds it to that).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

N_EMBD, N_LAYER, N_HEAD, N_HEAD_KV, HEAD_DIM, N_FF, N_CTX = 64, 4, 4, 2, 16, 128, 4096
N_EXPERT, N_EXPERT_USED, N_FF_EXPERT = 4, 2, 32
ROPE_BASE = 10000.0

AUDIO_EMBD, AUDIO_LAYERS, AUDIO_HEADS, AUDIO_FF, N_MEL, N_POS = 48, 3, 3, 192, 128, 1500
N_CHANNELS = 16  # of Qwen3-Omni's convolutions
ULTRAVOX_STACK, ULTRAVOX_MID, VOXTRAL_STACK = 8, 96, 4

# Text tokens, then the begin and end markers that the models put around audio, and the placeholder.
N_WORDS = 80
MARKERS = (
    "<|audio_bos|>", "<|audio_eos|>", "<|audio_start|>", "<|audio_end|>", "[BEGIN_AUDIO]", "<sound>", "<|audio|>",
    "<|endoftext|>",
)  # fmt: skip
TOKENS = (*(f"w{i}" for i in range(N_WORDS)), *MARKERS)
AUDIO_TOKEN, END_TOKEN = TOKENS.index("<|audio|>"), TOKENS.index("<|endoftext|>")


@dataclass(frozen=True)
class Arch:
    text: str  # general.architecture of the text model
    projector: str  # clip.projector_type, or clip.audio.projector_type where the model also sees
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    stack: int = 0
    eps: float = 1e-6
    sections: tuple[int, ...] = ()  # M-RoPE: pairs per axis
    window_s: int = 30  # longer clips are heard in windows; 0: as a whole
    limit_s: int = 0  # the reference hears no more

    @property
    def markers(self) -> tuple[list[int], list[int]]:
        return [TOKENS.index(t) for t in self.begin], [TOKENS.index(t) for t in self.end]


ARCHS = {
    "ultravox": Arch("llama", "ultravox", stack=ULTRAVOX_STACK),
    "qwen2_audio": Arch("qwen2", "qwen2a", ("<|audio_bos|>",), ("<|audio_eos|>",), limit_s=30),
    "audioflamingo3": Arch("qwen2", "musicflamingo", limit_s=600),
    "voxtral": Arch("llama", "voxtral", ("[BEGIN_AUDIO]",), stack=VOXTRAL_STACK),
    "qwen2_5_omni": Arch(
        "qwen2vl", "qwen2.5o", ("<|audio_bos|>",), ("<|audio_eos|>",), sections=(2, 3, 3), window_s=0, limit_s=300
    ),
    "qwen3_omni": Arch(
        "qwen3vlmoe", "qwen3a", ("<|audio_start|>",), ("<|audio_end|>",), sections=(3, 3, 2), window_s=0
    ),
}


# --- parameters --------------------------------------------------------------------------------------


def shapes(arch: str, n_vocab: int = len(TOKENS)) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every parameter, as in the reference's state dict without its outermost "model."."""
    yield from _audio_shapes(arch)
    yield from _projector_shapes(arch)
    yield from _text_shapes(arch, n_vocab)


def _audio_shapes(arch: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    d, tower = AUDIO_EMBD, "audio_tower."
    if arch == "qwen3_omni":
        for i in (1, 2, 3):
            yield tower + f"conv2d{i}.weight", (N_CHANNELS, 1 if i == 1 else N_CHANNELS, 3, 3)
            yield tower + f"conv2d{i}.bias", (N_CHANNELS,)
        yield tower + "conv_out.weight", (d, N_CHANNELS * N_MEL // 8)
    else:
        for i in (1, 2):
            yield tower + f"conv{i}.weight", (d, N_MEL if i == 1 else d, 3)
            yield tower + f"conv{i}.bias", (d,)
    if not arch.endswith("omni"):  # theirs is a formula
        yield tower + "embed_positions.weight", (N_POS, d)
    for il in range(AUDIO_LAYERS):
        layer = tower + f"layers.{il}."
        for name in ("q", "k", "v", "out"):
            yield layer + f"self_attn.{name}_proj.weight", (d, d)
            if name != "k" or arch == "qwen3_omni":
                yield layer + f"self_attn.{name}_proj.bias", (d,)
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            yield layer + name + ".weight", (d,)
            yield layer + name + ".bias", (d,)
        yield layer + "fc1.weight", (AUDIO_FF, d)
        yield layer + "fc1.bias", (AUDIO_FF,)
        yield layer + "fc2.weight", (d, AUDIO_FF)
        yield layer + "fc2.bias", (d,)
    norm = "ln_post" if arch.endswith("omni") else "layer_norm"
    yield tower + norm + ".weight", (d,)
    yield tower + norm + ".bias", (d,)


def _projector_shapes(arch: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    d, projector, tower = AUDIO_EMBD, "multi_modal_projector.", "audio_tower."
    match arch:
        case "ultravox":
            yield projector + "ln_pre.weight", (d * ULTRAVOX_STACK,)
            yield projector + "linear_1.weight", (ULTRAVOX_MID, d * ULTRAVOX_STACK)
            yield projector + "ln_mid.weight", (ULTRAVOX_MID // 2,)
            yield projector + "linear_2.weight", (N_EMBD, ULTRAVOX_MID // 2)
        case "qwen2_audio":
            yield projector + "linear.weight", (N_EMBD, d)
            yield projector + "linear.bias", (N_EMBD,)
        case "audioflamingo3":
            for i, n in ((1, d), (2, N_EMBD)):
                yield projector + f"linear_{i}.weight", (N_EMBD, n)
                yield projector + f"linear_{i}.bias", (N_EMBD,)
        case "voxtral":
            yield projector + "linear_1.weight", (N_EMBD, d * VOXTRAL_STACK)
            yield projector + "linear_2.weight", (N_EMBD, N_EMBD)
        case "qwen2_5_omni":
            yield tower + "proj.weight", (N_EMBD, d)
            yield tower + "proj.bias", (N_EMBD,)
        case "qwen3_omni":
            yield tower + "proj1.weight", (d, d)
            yield tower + "proj1.bias", (d,)
            yield tower + "proj2.weight", (N_EMBD, d)
            yield tower + "proj2.bias", (N_EMBD,)


def _text_shapes(arch: str, n_vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    kind = ARCHS[arch].text
    yield "language_model.embed_tokens.weight", (n_vocab, N_EMBD)
    for il in range(N_LAYER):
        layer = f"language_model.layers.{il}."
        for name, n in (("q", N_HEAD), ("k", N_HEAD_KV), ("v", N_HEAD_KV)):
            yield layer + f"self_attn.{name}_proj.weight", (n * HEAD_DIM, N_EMBD)
            if kind in ("qwen2", "qwen2vl"):
                yield layer + f"self_attn.{name}_proj.bias", (n * HEAD_DIM,)
        yield layer + "self_attn.o_proj.weight", (N_EMBD, N_HEAD * HEAD_DIM)
        if kind == "qwen3vlmoe":
            yield layer + "self_attn.q_norm.weight", (HEAD_DIM,)
            yield layer + "self_attn.k_norm.weight", (HEAD_DIM,)
            yield layer + "mlp.gate.weight", (N_EXPERT, N_EMBD)
            yield layer + "mlp.experts.gate_up_proj", (N_EXPERT, 2 * N_FF_EXPERT, N_EMBD)
            yield layer + "mlp.experts.down_proj", (N_EXPERT, N_EMBD, N_FF_EXPERT)
        else:
            yield layer + "mlp.gate_proj.weight", (N_FF, N_EMBD)
            yield layer + "mlp.up_proj.weight", (N_FF, N_EMBD)
            yield layer + "mlp.down_proj.weight", (N_EMBD, N_FF)
        yield layer + "input_layernorm.weight", (N_EMBD,)
        yield layer + "post_attention_layernorm.weight", (N_EMBD,)
    yield "language_model.norm.weight", (N_EMBD,)
    yield "lm_head.weight", (n_vocab, N_EMBD)


def parameter(arch: str, name: str, shape: tuple[int, ...]) -> Array:
    """Neither flat nor one-hot attention, logits of a standard deviation of 2 to 3."""
    x = np.random.RandomState(zlib.crc32(f"{arch} {name}".encode())).standard_normal(shape)
    if "norm" in name or "ln_" in name:
        x = 1 + 0.1 * x if name.endswith("weight") else 0.1 * x
    elif name.endswith("bias"):
        x = 0.2 * x
    elif "embed" in name:
        x = 0.5 * x if "positions" in name else x
    else:
        gain = 1.5 if re.search(r"[qk]_proj", name) else 2.0 if name.startswith("lm_head") else 1.0
        x = x * gain / np.sqrt(np.prod(shape[2:] if "experts" in name else shape[1:]))
    if "conv" in name and name.endswith("weight"):
        x = 1.5 * x
        if arch != "audioflamingo3":
            x = x.astype(np.float16)  # the converter stores them so
    return x.astype(np.float32)


def parameters(arch: str, n_vocab: int = len(TOKENS)) -> dict[str, Array]:
    return {name: parameter(arch, name, shape) for name, shape in shapes(arch, n_vocab)}


def sinusoids() -> Array:
    """Positions of the omni models' encoders, [N_POS, AUDIO_EMBD]."""
    half = AUDIO_EMBD // 2
    scale = np.exp(-np.log(10000.0) / (half - 1) * np.arange(half, dtype=np.float32)).astype(np.float32)
    angle = np.arange(N_POS, dtype=np.float32)[:, None] * scale[None]
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


# --- GGUF --------------------------------------------------------------------------------------------

AUDIO_NAMES = {
    "conv1": "a.conv1d.1", "conv2": "a.conv1d.2", "conv2d1": "a.conv2d.1", "conv2d2": "a.conv2d.2",
    "conv2d3": "a.conv2d.3", "conv_out": "a.conv_out", "embed_positions": "a.position_embd", "layer_norm": "a.post_ln",
    "ln_post": "a.post_ln", "proj": "mm.a.fc", "proj1": "mm.a.mlp.1", "proj2": "mm.a.mlp.2",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out", "self_attn_layer_norm": "ln1", "final_layer_norm": "ln2", "fc1": "ffn_up",
    "fc2": "ffn_down", "ln_pre": "mm.a.norm_pre", "ln_mid": "mm.a.norm_mid", "linear": "mm.a.fc",
    "linear_1": "mm.a.mlp.1", "linear_2": "mm.a.mlp.2",
}  # fmt: skip
TEXT_NAMES = {
    "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def audio_tensors(arch: str) -> Iterator[tuple[str, NDArray]]:
    """(name, array) of the projector file."""
    for name, x in parameters(arch).items():
        if not name.startswith(("audio_tower.", "multi_modal_projector.")):
            continue
        module, _, kind = name.partition(".")[2].rpartition(".")
        layer = re.match(r"layers\.(\d+)\.(.*)", module)
        new = f"a.blk.{layer[1]}.{AUDIO_NAMES[layer[2]]}" if layer else AUDIO_NAMES[module]
        if module.startswith("conv"):
            if kind == "bias":
                x = x.reshape(-1, *[1] * (2 if "2d" in module else 1))
            elif arch != "audioflamingo3":
                x = x.astype(np.float16)
        yield f"{new}.{kind}", x
    if arch.endswith("omni"):
        yield "a.position_embd.weight", sinusoids()


def text_tensors(arch: str, n_vocab: int = len(TOKENS)) -> Iterator[tuple[str, Array]]:
    """(name, array) of the text model's file."""
    for name, x in parameters(arch, n_vocab).items():
        if not name.startswith(("language_model.", "lm_head.")):
            continue
        module, _, kind = name.removeprefix("language_model.").rpartition(".")
        layer = re.match(r"layers\.(\d+)\.(.*)", module)
        block, module = (f"blk.{layer[1]}.", layer[2]) if layer else ("", module)
        if kind == "gate_up_proj":
            yield f"{block}ffn_gate_exps.weight", x[:, :N_FF_EXPERT]
            yield f"{block}ffn_up_exps.weight", x[:, N_FF_EXPERT:]
        elif kind == "down_proj":
            yield f"{block}ffn_down_exps.weight", x
        else:
            if ARCHS[arch].text == "llama" and module in ("self_attn.q_proj", "self_attn.k_proj"):
                # rotary pairs are neighbours there
                x = x.reshape(-1, 2, HEAD_DIM // 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            yield f"{block}{TEXT_NAMES[module]}.{kind}", x


Types = Mapping[str, gguf.GGMLQuantizationType]


def _write(writer: gguf.GGUFWriter, tensors: Iterable[tuple[str, NDArray]], types: Types | None = None) -> None:
    """types: of the tensors that are quantized."""
    for name, x in tensors:
        writer.add_tensor(name, np.ascontiguousarray(x), raw_dtype=(types or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_mmproj(
    arch: str,
    path: Path,
    *,
    tensors: Iterable[tuple[str, NDArray]] | None = None,
    types: Types | None = None,
    stack: int = 0,
    more: Callable[[gguf.GGUFWriter], None] = lambda _: None,
) -> Path:
    """tensors and stack: instead of the architecture's own; more writes further keys."""
    about = ARCHS[arch]
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_audio_encoder", True)
    key = "clip.audio.projector_type" if arch == "qwen3_omni" else "clip.projector_type"
    writer.add_string(key, about.projector)
    for name, value in {
        "projection_dim": N_EMBD, "embedding_length": AUDIO_EMBD, "feed_forward_length": AUDIO_FF,
        "block_count": AUDIO_LAYERS, "attention.head_count": AUDIO_HEADS, "num_mel_bins": N_MEL,
    }.items():  # fmt: skip
        writer.add_uint32(f"clip.audio.{name}", value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    if about.stack:
        writer.add_uint32("clip.audio.projector.stack_factor", stack or about.stack)
    more(writer)
    _write(writer, audio_tensors(arch) if tensors is None else tensors, types)
    return path


def add_word_tokenizer(writer: gguf.GGUFWriter) -> int:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(TOKENS))
    writer.add_token_types([gguf.TokenType.CONTROL if t in MARKERS else gguf.TokenType.NORMAL for t in TOKENS])
    writer.add_token_merges(["w 0"])
    writer.add_eos_token_id(END_TOKEN)
    writer.add_add_bos_token(False)
    return len(TOKENS)


def write_text(arch: str, path: Path, add_tokenizer: Callable[[gguf.GGUFWriter], int] = add_word_tokenizer) -> Path:
    """add_tokenizer writes the vocabulary and gives its size."""
    about = ARCHS[arch]
    writer = gguf.GGUFWriter(path, about.text)
    writer.add_type("model")
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(about.eps)
    if about.text == "llama":
        writer.add_rope_dimension_count(HEAD_DIM)
        writer.add_key_length(HEAD_DIM)
        writer.add_value_length(HEAD_DIM)
    if about.sections:
        writer.add_rope_dimension_sections([*about.sections, 0])
    if about.text == "qwen3vlmoe":
        writer.add_expert_count(N_EXPERT)
        writer.add_expert_used_count(N_EXPERT_USED)
        writer.add_expert_feed_forward_length(N_FF_EXPERT)
        writer.add_uint32("qwen3vlmoe.n_deepstack_layers", 0)
    n_vocab = add_tokenizer(writer)
    if about.text == "llama":
        writer.add_vocab_size(n_vocab)
    _write(writer, text_tensors(arch, n_vocab))
    return path
