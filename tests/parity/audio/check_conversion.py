"""Hold the files of models to the pinned llama.cpp's own converter: the same tensors, the same hyperparameters.

Run by hand where torch, transformers and safetensors are installed, from the root of the repository, with the folder
of llama.cpp inside the pinned source distribution:

    python -m tests.parity.audio.check_conversion vendor/llama.cpp [ARCH ...]

The parameters are stored under the names of the published checkpoints, with the configuration that transformers
writes; the vocabulary is left out, which the converter would want to recognise.
"""

# ruff: noqa: E402

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]) / "gguf-py")]  # the converter needs the gguf that it came with

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from . import models
from .models import ARCHS, gemma4_text, parakeet, whisper
from .reference_models import VISION, audio_config, build, rope, text_config

CHECKPOINT = {
    "ultravox": "UltravoxModel", "qwen2_audio": "Qwen2AudioForConditionalGeneration",
    "audioflamingo3": "AudioFlamingo3ForConditionalGeneration", "voxtral": "VoxtralForConditionalGeneration",
    "qwen2_5_omni": "Qwen2_5OmniModel", "qwen3_omni": "Qwen3OmniMoeForConditionalGeneration",
    "qwen3_asr": "Qwen3ASRForConditionalGeneration", "glmasr": "GlmasrModel",
    "musicflamingo": "AudioFlamingo3ForConditionalGeneration",  # as which it has to be converted
    "gemma4": "Gemma4ForConditionalGeneration", "gemma4_unified": "Gemma4UnifiedForConditionalGeneration",
    "parakeet": "NemotronH_Nano_VL_V2", "granite_speech": "GraniteSpeechForConditionalGeneration",
}  # fmt: skip

# What the published models' configurations say besides and the converter asks for.
SEEING = {**VISION, "image_size": 28, "patch_size": 14, "fullatt_block_indexes": [0], "window_size": 28}
SEEING |= {"num_position_embeddings": 4, "deepstack_visual_indexes": [], "in_channels": 3}
PREPROCESSOR = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


GLM_NAMES = {
    "self_attn.o_proj": "self_attn.out_proj", "input_layernorm": "self_attn_layer_norm",
    "post_attention_layernorm": "final_layer_norm", "mlp.fc": "fc", "audio_tower.norm": "audio_encoder.layer_norm",
    "audio_tower.": "audio_encoder.whisper.", "multi_modal_projector.linear_1": "audio_encoder.adapting.0",
    "multi_modal_projector.linear_2": "audio_encoder.adapting.2",
    "audio_encoder.whisper.bos_eos": "audio_encoder.audio_bos_eos_token",
}  # fmt: skip
PARAKEET_NAMES = {
    "audio_tower.": "sound_encoder.encoder.", "embed_audio.layer_norm": "sound_projection.norm",
    "embed_audio.linear_": "sound_projection.linear",
}  # fmt: skip
ASR_NAMES = {"multi_modal_projector.linear_": "audio_tower.proj"}


def renamed(name: str, audio: dict[str, str], prefix: str = "") -> str:
    """audio: replacements in the names of the audio part, one after the other."""
    if name.startswith("language_model."):
        return prefix + "model." + name.removeprefix("language_model.")
    if not name.startswith("lm_head."):
        for old, new in audio.items():
            name = name.replace(old, new)
    return prefix + name


def checkpoint_names(arch: str, part: str) -> dict[str, np.ndarray]:
    """Parameters under the names that the published checkpoints have; part is "text" or "mmproj"."""
    stored = {}
    besides = {name: models.parameter(arch, name, shape) for name, shape in models.stored_only(arch)}
    for name, x in (models.parameters(arch) | besides).items():
        if arch == "ultravox" and part == "text":  # a checkpoint of its own
            name = name.replace("language_model.", "model.")
        elif arch.endswith("omni"):
            name = renamed(name, {}, "thinker.")
        elif arch == "qwen3_asr":
            name = renamed(name, ASR_NAMES, "thinker.")
        elif arch == "glmasr":
            if name.startswith("audio_tower.") and name.partition("self_attn.")[2].startswith(("q_", "k_")):
                x = whisper.to_neighbours(x)
            name = renamed(name, GLM_NAMES)
        elif arch == "parakeet":
            name = renamed(name, PARAKEET_NAMES)
        elif arch.startswith("gemma4"):
            name = "model." + name
        else:
            name = name.replace("language_model.", "language_model.model.").replace("lm_head", "language_model.lm_head")
        if name.endswith("experts.gate_up_proj"):
            for e, expert in enumerate(x):
                stem = name.removesuffix("gate_up_proj") + f"{e}."
                stored[stem + "gate_proj.weight"] = expert[: models.N_FF_EXPERT]
                stored[stem + "up_proj.weight"] = expert[models.N_FF_EXPERT :]
        elif name.endswith("experts.down_proj"):
            for e, expert in enumerate(x):
                stored[name.removesuffix("down_proj") + f"{e}.down_proj.weight"] = expert
        else:
            stored[name] = x
    if arch == "parakeet" and part == "mmproj":
        featurizer = "sound_encoder.encoder.feature_extractor.featurizer."
        stored |= {featurizer + "fb": parakeet.mel_filters(), featurizer + "window": parakeet.window()}
        stored |= {name.replace("mm.model.mlp", "mlp1"): x for name, x in models.audio_tensors(arch) if "model" in name}
    if arch == "ultravox":
        audio = ("audio_tower.", "multi_modal_projector.")
        stored = {name: x for name, x in stored.items() if name.startswith(audio) == (part == "mmproj")}
    return stored


