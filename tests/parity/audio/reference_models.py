"""The reference implementations' models, tiny, with the parameters of models.

Ultravox is remote code: its encoder is transformers' Whisper without the demand for 30 s, its projector is written out
here.  The others are transformers' own classes.
"""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from transformers import WhisperConfig
from transformers.models.llama import modeling_llama
from transformers.models.nemotron_h_omni import modeling_nemotron_h_omni
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from . import models
from .models import ARCHS, gemma4, gemma4_text, parakeet
from .models import granite_speech as granite
from .models.text import GRANITE_SCALES

TEXT = {
    "hidden_size": models.N_EMBD, "intermediate_size": models.N_FF,
    "num_hidden_layers": models.N_LAYER, "num_attention_heads": models.N_HEAD,
    "num_key_value_heads": models.N_HEAD_KV, "max_position_embeddings": models.N_CTX, "tie_word_embeddings": False,
}  # fmt: skip
AUDIO = {
    "num_mel_bins": models.N_MEL, "encoder_attention_heads": models.AUDIO_HEADS,
    "encoder_ffn_dim": models.AUDIO_FF, "max_source_positions": models.N_POS,
}  # fmt: skip
SEEING = {"vision_start_token_id": 0, "image_token_id": 1, "video_token_id": 2}  # not in the prompts
VISION = {"depth": 1, "hidden_size": 16, "num_heads": 1, "intermediate_size": 16, "out_hidden_size": models.N_EMBD}


class Ultravox(torch.nn.Module):
    """fixie-ai/ultravox, v0.5 and later, for one clip."""

    def __init__(self) -> None:
        super().__init__()
        config = WhisperConfig(**audio_config("ultravox"), vocab_size=8, pad_token_id=0, attn_implementation="eager")
        self.audio_tower = WhisperEncoder(config)
        d = models.AUDIO_EMBD * models.ULTRAVOX_STACK
        self.multi_modal_projector = torch.nn.ModuleDict({
            "ln_pre": modeling_llama.LlamaRMSNorm(d, eps=1e-6),
            "linear_1": torch.nn.Linear(d, models.ULTRAVOX_MID, bias=False),
            "ln_mid": modeling_llama.LlamaRMSNorm(models.ULTRAVOX_MID // 2, eps=1e-6),
            "linear_2": torch.nn.Linear(models.ULTRAVOX_MID // 2, models.N_EMBD, bias=False),
        })  # fmt: skip
        self.text = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**text_config("ultravox"), **rope(), rms_norm_eps=1e-6)
        )

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


