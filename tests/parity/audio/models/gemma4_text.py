"""Gemma 4's language model: as in E2B (shared keys and values, embeddings per layer), as in 12B (keys are values)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import gguf
import numpy as np

from .sizes import ARCHS, HEAD_DIM, N_CTX, N_EMBD, N_FF, N_HEAD, N_HEAD_KV, Array

PAIR = ("sliding_attention", "full_attention")
SLIDING = 48  # positions, fewer than the shortest clips but one have
HEAD_DIM_FULL, N_SHARED, N_PER_LAYER = 2 * HEAD_DIM, 2, 8
N_HEAD_KV_FULL = 1  # where keys are values
ROPE_BASE, ROPE_BASE_FULL, ROTATED_FULL, SOFTCAP = 10000.0, 1000000.0, 0.25, 30.0


def _is_unified(arch: str) -> bool:
    return arch == "gemma4_unified"


def layers(arch: str) -> tuple[str, ...]:
    """The kind of each layer's attention.  E2B's last ones make no keys and values of their own."""
    return PAIR * (len(ARCHS[arch].alpha) // 2)


def _is_shared(arch: str, il: int) -> bool:
    return not _is_unified(arch) and il >= len(layers(arch)) - N_SHARED


def shapes(arch: str, n_vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    d, unified, kinds = N_EMBD, _is_unified(arch), layers(arch)
    yield "language_model.embed_tokens.weight", (n_vocab, d)
    if not unified:
        yield "language_model.embed_tokens_per_layer.weight", (n_vocab, len(kinds) * N_PER_LAYER)
        yield "language_model.per_layer_model_projection.weight", (len(kinds) * N_PER_LAYER, d)
        yield "language_model.per_layer_projection_norm.weight", (N_PER_LAYER,)
    for il, kind in enumerate(kinds):
        layer = f"language_model.layers.{il}."
        full = kind == "full_attention"
        head = HEAD_DIM_FULL if full else HEAD_DIM
        heads = N_HEAD_KV_FULL if full and unified else N_HEAD_KV
        yield layer + "layer_scalar", (1,)
        yield layer + "self_attn.q_proj.weight", (N_HEAD * head, d)
        yield layer + "self_attn.q_norm.weight", (head,)
        if not _is_shared(arch, il):
            yield layer + "self_attn.k_norm.weight", (head,)
            yield layer + "self_attn.k_proj.weight", (heads * head, d)
            if not (full and unified):
                yield layer + "self_attn.v_proj.weight", (heads * head, d)
        yield layer + "self_attn.o_proj.weight", (d, N_HEAD * head)
        wide = 2 * N_FF if _is_shared(arch, il) else N_FF
        yield layer + "mlp.gate_proj.weight", (wide, d)
        yield layer + "mlp.up_proj.weight", (wide, d)
        yield layer + "mlp.down_proj.weight", (d, wide)
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield layer + name + "_layernorm.weight", (d,)
        if not unified:
            yield layer + "per_layer_input_gate.weight", (N_PER_LAYER, d)
            yield layer + "per_layer_projection.weight", (d, N_PER_LAYER)
            yield layer + "post_per_layer_input_norm.weight", (d,)
    yield "language_model.norm.weight", (d,)


def gain(name: str, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """(mean, standard deviation) of what the general rule does not know."""
    if name.endswith("layer_scalar"):
        return 1.0, 0.1
    if name.endswith("embed_tokens.weight"):
        return 0.0, 0.35  # multiplied by sqrt(N_EMBD); the same matrix makes the logits
    if name.endswith("q_norm.weight"):
        return 1.5 / shape[0] ** 0.5, 0.1 / shape[0] ** 0.5  # scores are not scaled otherwise
    if name.endswith(("per_layer_projection.weight", "per_layer_input_gate.weight", "model_projection.weight")):
        return 0.0, 1.0 / shape[1] ** 0.5
    return None


# --- GGUF --------------------------------------------------------------------------------------------

NAMES = {
    "embed_tokens": "token_embd", "embed_tokens_per_layer": "per_layer_token_embd",
    "per_layer_model_projection": "per_layer_model_proj", "per_layer_projection_norm": "per_layer_proj_norm",
    "norm": "output_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm", "per_layer_input_gate": "inp_gate", "per_layer_projection": "proj",
    "post_per_layer_input_norm": "post_norm", "layer_scalar": "layer_output_scale",
}  # fmt: skip


def tensors(arch: str, parameters: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    n_rotated = int(HEAD_DIM_FULL * ROTATED_FULL / 2)
    yield "rope_freqs.weight", np.array([1.0] * n_rotated + [1e30] * (HEAD_DIM_FULL // 2 - n_rotated), np.float32)
    for name, x in parameters.items():
        if not name.startswith("language_model."):
            continue
        module = name.removeprefix("language_model.").removesuffix(".weight")
        layer = re.match(r"layers\.(\d+)\.(.*)", module)
        yield f"blk.{layer[1]}.{NAMES[layer[2]]}.weight" if layer else f"{NAMES[module]}.weight", x


def add_keys(arch: str, writer: gguf.GGUFWriter, n_vocab: int) -> None:
    unified, kinds = _is_unified(arch), layers(arch)
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(len(kinds))
    writer.add_head_count(N_HEAD)
    if unified:
        writer.add_feed_forward_length(N_FF)
        writer.add_head_count_kv([N_HEAD_KV_FULL if kind == "full_attention" else N_HEAD_KV for kind in kinds])
    else:
        writer.add_feed_forward_length([2 * N_FF if _is_shared(arch, il) else N_FF for il in range(len(kinds))])
        writer.add_head_count_kv(N_HEAD_KV)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(ROPE_BASE_FULL)
    writer.add_rope_freq_base_swa(ROPE_BASE)
    writer.add_rope_dimension_count(HEAD_DIM_FULL)
    writer.add_rope_dimension_count_swa(HEAD_DIM)
    writer.add_key_length(HEAD_DIM_FULL)
    writer.add_value_length(HEAD_DIM_FULL)
    writer.add_key_length_swa(HEAD_DIM)
    writer.add_value_length_swa(HEAD_DIM)
    writer.add_sliding_window(SLIDING)
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])
    writer.add_shared_kv_layers(0 if unified else N_SHARED)
    writer.add_embedding_length_per_layer_input(0 if unified else N_PER_LAYER)
    writer.add_final_logit_softcapping(SOFTCAP)
