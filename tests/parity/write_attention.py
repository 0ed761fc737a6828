"""Write attention.npz: the eager attention weights of transformers on the tiny models, with and without MATA.

Run by hand, from the root of the repository, where torch==2.13.0, transformers==5.23.0, numpy and gguf are installed:

    PYTHONPATH=tests python -m parity.write_attention

The models have the weights of tiny_models.py.  Without MATA the weights are those of transformers' own eager
attention; with it, those of a few lines here, which without MATA are held to the former.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from parity import attention_file as kept
from parity.scenario import MODES, Prompt, Setting, alphas, pieces
from tiny_models import CONFIGS, Config, tensors
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

torch.set_grad_enabled(False)

N_VOCAB = 320

NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
GEMMA_NAMES = {
    "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}  # fmt: skip


def build(c: Config) -> torch.nn.Module:
    common = {
        "vocab_size": N_VOCAB, "hidden_size": c.n_embd, "intermediate_size": c.n_ff, "num_hidden_layers": c.n_layer,
        "num_attention_heads": c.n_head, "num_key_value_heads": c.n_head_kv, "head_dim": c.head_dim,
        "max_position_embeddings": c.n_ctx, "rms_norm_eps": c.eps, "tie_word_embeddings": c.tied,
        "attn_implementation": "eager",
    }  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": c.rope_base}
    gemma = {"sliding_window": c.window, "query_pre_attn_scalar": c.head_dim, "final_logit_softcapping": None}
    match c.arch:
        case "llama":
            return transformers.LlamaForCausalLM(transformers.LlamaConfig(**common, rope_parameters=rope))
        case "qwen2":
            return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**common, rope_parameters=rope))
        case "qwen2vl":
            from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig
            from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLTextModel

            sections = list(c.rope_sections[:3])
            return Qwen2VLTextModel(Qwen2VLTextConfig(**common, rope_parameters={**rope, "mrope_section": sections}))
        case "gemma2":
            config = transformers.Gemma2Config(
                **common, **gemma, rope_parameters=rope, attn_logit_softcapping=c.attn_softcap
            )
            return transformers.Gemma2ForCausalLM(config)
        case "gemma3":
            local = {"rope_type": "default", "rope_theta": 10000.0}
            both = {"full_attention": rope, "sliding_attention": local}
            config = transformers.Gemma3TextConfig(**common, **gemma, rope_parameters=both)
            return transformers.Gemma3ForCausalLM(config)
    raise ValueError(c.arch)


def load(c: Config) -> torch.nn.Module:
    """The text model with the weights of the tiny model."""
    model = build(c).eval()
    text = model.model if hasattr(model, "lm_head") else model
    own = dict(text.state_dict(keep_vars=True))
    for name, value in tensors(c, N_VOCAB).items():
        gemma = c.arch.startswith("gemma")
        if name == "output.weight":
            continue  # logits are not compared here
        target = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}.get(name)
        if target is None:
            _, il, part, kind = name.split(".")
            names = NAMES | GEMMA_NAMES if gemma else NAMES
            target = f"layers.{il}.{names[part]}.{kind}"
            if c.arch == "llama" and part in ("attn_q", "attn_k"):  # rotary pairs side by side -> half a head apart
                heads = value.reshape(-1, c.head_dim // 2, 2, value.shape[1])
                value = heads.swapaxes(1, 2).reshape(value.shape)
        if gemma and target.endswith("norm.weight"):
            value = value - 1  # these models add one
        parameter = own.pop(target)
        assert parameter.shape == value.shape, (name, parameter.shape, value.shape)
        parameter.data.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    left = [name for name in own if not name.endswith("inv_freq")]
    assert not left, left
    if c.arch.startswith("gemma"):
        for layer in text.layers:
            layer.mlp.act_fn = HalfGelu()
    return text


class HalfGelu(torch.nn.Module):
    """GELU by way of halves, as ggml's CPU backend looks it up: otherwise the comparison shows that table's error."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, 0.0, torch.where(x >= 10, x, y))