class Parakeet(torch.nn.Module):
    """The ears of Nemotron-H omni, as transformers' class for the whole model puts them together."""

    def __init__(self) -> None:
        super().__init__()
        config = transformers.ParakeetEncoderConfig(
            hidden_size=models.AUDIO_EMBD, num_hidden_layers=ARCHS["parakeet"].layers,
            num_attention_heads=models.AUDIO_HEADS, intermediate_size=models.AUDIO_FF, num_mel_bins=models.N_MEL,
            subsampling_conv_channels=models.N_CHANNELS, conv_kernel_size=parakeet.KERNEL,
            attention_bias=False, convolution_bias=False, scale_input=False, attn_implementation="eager",
        )  # fmt: skip
        self.audio_tower = transformers.ParakeetEncoder(config)
        project = modeling_nemotron_h_omni.NemotronH_Omni_Reasoning_V3MultiModalProjector
        self.embed_audio = project(models.AUDIO_EMBD, parakeet.N_MID, models.N_EMBD, eps=1e-5)

    def forward(self, input_features: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        rows = self.audio_tower(input_features=input_features, attention_mask=attention_mask).last_hidden_state
        n = self.audio_tower._get_subsampling_output_length(attention_mask.sum(-1) + 1)
        return self.embed_audio(rows)[0, : int(n[0])]


def rope(**more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": models.ROPE_BASE, **more}}


def text_config(arch: str) -> dict[str, Any]:
    return {"vocab_size": len(ARCHS[arch].tokens), **TEXT}


def audio_config(arch: str) -> dict[str, Any]:
    return {"encoder_layers": ARCHS[arch].layers, "d_model": ARCHS[arch].width, **AUDIO}


def build(arch: str) -> torch.nn.Module:
    sections = list(ARCHS[arch].sections)
    placeholder = models.AUDIO_TOKEN
    text, audio = text_config(arch), audio_config(arch)
    short = {
        "hidden_size": audio["d_model"], "num_hidden_layers": audio["encoder_layers"],
        "num_attention_heads": audio["encoder_attention_heads"], "intermediate_size": audio["encoder_ffn_dim"],
    }  # fmt: skip
    match arch:
        case "ultravox":
            return Ultravox()
        case "qwen2_audio":
            config = transformers.Qwen2AudioConfig(
                audio_config=audio, text_config={"model_type": "qwen2", **text, **rope()}, audio_token_index=placeholder
            )
            return transformers.Qwen2AudioForConditionalGeneration(config)
        case "audioflamingo3":
            config = transformers.AudioFlamingo3Config(
                audio_config=short, text_config={"model_type": "qwen2", **text, **rope()}, audio_token_id=placeholder
            )
            return transformers.AudioFlamingo3ForConditionalGeneration(config)
        case "voxtral":
            text |= {"model_type": "llama", "head_dim": models.HEAD_DIM, "rms_norm_eps": 1e-6, **rope()}
            config = transformers.VoxtralConfig(audio_config=short, text_config=text, audio_token_id=placeholder)
            return transformers.VoxtralForConditionalGeneration(config)
        case "qwen2_5_omni":
            config = transformers.Qwen2_5OmniThinkerConfig(
                audio_config={**audio, "output_dim": models.N_EMBD, "n_window": 100}, vision_config=VISION,
                text_config={**text, **rope(mrope_section=sections)}, audio_token_index=placeholder, **SEEING,
            )  # fmt: skip
            return transformers.Qwen2_5OmniThinkerForConditionalGeneration(config)
        case "qwen3_omni":
            text = {k: v for k, v in text.items() if k != "tie_word_embeddings"} | {
                "num_experts": models.N_EXPERT, "num_experts_per_tok": models.N_EXPERT_USED,
                "moe_intermediate_size": models.N_FF_EXPERT,
            }  # fmt: skip
            config = transformers.Qwen3OmniMoeThinkerConfig(
                audio_config={**audio, "output_dim": models.N_EMBD, "downsample_hidden_size": models.N_CHANNELS},
                vision_config={**VISION, "num_position_embeddings": 16, "deepstack_visual_indexes": []},
                text_config={**text, **rope(mrope_section=sections, mrope_interleaved=True)},
                audio_token_id=placeholder, **SEEING,
            )  # fmt: skip
            return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config)
        case "qwen3_asr":
            about = audio | {"model_type": "qwen3_asr_encoder", "output_dim": models.N_EMBD}
            about |= {"downsample_hidden_size": models.N_CHANNELS}
            del about["max_source_positions"]
            text |= {"model_type": "qwen3", "head_dim": models.HEAD_DIM, **rope()}
            config = transformers.Qwen3ASRConfig(
                audio_config=about, text_config=text, audio_token_id=placeholder, tie_word_embeddings=False
            )
            return transformers.Qwen3ASRForConditionalGeneration(config)
        case "glmasr":
            text |= {"model_type": "llama", "head_dim": models.HEAD_DIM, "rms_norm_eps": 1e-6, **rope()}
            config = transformers.GlmAsrConfig(
                audio_config={"model_type": "glmasr_encoder", **short}, text_config=text, audio_token_id=placeholder,
                tie_word_embeddings=False,
            )  # fmt: skip
            return transformers.GlmAsrForConditionalGeneration(config)
        case "musicflamingo":
            config = transformers.MusicFlamingoConfig(
                audio_config={"model_type": "audioflamingo3_encoder", **short},
                text_config={"model_type": "qwen2", **text, **rope()}, audio_token_id=placeholder,
            )  # fmt: skip
            return transformers.MusicFlamingoForConditionalGeneration(config)
        case "granite_speech":
            scales = {
                "embedding_multiplier": "embedding_scale", "residual_multiplier": "residual_scale",
                "attention_multiplier": "attention.scale", "logits_scaling": "logit_scale",
            }  # fmt: skip
            text |= {name: GRANITE_SCALES[ours] for name, ours in scales.items()}
            d = models.AUDIO_EMBD
            config = transformers.GraniteSpeechConfig(
                encoder_config={
                    "input_dim": granite.N_MEL_STACKED, "num_layers": ARCHS[arch].layers, "hidden_dim": d,
                    "num_heads": models.AUDIO_HEADS, "output_dim": granite.N_CTC, "context_size": granite.BLOCK,
                    "max_pos_emb": granite.MAX_POSITION, "conv_kernel_size": granite.KERNEL,
                },
                projector_config={
                    "model_type": "blip_2_qformer", "hidden_size": d, "num_hidden_layers": granite.N_QFORMER,
                    "num_attention_heads": models.AUDIO_HEADS, "intermediate_size": granite.QFORMER_FF,
                    "encoder_hidden_size": d, "cross_attention_frequency": 1, "layer_norm_eps": 1e-12,
                },
                text_config={"model_type": "granite", **text, **rope()}, audio_token_index=placeholder,
                has_lora_adapter=False, tie_word_embeddings=False, window_size=granite.WINDOW,
                downsample_rate=granite.DOWNSAMPLE,
            )  # fmt: skip
            return transformers.GraniteSpeechForConditionalGeneration(config)
        case "gemma4" | "gemma4_unified":
            return gemma(arch)
        case "parakeet":
            return Parakeet()
    raise ValueError(arch)


def gemma(arch: str) -> torch.nn.Module:
    about = {
        **text_config(arch), "tie_word_embeddings": True, "head_dim": models.HEAD_DIM,
        "global_head_dim": gemma4_text.HEAD_DIM_FULL, "layer_types": list(gemma4_text.layers(arch)),
        "num_hidden_layers": len(gemma4_text.layers(arch)),
        "sliding_window": gemma4_text.SLIDING, "final_logit_softcapping": gemma4_text.SOFTCAP,
    }  # fmt: skip
    common = {"vision_config": None, "audio_token_id": models.AUDIO_TOKEN}
    if arch == "gemma4_unified":
        about |= {"attention_k_eq_v": True, "num_global_key_value_heads": gemma4_text.N_HEAD_KV_FULL}
        config = transformers.Gemma4UnifiedConfig(
            text_config=about, audio_config={"audio_embed_dim": gemma4.SAMPLES}, **common
        )
        return transformers.Gemma4UnifiedForConditionalGeneration(config)
    about |= {
        "vocab_size_per_layer_input": about["vocab_size"], "hidden_size_per_layer_input": gemma4_text.N_PER_LAYER,
        "num_kv_shared_layers": gemma4_text.N_SHARED, "use_double_wide_mlp": True,
    }  # fmt: skip
    audio = {
        "hidden_size": models.AUDIO_EMBD, "num_hidden_layers": ARCHS[arch].layers,
        "num_attention_heads": models.AUDIO_HEADS, "output_proj_dims": gemma4.N_OUT,
        "subsampling_conv_channels": list(gemma4.CHANNELS), "conv_kernel_size": gemma4.KERNEL,
    }  # fmt: skip
    config = transformers.Gemma4Config(text_config=about, audio_config=audio, **common)
    return transformers.Gemma4ForConditionalGeneration(config)


def load(arch: str) -> torch.nn.Module:
    """The model with the parameters of models; whatever it has besides belongs to seeing."""
    model = build(arch).eval()
    own = {name.removeprefix("model."): value for name, value in model.state_dict(keep_vars=True).items()}
    own = {
        name.replace("text.model.", "language_model.").replace("text.lm", "lm"): value for name, value in own.items()
    }
    for name, x in models.parameters(arch).items():
        if not ARCHS[arch].answers and name.startswith(("language_model.", "lm_head.")):
            continue
        target = own.pop(name)
        assert target.shape == x.shape, (name, target.shape, x.shape)
        target.data.copy_(torch.from_numpy(x))
    left = [name for name in own if not name.startswith("visual.")]
    left = [name for name in left if not ARCHS[arch].text.startswith("gemma") or name != "lm_head.weight"]  # tied
    left = [name for name in left if not re.search("audio_bos_eos_token|num_batches_tracked", name)]
    assert not left, left
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    elif ARCHS[arch].answers:
        model.text.set_attn_implementation("eager")
    return model
