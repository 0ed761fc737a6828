"""Writers of tiny random models in GGUF, one per kind of attention that MATA has to work with.

The weights are seeded and F32, so an independent reading of the file (parity/reference.py) can be held
against the engine to rounding error.  Their spread is chosen so that attention is neither flat nor
one-hot and logits have a standard deviation of 2 to 3: a wrong boost then shows clearly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Config:
    """Shape of a tiny text model; the defaults are the Llama one's."""

    arch: str = "llama"
    seed: int = 1
    n_layer: int = 6
    n_embd: int = 256
    n_head: int = 8
    n_head_kv: int = 2
    head_dim: int = 32
    n_ff: int = 192
    n_ctx: int = 4096
    eps: float = 1e-5
    rope_base: float = 10000.0
    rope_sections: tuple[int, ...] = ()  # M-RoPE: pairs per axis
    qkv_bias: bool = False
    qk_norm: bool = False
    tied: bool = False  # the output matrix is the embedding
    post_norm: bool = False  # Gemma: also a norm after attention and after the feed-forward part
    embd_scaled: bool = False  # Gemma: token embeddings are multiplied by sqrt(n_embd)
    window: int = 0  # sliding window of the layers that have one
    attn_softcap: float = 0.0
    final_softcap: float = 0.0
    conv_layers: tuple[int, ...] = ()  # LFM2: layers with a short causal convolution instead of attention
    conv_width: int = 3
    ssm_layers: tuple[int, ...] = ()  # layers with Mamba-2 instead of attention (Falcon-H1: beside it)
    ssm_n_head: int = 8
    ssm_n_group: int = 2
    ssm_n_state: int = 16
    ssm_width: int = 4
    ffn_layers: tuple[int, ...] = ()  # Nemotron-H: layers that are a feed-forward part alone; its others have none
    n_expert: int = 0  # of the feed-forward parts; two are used
    granite_scales: tuple[float, ...] = ()  # of embeddings, parts and attention scores; what divides the logits
    vocab: str = "bpe"

    @property
    def attention_layers(self) -> list[int]:
        without = {*self.conv_layers, *self.ffn_layers, *(() if self.arch == "falcon-h1" else self.ssm_layers)}
        return [il for il in range(self.n_layer) if il not in without]

    @property
    def ssm_n_inner(self) -> int:
        return 2 * self.n_embd

    @property
    def ssm_n_conv(self) -> int:
        """Channels of Mamba-2's convolution: its values, and keys and queries of each group."""
        return self.ssm_n_inner + 2 * self.ssm_n_group * self.ssm_n_state


CONFIGS = {
    "llama": Config(vocab="spm"),
    "qwen2": Config(arch="qwen2", seed=2, eps=1e-6, rope_base=1e6, qkv_bias=True),
    "qwen2vl": Config(arch="qwen2vl", seed=3, eps=1e-6, rope_base=1e6, qkv_bias=True, rope_sections=(4, 6, 6, 0)),
    # Windows so small that the audio at the front of a prompt leaves them: there the boost has nothing to act on.
    "gemma2": Config(
        arch="gemma2", seed=4, n_embd=160, n_head=4, n_head_kv=2, tied=True, post_norm=True, embd_scaled=True,
        eps=1e-6, window=24, attn_softcap=4.0, final_softcap=8.0, vocab="spm",
    ),
    "gemma3": Config(
        arch="gemma3", seed=5, n_layer=7, n_embd=160, n_head=4, n_head_kv=1, tied=True, post_norm=True,
        embd_scaled=True, qk_norm=True, eps=1e-6, rope_base=1e6, window=24, vocab="spm",
    ),
    # Every query head its own keys; an odd number of query heads to a KV head.
    "mha": Config(seed=6, n_layer=4, n_embd=128, n_head=4, n_head_kv=4),
    "groups_of_three": Config(arch="qwen2", seed=7, n_layer=4, n_embd=192, n_head=6, n_head_kv=2, qkv_bias=True),
    # Layers without attention among layers with it.
    "lfm2": Config(
        arch="lfm2", seed=8, n_embd=128, n_head=4, qk_norm=True, tied=True, rope_base=1e6, conv_layers=(0, 1, 3, 4),
    ),
    "granite_hybrid": Config(
        arch="granitehybrid", seed=9, n_layer=9, n_head_kv=4, ssm_layers=(0, 1, 3, 5, 6, 7),
        granite_scales=(1.5, 0.7, 0.25, 1.2),
    ),
    "nemotron_h": Config(
        arch="nemotron_h", seed=10, n_layer=12, ssm_layers=(0, 2, 6, 9), ffn_layers=(1, 4, 7, 11),
    ),
    "nemotron_h_moe": Config(
        arch="nemotron_h_moe", seed=11, n_layer=7, ssm_layers=(0, 3), ffn_layers=(2, 4), n_expert=4,
    ),
    # Layers that have attention and Mamba-2 side by side.
    "falcon_h1": Config(arch="falcon-h1", seed=12, n_layer=4, ssm_layers=(0, 1, 2, 3), ssm_n_group=1),
}  # fmt: skip

