"""Write references/*.npz: what the reference implementations make of the clips, with and without MATA.

Run by hand, from the root of the repository, where torch==2.13.0, transformers==5.23.0, numpy and gguf are installed:

    python -m tests.parity.audio.write_references [ARCH ...]

Five of the six are transformers' own classes (features, token counts, encoder, language model); MATA is a hook in
their eager attention.  Ultravox is remote code: its encoder is transformers' Whisper without the demand for 30 s, its
projector is written out here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from . import clips, models, scenario
from .models import ARCHS

torch.set_grad_enabled(False)

TEXT = {
    "vocab_size": len(models.TOKENS), "hidden_size": models.N_EMBD, "intermediate_size": models.N_FF,
    "num_hidden_layers": models.N_LAYER, "num_attention_heads": models.N_HEAD,
    "num_key_value_heads": models.N_HEAD_KV, "max_position_embeddings": models.N_CTX, "tie_word_embeddings": False,
}  # fmt: skip
AUDIO = {
    "d_model": models.AUDIO_EMBD, "encoder_layers": models.AUDIO_LAYERS, "num_mel_bins": models.N_MEL,
    "encoder_attention_heads": models.AUDIO_HEADS, "encoder_ffn_dim": models.AUDIO_FF,
    "max_source_positions": models.N_POS,
}  # fmt: skip
SEEING = {"vision_start_token_id": 0, "image_token_id": 1, "video_token_id": 2}  # not in the prompts
VISION = {"depth": 1, "hidden_size": 16, "num_heads": 1, "intermediate_size": 16, "out_hidden_size": models.N_EMBD}


# --- models ------------------------------------------------------------------------------------------


class Ultravox(torch.nn.Module):
    """fixie-ai/ultravox, v0.5 and later, for one clip."""

    def __init__(self) -> None:
        super().__init__()
        config = WhisperConfig(**AUDIO, vocab_size=8, pad_token_id=0, attn_implementation="eager")
        self.audio_tower = WhisperEncoder(config)
        d = models.AUDIO_EMBD * models.ULTRAVOX_STACK
        self.multi_modal_projector = torch.nn.ModuleDict({
            "ln_pre": modeling_llama.LlamaRMSNorm(d, eps=1e-6),
            "linear_1": torch.nn.Linear(d, models.ULTRAVOX_MID, bias=False),
            "ln_mid": modeling_llama.LlamaRMSNorm(models.ULTRAVOX_MID // 2, eps=1e-6),
            "linear_2": torch.nn.Linear(models.ULTRAVOX_MID // 2, models.N_EMBD, bias=False),
        })  # fmt: skip
        self.text = transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, **rope(), rms_norm_eps=1e-6))

    def encode(self, mel: torch.Tensor, n_valid: torch.Tensor) -> torch.Tensor:
        """mel [n_blocks, n_mel, n_frames], n_valid [n_blocks] -> rows [n_blocks, n_rows, n_embd]"""
        tower = self.audio_tower
        x = F.gelu(tower.conv2(F.gelu(tower.conv1(mel)))).transpose(1, 2)
        x = x + tower.embed_positions.weight[: x.shape[1]]
        heard = torch.arange(x.shape[1]) < ((n_valid - 1) // 2 + 1)[:, None]
        mask = torch.where(heard, 0.0, torch.finfo(torch.float32).min)[:, None, None, :]
        for layer in tower.layers:
            x = layer(x, mask)
            x = x[0] if isinstance(x, tuple) else x
        return tower.layer_norm(x)

    def audio_embeddings(self, inputs: dict[str, Any]) -> torch.Tensor:
        rows = self.encode(inputs["audio_values"], inputs["audio_lens"])
        k = models.ULTRAVOX_STACK
        rows = F.pad(rows, (0, 0, 0, -rows.shape[1] % k))
        x = rows.reshape(len(rows), -1, k * rows.shape[2])
        project = self.multi_modal_projector
        x, gate = project["linear_1"](project["ln_pre"](x)).chunk(2, dim=-1)
        x = project["linear_2"](project["ln_mid"](F.silu(gate) * x))
        return torch.cat([block[:n] for block, n in zip(x, inputs["audio_token_len"], strict=True)])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **inputs: Any) -> Any:
        embeddings = self.text.get_input_embeddings()(input_ids)
        embeddings[input_ids == models.AUDIO_TOKEN] = self.audio_embeddings(inputs)
        return self.text(inputs_embeds=embeddings)


def rope(**more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": models.ROPE_BASE, **more}}


def build(arch: str) -> torch.nn.Module:
    sections = list(ARCHS[arch].sections)
    placeholder = models.AUDIO_TOKEN
    short = {
        "hidden_size": AUDIO["d_model"], "num_hidden_layers": AUDIO["encoder_layers"],
        "num_attention_heads": AUDIO["encoder_attention_heads"], "intermediate_size": AUDIO["encoder_ffn_dim"],
    }  # fmt: skip
    match arch:
        case "ultravox":
            return Ultravox()
        case "qwen2_audio":
            config = transformers.Qwen2AudioConfig(
                audio_config=AUDIO, text_config={"model_type": "qwen2", **TEXT, **rope()}, audio_token_index=placeholder
            )
            return transformers.Qwen2AudioForConditionalGeneration(config)
        case "audioflamingo3":
            config = transformers.AudioFlamingo3Config(
                audio_config=short, text_config={"model_type": "qwen2", **TEXT, **rope()}, audio_token_id=placeholder
            )
            return transformers.AudioFlamingo3ForConditionalGeneration(config)
        case "voxtral":
            text = {"model_type": "llama", "head_dim": models.HEAD_DIM, "rms_norm_eps": 1e-6, **TEXT, **rope()}
            config = transformers.VoxtralConfig(audio_config=short, text_config=text, audio_token_id=placeholder)
            return transformers.VoxtralForConditionalGeneration(config)
        case "qwen2_5_omni":
            config = transformers.Qwen2_5OmniThinkerConfig(
                audio_config={**AUDIO, "output_dim": models.N_EMBD, "n_window": 100}, vision_config=VISION,
                text_config={**TEXT, **rope(mrope_section=sections)}, audio_token_index=placeholder, **SEEING,
            )  # fmt: skip
            return transformers.Qwen2_5OmniThinkerForConditionalGeneration(config)
        case "qwen3_omni":
            text = {k: v for k, v in TEXT.items() if k != "tie_word_embeddings"} | {
                "num_experts": models.N_EXPERT, "num_experts_per_tok": models.N_EXPERT_USED,
                "moe_intermediate_size": models.N_FF_EXPERT,
            }  # fmt: skip
            config = transformers.Qwen3OmniMoeThinkerConfig(
                audio_config={**AUDIO, "output_dim": models.N_EMBD, "downsample_hidden_size": models.N_CHANNELS},
                vision_config={**VISION, "num_position_embeddings": 16, "deepstack_visual_indexes": []},
                text_config={**text, **rope(mrope_section=sections, mrope_interleaved=True)},
                audio_token_id=placeholder, **SEEING,
            )  # fmt: skip
            return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config)
    raise ValueError(arch)


def load(arch: str) -> torch.nn.Module:
    """The model with the parameters of models.py; whatever it has besides belongs to seeing."""
    model = build(arch).eval()
    own = {name.removeprefix("model."): value for name, value in model.state_dict(keep_vars=True).items()}
    own = {
        name.replace("text.model.", "language_model.").replace("text.lm", "lm"): value for name, value in own.items()
    }
    for name, x in models.parameters(arch).items():
        target = own.pop(name)
        assert target.shape == x.shape, (name, target.shape, x.shape)
        target.data.copy_(torch.from_numpy(x))
    left = [name for name in own if not name.startswith("visual.") and "audio_bos_eos_token" not in name]
    assert not left, left
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    else:
        model.text.set_attn_implementation("eager")
    return model


# --- clips to inputs ---------------------------------------------------------------------------------


def processor(kind: type, seconds: int, **attributes: Any) -> Any:
    """One of transformers' processors as far as it deals with audio; it needs a tokenizer for nothing else."""
    made = kind.__new__(kind)
    made.feature_extractor = WhisperFeatureExtractor(feature_size=models.N_MEL, chunk_length=seconds)
    made.audio_token = models.TOKENS[models.AUDIO_TOKEN]
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def ultravox_inputs(clip: np.ndarray) -> dict[str, Any]:
    hop, block = 160, 3000
    clip = np.pad(clip, (0, max(0, 2 * hop - len(clip))))
    extractor = WhisperFeatureExtractor(feature_size=models.N_MEL)
    made = extractor(
        clip, sampling_rate=clips.RATE, padding="longest", pad_to_multiple_of=hop, truncation=False,
        return_attention_mask=True, return_tensors="pt",
    )  # fmt: skip
    mel = made["input_features"][0]
    blocks = list(mel.split(block, dim=1))
    lens = torch.tensor([b.shape[1] for b in blocks])
    if len(blocks) > 1:
        blocks[-1] = F.pad(blocks[-1], (0, block - blocks[-1].shape[1]))
    per_token = 2 * models.ULTRAVOX_STACK
    tokens = [-(-int(n) // per_token) for n in lens]
    return {"audio_values": torch.stack(blocks), "audio_lens": lens, "audio_token_len": tokens}


def inputs_of(arch: str, clip: np.ndarray) -> tuple[dict[str, Any], int]:
    """(what the model's forward takes besides tokens, the number of audio tokens)"""
    match arch:
        case "ultravox":
            inputs = ultravox_inputs(clip)
            return inputs, sum(inputs["audio_token_len"])
        case "voxtral":
            made = processor(transformers.VoxtralProcessor, 30)
            kwargs = {
                "sampling_rate": clips.RATE, "padding": True, "truncation": False, "pad_to_multiple_of": 480000,
                "return_tensors": "pt",
            }  # fmt: skip
            features = made._retrieve_input_features([clip], 3000, **kwargs)
            return {"input_features": features}, len(features) * models.N_POS // models.VOXTRAL_STACK
        case "qwen2_audio":
            made = processor(transformers.Qwen2AudioProcessor, 30)
        case "audioflamingo3":
            made = processor(transformers.AudioFlamingo3Processor, 30, max_audio_len=600)
        case "qwen2_5_omni":
            made = processor(transformers.Qwen2_5OmniProcessor, 300)
        case "qwen3_omni":
            made = processor(transformers.Qwen3OmniMoeProcessor, 300)
    kwargs = type(made).audio_kwargs | {"sampling_rate": clips.RATE, "return_tensors": "pt"}
    if arch == "audioflamingo3":
        kwargs["padding"] = "max_length"
    features = made._process_audio([clip], **kwargs)
    features = features[0] if isinstance(features, tuple) else features
    n_tokens = int(features.pop("num_audio_tokens")[0])
    return dict(features), n_tokens


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
        made = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), **inputs)
    return made.logits[0].numpy(), given[0][tokens == models.AUDIO_TOKEN].numpy()


