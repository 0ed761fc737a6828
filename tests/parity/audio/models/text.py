"""Language models: plain transformers.  Gemma 4's is in gemma4_text.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import gguf

from .sizes import (
    ARCHS,
    HEAD_DIM,
    N_CTX,
    N_EMBD,
    N_EXPERT,
    N_EXPERT_USED,
    N_FF,
    N_FF_EXPERT,
    N_HEAD,
    N_HEAD_KV,
    N_LAYER,
    ROPE_BASE,
    Array,
)

GRANITE_SCALES = {"embedding_scale": 3.0, "residual_scale": 0.7, "attention.scale": 0.3, "logit_scale": 2.0}
NEIGHBOURS = ("llama", "granite")  # rotary pairs are neighbours in their files


def shapes(arch: str, n_vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    kind = ARCHS[arch].text
    yield "language_model.embed_tokens.weight", (n_vocab, N_EMBD)
    for il in range(N_LAYER):
        layer = f"language_model.layers.{il}."
        for name, n in (("q", N_HEAD), ("k", N_HEAD_KV), ("v", N_HEAD_KV)):
            yield layer + f"self_attn.{name}_proj.weight", (n * HEAD_DIM, N_EMBD)
            if kind in ("qwen2", "qwen2vl"):
                yield layer + f"self_attn.{name}_proj.bias", (n * HEAD_DIM,)
        yield layer + "self_attn.o_proj.weight", (N_EMBD, N_HEAD * HEAD_DIM)
        if kind in ("qwen3vl", "qwen3vlmoe"):
            yield layer + "self_attn.q_norm.weight", (HEAD_DIM,)
            yield layer + "self_attn.k_norm.weight", (HEAD_DIM,)
        if kind == "qwen3vlmoe":
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


NAMES = {
    "embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def tensors(arch: str, parameters: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, x in parameters.items():
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
            if ARCHS[arch].text in NEIGHBOURS and module in ("self_attn.q_proj", "self_attn.k_proj"):
                x = x.reshape(-1, 2, HEAD_DIM // 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            yield f"{block}{NAMES[module]}.{kind}", x


def add_keys(arch: str, writer: gguf.GGUFWriter, n_vocab: int) -> None:
    about = ARCHS[arch]
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(about.eps)
    if about.text in NEIGHBOURS:
        writer.add_rope_dimension_count(HEAD_DIM)
        writer.add_vocab_size(n_vocab)
    if about.text in ("llama", "qwen3vl"):
        writer.add_key_length(HEAD_DIM)
        writer.add_value_length(HEAD_DIM)
    if about.text == "granite":
        for name, value in GRANITE_SCALES.items():
            writer.add_float32(f"granite.{name}", value)
    if about.sections:
        writer.add_rope_dimension_sections([*about.sections, 0])
    if about.text == "qwen3vlmoe":
        writer.add_expert_count(N_EXPERT)
        writer.add_expert_used_count(N_EXPERT_USED)
        writer.add_expert_feed_forward_length(N_FF_EXPERT)
    if about.text in ("qwen3vl", "qwen3vlmoe"):
        writer.add_uint32(f"{about.text}.n_deepstack_layers", 0)