HYBRIDS = ("lfm2", "granite_hybrid", "nemotron_h", "nemotron_h_moe", "falcon_h1")
"""Models with other layers than those of attention."""

AUDIO_EMBD_STD = {"gemma2": 0.2, "gemma3": 2.5, "lfm2": 0.2}
"""Spread of made-up audio embeddings, where it is not 1: that of the token embeddings as they enter layer 0.

Gemma-2's graph multiplies audio embeddings by sqrt(n_embd) as it does tokens'; Gemma-3's does not.
"""


def audio_embeddings(name: str, n: int, seed: int = 0) -> Array:
    """Made-up embeddings of n audio tokens for the model called name, [n, n_embd]."""
    rng = np.random.default_rng(1000 + seed)
    return (rng.standard_normal((n, CONFIGS[name].n_embd)) * AUDIO_EMBD_STD.get(name, 1.0)).astype(np.float32)


def write_model(path: Path, config: Config, *, tokenizer: bool = True, overrides: dict[str, int] | None = None) -> Path:
    """Write the model; overrides replaces integer metadata after the fact, to make it wrong on purpose."""
    writer = gguf.GGUFWriter(path, config.arch)
    writer.add_name(f"tiny random {config.arch}")
    _add_metadata(writer, config, overrides or {})
    n_vocab = add_vocab(writer, config.vocab) if tokenizer else 320
    for tensor, data in tensors(config, n_vocab).items():
        writer.add_tensor(tensor, data)
    finish(writer)
    return path


