"""Clips as the reference implementations' processors prepare them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import WhisperFeatureExtractor

from . import clips, models
from .models import ARCHS


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
        case "gemma4" | "gemma4_unified":
            kind = transformers.Gemma4AudioFeatureExtractor
            if arch == "gemma4_unified":
                kind = transformers.Gemma4UnifiedAudioFeatureExtractor
            features = kind()([clip], return_tensors="pt")
            mask = features["input_features_mask"]
            n_tokens = int(mask.sum()) if arch == "gemma4_unified" else -(-int(mask.sum()) // 4)
            return dict(features), n_tokens
        case "parakeet":
            extractor = transformers.ParakeetFeatureExtractor(feature_size=models.N_MEL, n_fft=512)
            features = extractor([clip], sampling_rate=clips.RATE, return_tensors="pt")
            return dict(features), -(-(len(clip) // 160 + 1) // 8)
        case "granite_speech":
            features = transformers.GraniteSpeechFeatureExtractor()(clip)
            n_tokens = int(features.pop("audio_embed_sizes")[0])
            return dict(features), n_tokens
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
        case "qwen3_asr":
            extractor = transformers.Qwen3ASRFeatureExtractor(feature_size=models.N_MEL)
            made = processor(transformers.Qwen3ASRProcessor, 30, feature_extractor=extractor)
        case "glmasr":
            made = processor(transformers.GlmAsrProcessor, 30, max_audio_len=655)
        case "musicflamingo":
            marks = {"audio_bos_token": ARCHS[arch].begin[0], "audio_eos_token": ARCHS[arch].end[0]}
            made = processor(transformers.MusicFlamingoProcessor, 30, max_audio_len=1200, **marks)
    kwargs = type(made).audio_kwargs | {"sampling_rate": clips.RATE, "return_tensors": "pt"}
    if arch in ("audioflamingo3", "glmasr", "musicflamingo"):
        kwargs["padding"] = "max_length"
    features = made._process_audio([clip], **kwargs)
    features = features[0] if isinstance(features, tuple) else features
    n_tokens = int(features.pop("num_audio_tokens")[0])
    return dict(features), n_tokens