def configuration(arch: str, part: str) -> dict[str, Any]:
    match arch:
        case "ultravox" if part == "text":
            about = {"model_type": "llama", "rms_norm_eps": 1e-6, "head_dim": models.HEAD_DIM, **text_config(arch)}
            return about | rope() | {"architectures": ["LlamaForCausalLM"]}
        case "ultravox":
            about = {"stack_factor": models.ULTRAVOX_STACK, "text_config": text_config(arch)}
            about["audio_config"] = audio_config(arch)
        case "parakeet" if part == "text":
            about = {"model_type": "llama", "rms_norm_eps": 1e-6, "head_dim": models.HEAD_DIM, **text_config(arch)}
            return about | rope() | {"architectures": ["LlamaForCausalLM"]}
        case "parakeet":
            sound = build(arch).audio_tower.config.to_dict()
            text = {"hidden_size": models.N_EMBD, "num_hidden_layers": models.N_LAYER}
            about = {"sound_config": sound, "vision_config": {"patch_size": 16}, "llm_config": text}
        case "glmasr":
            text = {"model_type": "llama", "rms_norm_eps": 1e-6, "head_dim": models.HEAD_DIM, **text_config(arch)}
            about = {"model_type": "Glmasr", "merge_factor": models.GLM_STACK, "whisper_config": audio_config(arch)}
            about["lm_config"] = text | rope() | {"architectures": ["LlamaForCausalLM"]}
        case _:
            about = json.loads(build(arch).config.to_json_string(use_diff=False))
    if arch.endswith("omni"):
        about = {"model_type": arch, "thinker_config": about | {"vision_config": SEEING}}
    if arch == "qwen3_asr":
        text = about["text_config"] | {"rope_scaling": {"mrope_section": list(ARCHS[arch].sections)}}
        text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
        audio = about["audio_config"]
        about = {"model_type": arch, "thinker_config": {"audio_config": audio, "text_config": text}}
    if arch.startswith("gemma4"):
        about["text_config"] |= {"global_head_dim": gemma4_text.HEAD_DIM_FULL, "moe_intermediate_size": None}
        about["vision_config"] = {
            "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 1, "intermediate_size": 16,
            "patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": 16, "rms_norm_eps": 1e-6,
        }  # fmt: skip
    if arch == "granite_speech":
        about["text_config"] |= {"architectures": ["GraniteForCausalLM"]}
    if arch == "musicflamingo":
        del about["head_dim"]  # of the encoder: the converter would take it for the text model's
        about["model_type"] = "audioflamingo3"
    return about | {"architectures": [CHECKPOINT[arch]]}


def convert(folder: Path, part: str) -> gguf.GGUFReader:
    import conversion
    from conversion import base

    kind = base.ModelType.MMPROJ if part == "mmproj" else base.ModelType.TEXT
    hparams = base.ModelBase.load_hparams(folder, False)
    named = base.get_model_architecture(hparams, kind)
    converter = conversion.get_model_class(named, mmproj=part == "mmproj")
    converter.set_vocab = lambda self: None
    converter(folder, gguf.LlamaFileType.ALL_F32, folder / "out.gguf", hparams=hparams).write()
    return gguf.GGUFReader(next(folder.glob("*.gguf")))


def tensors(reader: gguf.GGUFReader) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        t.name: (t.tensor_type.name, tuple(int(n) for n in t.shape), t.data.tobytes())
        for t in reader.tensors
        if not t.name.startswith("v.")
    }


def hyperparameters(reader: gguf.GGUFReader) -> dict[str, Any]:
    skipped = ("GGUF.", "general.", "tokenizer.", "clip.vision.", "clip.has_vision_encoder", "clip.use_")
    return {k: f.contents() for k, f in reader.fields.items() if not k.startswith(skipped)}


def differences(arch: str, part: str, folder: Path) -> list[str]:
    (folder / "config.json").write_text(json.dumps(configuration(arch, part)))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    vocabulary = {token: i for i, token in enumerate(ARCHS[arch].tokens)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": []}))
    stored = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in checkpoint_names(arch, part).items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    theirs = convert(folder, part)
    ours = gguf.GGUFReader(
        models.write_mmproj(arch, folder / "own.bin", tensors=models.audio_tensors(arch, as_converted=True))
        if part == "mmproj"
        else models.write_text(arch, folder / "own.bin")
    )
    found = []
    a, b = tensors(ours), tensors(theirs)
    for name in sorted(a.keys() | b.keys()):
        x, y = a.get(name), b.get(name)
        if x is None or y is None:
            found.append(f"{name}: {'only here' if y is None else 'only there'}")
        elif x[:2] != y[:2]:
            found.append(f"{name}: {x[:2]} here, {y[:2]} there")
        elif x[2] != y[2]:
            apart = np.abs(np.frombuffer(x[2], np.float32) - np.frombuffer(y[2], np.float32)).max()
            # sines of large numbers; roots and logarithms
            near = 1e-4 if "position_embd" in name else 1e-6 if re.search("conv_norm|per_dim", name) else 0
            if apart > near:
                found.append(f"{name}: differs by {apart:.1e}")
    mine, other = hyperparameters(ours), hyperparameters(theirs)
    found += [f"{k}: {mine[k]} here, {other.get(k)} there" for k in sorted(mine) if mine[k] != other.get(k)]
    found += [f"{k}: only there ({other[k]})" for k in sorted(other.keys() - mine.keys())]
    return found


def main() -> int:
    transformers.utils.logging.set_verbosity_error()
    failed = 0
    for arch in sys.argv[2:] or ARCHS:
        for part in ("text", "mmproj"):
            with tempfile.TemporaryDirectory() as folder:
                found = differences(arch, part, Path(folder))
            print(f"{arch} {part}: {'equal' if not found else ''}", *found, sep="\n  " if found else "")
            failed += bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
