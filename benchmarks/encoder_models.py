"""Projectors with random weights at the size of the published models, each beside a small language model.

The tests write tiny models of every audio architecture (tests/parity/audio/models); here the same code writes them
with other sizes.  Matrices are F16; what the converter of llama.cpp stores in F32 is F32.  All tensors of one form hold
the same numbers.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from parity.audio import models  # noqa: E402
from parity.audio.models import gemma4, gemma4_text, granite_speech, parakeet, text, whisper  # noqa: E402

MODULES = (models, gemma4, gemma4_text, granite_speech, parakeet, text, whisper)


@dataclass(frozen=True)
class Size:
    """Of a published model's encoder and what follows it."""

    model: str
    layers: int
    width: int
    heads: int
    n_embd: int  # of the language model
    more: Mapping[str, int] = field(default_factory=dict)  # by their names in the tests' modules
    floats: str = ""  # names of the matrices that are F32

    @property
    def ff(self) -> int:
        return 4 * self.width


def whisper_large(model: str, n_embd: int, **more: int) -> Size:
    return Size(model, 32, 1280, 20, n_embd, more)


SIZES = {
    "qwen2_audio": whisper_large("Qwen2-Audio 7B", 4096),
    "qwen2_5_omni": whisper_large("Qwen2.5-Omni 7B", 3584),
    "qwen3_omni": whisper_large("Qwen3-Omni 30B-A3B", 2048, N_CHANNELS=480),
    "qwen3_asr": Size("Qwen3-ASR 1.7B", 24, 1024, 16, 2048, {"N_CHANNELS": 480}),
    "ultravox": whisper_large("Ultravox 0.5 1B", 2048, ULTRAVOX_MID=4096),
    "voxtral": whisper_large("Voxtral Mini 3B", 3072),
    "audioflamingo3": whisper_large("Audio Flamingo 3", 3584),
    "musicflamingo": whisper_large("Music Flamingo", 3584),
    "glmasr": whisper_large("GLM-ASR Nano", 2048),
    "gemma4": Size(
        "Gemma 4 E2B", 12, 1024, 8, 1536, {"N_OUT": 1536}, floats=r"a\.conv1d|conv_dw|a\.input_projection"
    ),
    "gemma4_unified": Size("Gemma 4 12B", 0, 640, 0, 3840),
    "granite_speech": Size(
        "Granite Speech 2B", 16, 1024, 8, 2048, {"N_CTC": 256, "QFORMER_FF": 4096}, floats=r"conv_(pw|dw)"
    ),
    "parakeet": Size(
        "Nemotron 3 Nano Omni", 24, 1024, 8, 2688, {"N_CHANNELS": 256, "N_MID": 4096}, floats="conv"
    ),
}  # fmt: skip
"""By the tests' names of the architectures."""

UNTOLD = ("qwen2", "qwen2vl", "qwen3vlmoe", "granite")
"""Language models whose heads, in the tests' files, share the whole width."""


@contextmanager
def sized(arch: str, size: Size) -> Iterator[None]:
    """Meanwhile the tests' code makes models of this size."""
    constants = {
        "AUDIO_EMBD": size.width, "AUDIO_HEADS": size.heads, "AUDIO_FF": size.ff, "N_EMBD": size.n_embd,
        "N_LAYER": 1, **size.more,
    }  # fmt: skip
    if models.ARCHS[arch].text in UNTOLD:
        constants |= {"N_HEAD": 16, "HEAD_DIM": size.n_embd // 16}
    about = replace(models.ARCHS[arch], layers=size.layers, width=size.width)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(models.ARCHS, {arch: about}))
        for module, (name, value) in itertools.product(MODULES, constants.items()):
            if hasattr(module, name):
                stack.enter_context(mock.patch.object(module, name, value))
        yield


class Drawn(Mapping[str, NDArray[np.floating[Any]]]):
    """A projector's parameters by their names in the reference, made when asked for."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._made: dict[tuple[int, ...], NDArray[np.float16]] = {}
        self._rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, name: str) -> NDArray[np.floating[Any]]:
        shape = self._shapes[name]
        if len(shape) < 2:
            clamp = -1e3 if name.endswith("_min") else 1e3 if name.endswith("_max") else None
            value = clamp or (0.0 if name.endswith(("bias", "mean", "per_dim_scale")) else 1.0)
            return np.full(shape, value, np.float32)
        if shape not in self._made:
            std = float(np.prod(shape[1:])) ** -0.5
            self._made[shape] = (std * self._rng.standard_normal(shape, dtype=np.float32)).astype(np.float16)
        return self._made[shape]


def projector_tensors(arch: str, size: Size) -> Iterator[tuple[str, NDArray[np.floating[Any]]]]:
    """(name, array) as in the GGUF; within sized()."""
    module = models.AUDIO[models.ARCHS[arch].kind]
    shapes = dict(module.shapes(arch)) | dict(models.stored_only(arch))
    for name, x in module.tensors(arch, Drawn(shapes)):
        whole = x.ndim < 2 or not name.endswith(".weight") or name == "a.position_embd.weight"
        if whole or (size.floats and re.search(size.floats, name)):
            x = x.astype(np.float32)
        yield name, x


def write(arch: str, size: Size, folder: Path) -> tuple[Path, Path]:
    """(language model, projector)"""
    with sized(arch, size):
        language = models.write_text(arch, folder / f"{arch}-text.gguf")
        projector = folder / f"{arch}-mmproj.gguf"
        models.write_mmproj(arch, projector, tensors=projector_tensors(arch, size))
    return language, projector