def tensors(config: Config, n_vocab: int) -> dict[str, Array]:
    """Weights by GGUF name; a matrix is [n_out, n_in] as NumPy sees it."""
    rng = np.random.default_rng(config.seed)

    def matrix(n_out: int, n_in: int, gain: float) -> Array:
        return (rng.standard_normal((n_out, n_in)) * gain / np.sqrt(n_in)).astype(np.float32)

    def vector(n: int, low: float, high: float) -> Array:
        return rng.uniform(low, high, n).astype(np.float32)

    n_q, n_kv = config.n_head * config.head_dim, config.n_head_kv * config.head_dim
    n_embd, n_ff = config.n_embd, config.n_ff
    embd_std = 2.5 / np.sqrt(n_embd) if config.tied else 1.0
    weights = {"token_embd.weight": (rng.standard_normal((n_vocab, n_embd)) * embd_std).astype(np.float32)}
    for il in range(config.n_layer):
        b = f"blk.{il}."
        weights[b + "attn_norm.weight"] = vector(n_embd, 0.6, 1.4)
        if il in config.conv_layers:
            weights[b + "shortconv.in_proj.weight"] = matrix(3 * n_embd, n_embd, 1.0)
            weights[b + "shortconv.conv.weight"] = matrix(n_embd, config.conv_width, 1.0)
            weights[b + "shortconv.out_proj.weight"] = matrix(n_embd, n_embd, 1.0)
        if il in config.ssm_layers:
            n_inner, n_conv = config.ssm_n_inner, config.ssm_n_conv
            weights[b + "ssm_in.weight"] = matrix(n_inner + n_conv + config.ssm_n_head, n_embd, 1.0)
            weights[b + "ssm_conv1d.weight"] = matrix(n_conv, config.ssm_width, 1.5)
            weights[b + "ssm_conv1d.bias"] = vector(n_conv, -0.3, 0.3)
            weights[b + "ssm_dt.bias"] = vector(config.ssm_n_head, -2.0, 0.5)
            weights[b + "ssm_a"] = vector(config.ssm_n_head, -1.5, -0.1)[:, None]
            weights[b + "ssm_d"] = vector(config.ssm_n_head, 0.5, 1.5)[:, None]
            weights[b + "ssm_norm.weight"] = vector(n_inner, 0.6, 1.4).reshape(config.ssm_n_group, -1)
            weights[b + "ssm_out.weight"] = matrix(n_embd, n_inner, 1.0)
        if il in config.attention_layers:
            weights[b + "attn_q.weight"] = matrix(n_q, n_embd, 1.3)
            weights[b + "attn_k.weight"] = matrix(n_kv, n_embd, 1.3)
            weights[b + "attn_v.weight"] = matrix(n_kv, n_embd, 1.0)
            weights[b + "attn_output.weight"] = matrix(n_embd, n_q, 1.0)
            if config.qkv_bias:
                weights[b + "attn_q.bias"] = vector(n_q, -0.7, 0.7)
                weights[b + "attn_k.bias"] = vector(n_kv, -0.7, 0.7)
                weights[b + "attn_v.bias"] = vector(n_kv, -0.7, 0.7)
            if config.qk_norm:
                weights[b + "attn_q_norm.weight"] = vector(config.head_dim, 1.0, 1.8)
                weights[b + "attn_k_norm.weight"] = vector(config.head_dim, 1.0, 1.8)
        if config.post_norm:
            weights[b + "post_attention_norm.weight"] = vector(n_embd, 0.6, 1.4)
            # Small: the CPU backend's GELU goes through halves, whose rounding would otherwise be the greatest error.
            weights[b + "post_ffw_norm.weight"] = vector(n_embd, 0.05, 0.15)
        if config.arch.startswith("nemotron_h"):
            if il in config.ffn_layers:
                weights |= {b + name: data for name, data in _nemotron_feed_forward(config, matrix).items()}
            continue
        weights[b + ("ffn_norm" if config.arch == "falcon-h1" else "ffn_norm.weight")] = vector(n_embd, 0.6, 1.4)
        weights[b + "ffn_gate.weight"] = matrix(n_ff, n_embd, 1.0)
        weights[b + "ffn_up.weight"] = matrix(n_ff, n_embd, 1.0)
        weights[b + "ffn_down.weight"] = matrix(n_embd, n_ff, 1.0)
    output_norm = "token_embd_norm.weight" if config.arch == "lfm2" else "output_norm.weight"
    weights[output_norm] = vector(n_embd, 0.6, 1.4)
    if not config.tied:
        weights["output.weight"] = matrix(n_vocab, n_embd, 2.5)
    return weights


def _nemotron_feed_forward(config: Config, matrix: Callable[..., Array]) -> dict[str, Array]:
    """A feed-forward part without gates.  Which experts are used is so clear that no rounding error changes it."""
    n_embd, n_ff, n_expert = config.n_embd, config.n_ff, config.n_expert
    if not n_expert:
        return {"ffn_up.weight": matrix(n_ff, n_embd, 1.0), "ffn_down.weight": matrix(n_embd, n_ff, 0.7)}
    return {
        "ffn_gate_inp.weight": matrix(n_expert, n_embd, 1.0),
        "exp_probs_b.bias": np.array([0, 2, 0, 4][:n_expert], dtype=np.float32),
        "ffn_up_exps.weight": np.stack([matrix(n_ff, n_embd, 1.0) for _ in range(n_expert)]),
        "ffn_down_exps.weight": np.stack([matrix(n_embd, n_ff, 0.7) for _ in range(n_expert)]),
        "ffn_up_shexp.weight": matrix(n_ff, n_embd, 1.0),
        "ffn_down_shexp.weight": matrix(n_embd, n_ff, 0.7),
    }


