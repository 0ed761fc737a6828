"""Tiny random models of the audio architectures whose clips become tokens as in the reference.

The parameters are made by name from a frozen random stream, so the models exist without torch.  Names and
shapes are those of the reference's state dict (write_references.py loads them there); ``write_mmproj`` and
``write_text`` write what the converter of the pinned llama.cpp makes of them (check_conversion.py holds them to it).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import gguf
import numpy as np
from numpy.typing import NDArray

from . import gemma4, gemma4_text, granite_speech, parakeet, text, whisper
from .sizes import (
    ARCHS,
    AUDIO_EMBD,
    AUDIO_FF,
    AUDIO_HEADS,
    AUDIO_TOKEN,
    END_TOKEN,
    GLM_STACK,
    HEAD_DIM,
    MARKERS,
    N_CHANNELS,
    N_CTX,
    N_EMBD,
    N_EXPERT,
    N_EXPERT_USED,
    N_FF,
    N_FF_EXPERT,
    N_HEAD,
    N_HEAD_KV,
    N_LAYER,
    N_MEL,
    N_POS,
    ROPE_BASE,
    TOKENS,
    ULTRAVOX_MID,
    ULTRAVOX_STACK,
    VOXTRAL_STACK,
    Arch,
    Array,
)

__all__ = [
    "ARCHS", "AUDIO_EMBD", "AUDIO_FF", "AUDIO_HEADS", "AUDIO_TOKEN", "END_TOKEN", "FORMULA", "GLM_STACK",
    "HEAD_DIM", "MARKERS", "N_CHANNELS", "N_CTX", "N_EMBD", "N_EXPERT", "N_EXPERT_USED", "N_FF", "N_FF_EXPERT",
    "N_HEAD", "N_HEAD_KV", "N_LAYER", "N_MEL", "N_POS", "ROPE_BASE", "TOKENS", "ULTRAVOX_MID", "ULTRAVOX_STACK",
    "VOXTRAL_STACK", "Arch", "Array", "add_word_tokenizer", "audio_tensors", "parameter", "parameters", "shapes",
    "stored_only", "text_tensors", "write_mmproj", "write_text",
]  # fmt: skip

FORMULA = whisper.FORMULA
AUDIO: dict[str, ModuleType] = {
    "whisper": whisper, "granite_speech": granite_speech, "gemma4": gemma4, "parakeet": parakeet
}  # fmt: skip
TEXT: dict[str, ModuleType] = {"gemma4": gemma4_text}


def _audio(arch: str) -> ModuleType:
    return AUDIO[ARCHS[arch].kind]


def _text(arch: str) -> ModuleType:
    return TEXT.get(ARCHS[arch].text, text)


# --- parameters --------------------------------------------------------------------------------------


def shapes(arch: str, n_vocab: int = 0) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every parameter, as in the reference's state dict without its outermost "model."."""
    yield from _audio(arch).shapes(arch)
    yield from _text(arch).shapes(arch, n_vocab or len(ARCHS[arch].tokens))


def stored_only(arch: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Of what the files hold besides."""
    yield from getattr(_audio(arch), "stored_only", lambda _: ())(arch)


def parameter(arch: str, name: str, shape: tuple[int, ...]) -> Array:
    """Neither flat nor one-hot attention, logits of a standard deviation of 2 to 3."""
    x = np.random.RandomState(zlib.crc32(f"{arch} {name}".encode())).standard_normal(shape)
    if (drawn := getattr(_audio(arch), "gain", lambda *_: None)(name, shape)) is not None:
        return np.asarray(drawn[0] + drawn[1] * x, np.float32)
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
    if name.endswith("weight") and ("subsampl" in name or ("conv" in name and ARCHS[arch].halves)):
        x = x.astype(np.float16)  # the converter stores them so, or ggml rounds them
    return x.astype(np.float32)


def parameters(arch: str, n_vocab: int = 0) -> dict[str, Array]:
    return {name: parameter(arch, name, shape) for name, shape in shapes(arch, n_vocab)}


# --- GGUF --------------------------------------------------------------------------------------------


def audio_tensors(arch: str, as_converted: bool = False) -> Iterator[tuple[str, NDArray]]:
    """(name, array) of the projector file.

    as_converted: under the names that the pin's converter writes, also where its loader reads others.
    """
    more = {name: parameter(arch, name, shape) for name, shape in stored_only(arch)}
    kwargs = {"norm": granite_speech.CONVERTED} if as_converted and arch == "granite_speech" else {}
    yield from _audio(arch).tensors(arch, parameters(arch) | more, **kwargs)


def text_tensors(arch: str, n_vocab: int = 0) -> Iterator[tuple[str, Array]]:
    """(name, array) of the text model's file."""
    yield from _text(arch).tensors(arch, parameters(arch, n_vocab))


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
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_uint32("clip.audio.projection_dim", N_EMBD)
    for name, value in _audio(arch).keys(arch):
        if name.endswith("stack_factor") and stack:
            value = stack
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)]
        add(name, value)
    more(writer)
    _write(writer, audio_tensors(arch) if tensors is None else tensors, types)
    return path


def add_word_tokenizer(writer: gguf.GGUFWriter, tokens: tuple[str, ...] = TOKENS) -> int:
    """Words w0, w1, ..., and markers."""
    words = {token for token in tokens if re.fullmatch(r"w\d+", token)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(tokens))
    writer.add_token_types([gguf.TokenType.NORMAL if t in words else gguf.TokenType.CONTROL for t in tokens])
    writer.add_token_merges(["w 0"])
    writer.add_eos_token_id(END_TOKEN)
    writer.add_add_bos_token(False)
    return len(tokens)


def write_text(arch: str, path: Path, add_tokenizer: Callable[[gguf.GGUFWriter], int] | None = None) -> Path:
    """add_tokenizer writes the vocabulary and gives its size; without one, it has the words of the tests."""
    writer = gguf.GGUFWriter(path, ARCHS[arch].text)
    writer.add_type("model")
    n_vocab = add_tokenizer(writer) if add_tokenizer else add_word_tokenizer(writer, ARCHS[arch].tokens)
    _text(arch).add_keys(arch, writer, n_vocab)
    _write(writer, text_tensors(arch, n_vocab))
    return path
