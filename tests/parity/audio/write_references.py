"""Write references/*.npz: what the reference implementations make of the clips, with and without MATA.

Run by hand, from the root of the repository, where torch==2.13.0, transformers==5.23.0, numpy and gguf are installed,
and torchaudio for Granite Speech:

    python -m tests.parity.audio.write_references [ARCH ...]

All but Ultravox are transformers' own classes (features, token counts, encoder, language model); MATA is a hook in
their eager attention.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.gemma4 import modeling_gemma4
from transformers.models.gemma4_unified import modeling_gemma4_unified
from transformers.models.granite import modeling_granite
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni
from transformers.models.qwen3 import modeling_qwen3
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe

from . import models, scenario
from .models import ARCHS
from .models.text import GRANITE_SCALES
from .reference_inputs import inputs_of
from .reference_models import load

torch.set_grad_enabled(False)


def prompt(arch: str, n_audio: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """(tokens of the question and the answer, the columns that hold audio)"""
    begin, end = ARCHS[arch].markers
    before = [*scenario.BEFORE, *begin]
    ids = [*before, *[models.AUDIO_TOKEN] * n_audio, *end, *scenario.AFTER, *scenario.ANSWER]
    return torch.tensor([ids]), (len(before), len(before) + n_audio)


def run(
    arch: str, model: torch.nn.Module, inputs: dict[str, Any], tokens: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """(logits [n_tokens, n_vocab], the audio embeddings that the language model was given [n_audio, n_embd])"""
    text = model.text.model if arch == "ultravox" else model.model.language_model
    given: list[torch.Tensor] = []
    keep = text.register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with keep:
        # one pass over question and answer: a cache of sliding layers would forget columns
        kwargs = {"use_cache": False} if arch.startswith("gemma4") else {}
        made = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **inputs, **kwargs)
    logits = made.logits[0].numpy()
    if arch == "granite_speech":
        logits = logits / np.float32(GRANITE_SCALES["logit_scale"])  # transformers 5.23 forgets it here
    return logits, given[0][tokens == models.AUDIO_TOKEN].numpy()


# --- MATA --------------------------------------------------------------------------------------------

TEXT_ATTENTION = {
    "gemma4": (modeling_gemma4, modeling_gemma4.Gemma4TextAttention),
    "gemma4_unified": (modeling_gemma4_unified, modeling_gemma4_unified.Gemma4UnifiedTextAttention),
    "granite": (modeling_granite, modeling_granite.GraniteAttention),
    "llama": (modeling_llama, modeling_llama.LlamaAttention),
    "qwen2": (modeling_qwen2, modeling_qwen2.Qwen2Attention),
    "qwen2vl": (modeling_qwen2_5_omni, modeling_qwen2_5_omni.Qwen2_5OmniAttention),
    "qwen3vl": (modeling_qwen3, modeling_qwen3.Qwen3Attention),
    "qwen3vlmoe": (modeling_qwen3_omni_moe, modeling_qwen3_omni_moe.Qwen3OmniMoeThinkerTextAttention),
}


@contextlib.contextmanager
def boosted(arch: str, mode: str, span: tuple[int, int], n_rows: int) -> Iterator[None]:
    """Boost the scores of the last n_rows rows for the columns in span, in the scenario's layers."""
    module, attention = TEXT_ATTENTION[arch if arch.startswith("gemma4") else ARCHS[arch].text]
    plain = module.eager_attention_forward

    def forward(layer: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **more: Any) -> Any:
        if not isinstance(layer, attention):
            return plain(layer, query, key, value, attention_mask, scaling=scaling, **more)
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
        scores = query @ key.transpose(2, 3) * scaling
        if (alpha := ARCHS[arch].alpha[layer.layer_idx]) and mode != "off":
            part = scores[:, :, -n_rows:, span[0] : span[1]]
            part += alpha * {"scale": part, "abs": part.abs(), "add": torch.ones_like(part)}[mode]
        if (mask := attention_mask) is None:
            assert not getattr(layer, "sliding_window", None)
            mask = torch.full(scores.shape[-2:], torch.finfo(scores.dtype).min).triu(1)
        weights = (scores + mask[..., : scores.shape[-1]]).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    module.eager_attention_forward = forward
    try:
        yield
    finally:
        module.eager_attention_forward = plain


# --- the files ---------------------------------------------------------------------------------------


def keep(arrays: dict[str, np.ndarray], name: str, embeddings: np.ndarray) -> None:
    arrays[f"{name}/embeddings"] = embeddings[scenario.kept_rows(len(embeddings))]
    arrays[f"{name}/sums"] = embeddings @ scenario.SUM


def write(arch: str) -> None:
    model = load(arch)
    arrays: dict[str, np.ndarray] = {}
    for case in scenario.cases():
        inputs, n_audio = inputs_of(arch, case.clip)
        if not ARCHS[arch].answers:
            keep(arrays, case.name, made := model(**inputs).numpy())
            assert len(made) == n_audio
            print(f"{arch} {case.name}: {n_audio} tokens, std of embeddings {made.std():.2f}", flush=True)
            continue
        tokens, span = prompt(arch, n_audio)
        n_rows = 1 + len(scenario.ANSWER)  # the prompt's last token and the answer's
        logits = []
        for mode in scenario.MODES:
            with boosted(arch, mode, span, n_rows):
                made, embeddings = run(arch, model, inputs, tokens)
            logits.append(made[-n_rows:])
        keep(arrays, case.name, embeddings)
        arrays[f"{case.name}/logits"] = np.stack(logits)
        moved = [round(float(np.abs(x - logits[0]).max()), 2) for x in logits[1:]]
        print(f"{arch} {case.name}: {n_audio} tokens, std of embeddings {embeddings.std():.2f}, of logits "
              f"{logits[0].std():.2f}; MATA moves logits by up to {moved}", flush=True)  # fmt: skip
    arrays["versions"] = np.array([f"torch {torch.__version__}", f"transformers {transformers.__version__}"])
    scenario.REFERENCES.mkdir(exist_ok=True)
    np.savez_compressed(scenario.REFERENCES / f"{arch}.npz", **arrays)


def main() -> None:
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    for arch in sys.argv[1:] or ARCHS:
        write(arch)


if __name__ == "__main__":
    main()