def write_lora(path: Path, config: Config, *, rank: int = 4, alpha: float = 8.0) -> Path:
    """A LoRA adapter for the model of config: on q and v of every layer and on one feed-forward matrix."""
    rng = np.random.default_rng(config.seed + 100)
    writer = gguf.GGUFWriter(path, config.arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    shapes = {}
    for il in range(config.n_layer):
        shapes[f"blk.{il}.attn_q.weight"] = (config.n_head * config.head_dim, config.n_embd)
        shapes[f"blk.{il}.attn_v.weight"] = (config.n_head_kv * config.head_dim, config.n_embd)
    shapes["blk.1.ffn_up.weight"] = (config.n_ff, config.n_embd)
    for name, (n_out, n_in) in shapes.items():
        writer.add_tensor(name + ".lora_a", (rng.standard_normal((rank, n_in)) / np.sqrt(n_in)).astype(np.float32))
        writer.add_tensor(name + ".lora_b", (rng.standard_normal((n_out, rank)) * 0.3).astype(np.float32))
    finish(writer)
    return path


@dataclass(frozen=True)
class ProjectorConfig:
    """Shape of a tiny whisper-type encoder with an Ultravox projector."""

    n_embd_text: int = 256
    seed: int = 11
    d_model: int = 96  # not a power of two: stacking frames of such a width has its own pitfalls
    n_head: int = 3
    n_layer: int = 2
    n_ff: int = 128
    n_mel: int = 80
    stack: int = 8
    n_hidden: int = 128


def write_mmproj(
    path: Path,
    config: ProjectorConfig | None = None,
    *,
    overrides: dict[str, int] | None = None,
    leave_out: tuple[str, ...] = (),
    extra: dict[str, Array] | None = None,
    prompt: Any = None,
) -> Path:
    """Write an audio projector; prompt: its mata.audio.prompt; leave_out and extra drop and add tensors, to make it
    wrong on purpose.
    """
    c = config or ProjectorConfig()
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.projector_type", "ultravox")
    writer.add_bool("clip.use_gelu", True)
    integers = {
        "num_mel_bins": c.n_mel, "embedding_length": c.d_model, "feed_forward_length": c.n_ff,
        "block_count": c.n_layer, "attention.head_count": c.n_head, "projection_dim": c.n_embd_text,
        "projector.stack_factor": c.stack,
    }  # fmt: skip
    for key, value in (integers | (overrides or {})).items():
        writer.add_uint32("clip.audio." + key, value)
    writer.add_float32("clip.audio.attention.layer_norm_epsilon", 1e-5)
    if prompt is not None:
        writer.add_key_value("mata.audio.prompt", prompt, gguf.GGUFValueType.get_type(prompt))
    for name, data in (_projector_tensors(c) | (extra or {})).items():
        if name not in leave_out:
            writer.add_tensor(name, data)
    finish(writer)
    return path


def _projector_tensors(c: ProjectorConfig) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(c.seed)

    def matrix(n_out: int, n_in: int) -> Array:
        return (rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)).astype(np.float32)

    def conv(n_in: int) -> NDArray[np.float16]:  # F16, as converters write them
        return (rng.standard_normal((c.d_model, n_in, 3)) / np.sqrt(n_in)).astype(np.float16)

    def small(*shape: int) -> Array:
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    d = c.d_model
    weights: dict[str, NDArray[np.generic]] = {
        "a.conv1d.1.weight": conv(c.n_mel), "a.conv1d.1.bias": small(d, 1),
        "a.conv1d.2.weight": conv(d), "a.conv1d.2.bias": small(d, 1),
        "a.position_embd.weight": small(1500, d),
    }  # fmt: skip
    for il in range(c.n_layer):
        b = f"a.blk.{il}."
        for name in "qkv":
            weights[b + f"attn_{name}.weight"] = matrix(d, d)
            if name != "k":
                weights[b + f"attn_{name}.bias"] = small(d)
        weights[b + "attn_out.weight"], weights[b + "attn_out.bias"] = matrix(d, d), small(d)
        weights[b + "ln1.weight"], weights[b + "ln1.bias"] = 1 + small(d), small(d)
        weights[b + "ln2.weight"], weights[b + "ln2.bias"] = 1 + small(d), small(d)
        weights[b + "ffn_up.weight"], weights[b + "ffn_up.bias"] = matrix(c.n_ff, d), small(c.n_ff)
        weights[b + "ffn_down.weight"], weights[b + "ffn_down.bias"] = matrix(d, c.n_ff), small(d)
    weights["a.post_ln.weight"], weights["a.post_ln.bias"] = 1 + small(d), small(d)
    weights["mm.a.norm_pre.weight"] = 1 + small(d * c.stack)
    weights["mm.a.mlp.1.weight"] = matrix(c.n_hidden, d * c.stack)
    weights["mm.a.norm_mid.weight"] = 1 + small(c.n_hidden // 2)
    weights["mm.a.mlp.2.weight"] = matrix(c.n_embd_text, c.n_hidden // 2)
    return weights


def _add_metadata(writer: gguf.GGUFWriter, config: Config, overrides: dict[str, int]) -> None:
    integers = {
        "context_length": config.n_ctx, "embedding_length": config.n_embd, "block_count": config.n_layer,
        "feed_forward_length": config.n_ff, "attention.head_count": config.n_head,
        "attention.head_count_kv": config.n_head_kv, "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
    }  # fmt: skip
    if config.window:
        integers["attention.sliding_window"] = config.window
    layers, attends = range(config.n_layer), config.attention_layers
    if len(attends) < config.n_layer:
        del integers["attention.head_count_kv"]
        writer.add_head_count_kv([config.n_head_kv if il in attends else 0 for il in layers])
    if config.conv_layers:
        integers["shortconv.l_cache"] = config.conv_width
    if config.ssm_layers:
        integers |= {
            "ssm.conv_kernel": config.ssm_width, "ssm.inner_size": config.ssm_n_inner,
            "ssm.group_count": config.ssm_n_group, "ssm.state_size": config.ssm_n_state,
            "ssm.time_step_rank": config.ssm_n_head,
        }  # fmt: skip
    if config.ffn_layers:
        del integers["feed_forward_length"]
        writer.add_feed_forward_length([config.n_ff if il in config.ffn_layers else 0 for il in layers])
        writer.add_layer_norm_eps(config.eps)
    if config.n_expert:
        integers |= {
            "expert_count": config.n_expert, "expert_used_count": 2, "expert_feed_forward_length": config.n_ff,
            "expert_shared_count": 1, "expert_shared_feed_forward_length": config.n_ff,
        }  # fmt: skip
        writer.add_expert_weights_norm(True)
        writer.add_expert_weights_scale(1.4)
    if config.granite_scales:
        embeddings, parts, attention, logits = config.granite_scales
        writer.add_embedding_scale(embeddings)
        writer.add_residual_scale(parts)
        writer.add_attention_scale(attention)
        writer.add_logit_scale(logits)
    for key, value in (integers | overrides).items():
        writer.add_uint32(f"{config.arch}.{key}", value)
    writer.add_layer_norm_rms_eps(config.eps)
    writer.add_rope_freq_base(config.rope_base)
    if config.rope_sections:
        writer.add_rope_dimension_sections(config.rope_sections)
    if config.attn_softcap:
        writer.add_attn_logit_softcapping(config.attn_softcap)
    if config.final_softcap:
        writer.add_final_logit_softcapping(config.final_softcap)


def add_vocab(writer: gguf.GGUFWriter, kind: str) -> int:
    """A vocabulary of 320 entries that can spell any text: bytes, a few pieces of English, chat markers."""
    pieces = ["th", "the", "an", "and", "in", "ing", "er", "ou", "you", "he", "hea", "hear", "wh", "what", "do"]
    markers = ["<|im_start|>", "<|im_end|>", "<|audio|>"]
    if kind == "spm":
        special = ["<unk>", "<s>", "</s>"]
        chars = ["\u2581"] + [chr(c) for c in range(ord("a"), ord("z") + 1)]
        tokens = special + [f"<0x{i:02X}>" for i in range(256)] + chars + pieces
        types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
        types += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * (len(chars) + len(pieces))
        writer.add_tokenizer_model("llama")
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
    else:
        byte_chars = _byte_characters()
        tokens = byte_chars + pieces
        types = [gguf.TokenType.NORMAL] * len(tokens)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        splits = [
            "t h",
            "th e",
            "a n",
            "an d",
            "i n",
            "in g",
            "e r",
            "o u",
            "y ou",
            "h e",
            "he a",
            "hea r",
            "w h",
            "d o",
        ]
        writer.add_token_merges(splits)
        writer.add_eos_token_id(len(tokens) + 1)  # <|im_end|>
        writer.add_add_bos_token(False)
    tokens += markers
    types += [gguf.TokenType.CONTROL] * len(markers)
    while len(tokens) < 320:
        tokens.append(f"<|unused_{len(tokens)}|>")
        types.append(gguf.TokenType.UNUSED)
    writer.add_token_list(tokens)
    writer.add_token_scores([float(-i) for i in range(len(tokens))])
    writer.add_token_types(types)
    writer.add_chat_template(CHAT_TEMPLATE)
    return len(tokens)


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-in for every byte value."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    stand_in = {b: chr(b) for b in printable}
    for n, b in enumerate(b for b in range(256) if b not in stand_in):
        stand_in[b] = chr(256 + n)
    return [stand_in[b] for b in range(256)]


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