# --- MATA --------------------------------------------------------------------------------------------

TEXT_ATTENTION = {
    "llama": (modeling_llama, modeling_llama.LlamaAttention),
    "qwen2": (modeling_qwen2, modeling_qwen2.Qwen2Attention),
    "qwen2vl": (modeling_qwen2_5_omni, modeling_qwen2_5_omni.Qwen2_5OmniAttention),
    "qwen3vlmoe": (modeling_qwen3_omni_moe, modeling_qwen3_omni_moe.Qwen3OmniMoeThinkerTextAttention),
}


@contextlib.contextmanager
def boosted(arch: str, mode: str, span: tuple[int, int], n_rows: int) -> Iterator[None]:
    """Boost the scores of the last n_rows rows for the columns in span, in the scenario's layers."""
    module, attention = TEXT_ATTENTION[ARCHS[arch].text]
    plain = module.eager_attention_forward

    def forward(layer: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **more: Any) -> Any:
        if not isinstance(layer, attention):
            return plain(layer, query, key, value, attention_mask, scaling=scaling, **more)
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
        scores = query @ key.transpose(2, 3) * scaling
        if (alpha := scenario.ALPHA[layer.layer_idx]) and mode != "off":
            part = scores[:, :, -n_rows:, span[0] : span[1]]
            part += alpha * {"scale": part, "abs": part.abs(), "add": torch.ones_like(part)}[mode]
        if (mask := attention_mask) is None:
            mask = torch.full(scores.shape[-2:], torch.finfo(scores.dtype).min).triu(1)
        weights = (scores + mask[..., : scores.shape[-1]]).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    module.eager_attention_forward = forward
    try:
        yield
    finally:
        module.eager_attention_forward = plain


# --- the files ---------------------------------------------------------------------------------------


def write(arch: str) -> None:
    model = load(arch)
    arrays: dict[str, np.ndarray] = {}
    for case in scenario.cases():
        inputs, n_audio = inputs_of(arch, case.clip)
        tokens, span = prompt(arch, n_audio)
        n_rows = 1 + len(scenario.ANSWER)  # the prompt's last token and the answer's
        logits = []
        for mode in scenario.MODES:
            with boosted(arch, mode, span, n_rows):
                made, embeddings = run(arch, model, inputs, tokens)
            logits.append(made[-n_rows:])
        arrays[f"{case.name}/embeddings"] = embeddings[scenario.kept_rows(n_audio)]
        arrays[f"{case.name}/sums"] = embeddings @ scenario.SUM
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