class Boost:
    """Eager attention with MATA on the last n_rows rows; keeps those rows' weights before and after it."""

    def __init__(self, mode: str | None, alpha: tuple[float, ...], weights: np.ndarray, n_rows: int) -> None:
        self.mode, self.alpha, self.n_rows = mode, alpha, n_rows
        self.weights = torch.from_numpy(weights.astype(np.float32))
        self.rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(
        self, module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, softcap: Any = None, **_: Any
    ) -> Any:
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
        scores = query @ key.transpose(2, 3) * scaling
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        if mask is None:
            mask = torch.full(scores.shape[-2:], torch.finfo(scores.dtype).min).triu(1)
        mask = mask[..., : scores.shape[-1]]
        before = (scores + mask).softmax(-1)
        if self.mode is not None:
            part = scores[:, :, -self.n_rows :]
            boost = {"scale": part, "abs": part.abs(), "add": torch.ones_like(part)}[self.mode]
            scores = scores.clone()
            scores[:, :, -self.n_rows :] = part + self.alpha[module.layer_idx] * self.weights * boost
        after = (scores + mask).softmax(-1)
        self.rows[module.layer_idx] = (before[0].numpy(), after[0].numpy())
        return (after @ value).transpose(1, 2).contiguous(), after


@contextmanager
def boosted(text: torch.nn.Module, boost: Boost) -> Iterator[None]:
    ALL_ATTENTION_FUNCTIONS.register("mata", boost)
    ALL_MASK_ATTENTION_FUNCTIONS.register("mata", ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    text.config._attn_implementation = "mata"
    try:
        yield
    finally:
        text.config._attn_implementation = "eager"


def embeddings(text: torch.nn.Module, prompt: Prompt) -> tuple[torch.Tensor, list[tuple[int, int, float]]]:
    """The whole prompt and the fed part of the answer [1, n, n_embd], and the clips' spans."""
    rows: list[torch.Tensor] = []
    spans = []
    for part in [*prompt.parts(), [*prompt.question, *prompt.answer[: kept.N_STEPS]]]:
        if isinstance(part, list):
            rows.append(text.embed_tokens(torch.tensor(part)))
        else:
            start = sum(map(len, rows))
            spans.append((start, start + len(part), 1.0))
            # llama.cpp's Gemma-2 scales whatever comes in; here only tokens are scaled, as they are embedded
            scale = CONFIGS[prompt.name].n_embd ** 0.5 if prompt.name == "gemma2" else 1.0
            rows.append(torch.from_numpy(part) * scale)
    return torch.cat(rows)[None], spans


def write(name: str) -> dict[str, np.ndarray]:
    config, prompt = CONFIGS[name], Prompt(name)
    text = load(config)
    x, spans = embeddings(text, prompt)
    weights = np.zeros(x.shape[1])
    for start, end, weight in pieces(spans):
        weights[start:end] = weight
    n_rows = 1 + kept.N_STEPS
    plain = text(inputs_embeds=x, output_attentions=True, use_cache=False).attentions
    arrays = {}
    for mode in (None, *MODES):
        boost = Boost(mode, alphas(name), weights, n_rows)
        with boosted(text, boost):
            text(inputs_embeds=x, use_cache=False)
        if mode is None:
            differences = [np.abs(boost.rows[il][1] - plain[il][0].numpy()).max() for il in range(config.n_layer)]
            assert max(differences) < 1e-5, differences
        for when, index in (("before", 0), ("after", 1)):
            if mode is None and when == "after":
                continue
            source = (
                [plain[il][0].numpy() for il in kept.layers(config.n_layer)]
                if mode is None
                else [boost.rows[il][index] for il in kept.layers(config.n_layer)]
            )
            stacked = np.stack([rows[:, -n_rows:] for rows in source])  # [n_layers, n_head, n_rows, n]
            arrays[f"{name}/{Setting(mode).mode or 'off'}/{when}"] = stacked.astype(np.float32)
    return arrays


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    arrays: dict[str, np.ndarray] = {}
    for name in kept.NAMES:
        arrays |= write(name)
        print(name, flush=True)
    arrays["versions"] = np.array([f"torch {torch.__version__}", f"transformers {transformers.__version__}"])
    np.savez_compressed(kept.PATH, **arrays)
    print(kept.PATH.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
