"""The sizes of the tiny models, their words, and what the tests have to know of each architecture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

N_EMBD, N_LAYER, N_HEAD, N_HEAD_KV, HEAD_DIM, N_FF, N_CTX = 64, 4, 4, 2, 16, 128, 4096
N_EXPERT, N_EXPERT_USED, N_FF_EXPERT = 4, 2, 32
ROPE_BASE = 10000.0

AUDIO_EMBD, AUDIO_HEADS, AUDIO_FF, N_MEL, N_POS = 48, 3, 192, 128, 1500
N_CHANNELS = 16  # of convolutions over time and frequency
ULTRAVOX_STACK, ULTRAVOX_MID, VOXTRAL_STACK, GLM_STACK = 8, 96, 4, 4

# Text tokens, then the begin and end markers that the models put around audio, and the placeholder.
N_WORDS = 80
MARKERS = (
    "<|audio_bos|>", "<|audio_eos|>", "<|audio_start|>", "<|audio_end|>", "[BEGIN_AUDIO]", "<sound>", "<|audio|>",
    "<|endoftext|>",
)  # fmt: skip
TOKENS = (*(f"w{i}" for i in range(N_WORDS)), *MARKERS)
AUDIO_TOKEN, END_TOKEN = TOKENS.index("<|audio|>"), TOKENS.index("<|endoftext|>")


@dataclass(frozen=True)
class Arch:
    text: str  # general.architecture of the text model
    projector: str  # clip.projector_type, or clip.audio.projector_type where the model also sees
    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    stack: int = 0
    eps: float = 1e-6
    sections: tuple[int, ...] = ()  # M-RoPE: pairs per axis
    window_s: int = 30  # longer clips are heard in windows; 0: as a whole
    limit_s: int = 0  # the reference hears no more
    more: tuple[str, ...] = ()  # markers that only its tokenizer has
    layers: int = 3  # of the encoder
    width: int = AUDIO_EMBD  # of a Whisper-like encoder
    halves: bool = True  # the converter stores convolutions in F16
    kind: str = "whisper"  # the module that has its encoder
    answers: bool = True  # with its own kind of language model
    alpha: tuple[float, ...] = (0.0, 0.5, 0.5, 0.0)  # of MATA, for each layer of the language model

    @property
    def tokens(self) -> tuple[str, ...]:
        return (*TOKENS, *self.more)

    @property
    def markers(self) -> tuple[list[int], list[int]]:
        return [self.tokens.index(t) for t in self.begin], [self.tokens.index(t) for t in self.end]


def own(begin: str, end: str) -> dict[str, tuple[str, ...]]:
    """Markers that only this architecture's tokenizer has."""
    return {"begin": (begin,), "end": (end,), "more": (begin, end)}


# fmt: off
ARCHS = {
    "ultravox": Arch("llama", "ultravox", stack=ULTRAVOX_STACK),
    "qwen2_audio": Arch("qwen2", "qwen2a", ("<|audio_bos|>",), ("<|audio_eos|>",), limit_s=30),
    "audioflamingo3": Arch("qwen2", "musicflamingo", limit_s=600, halves=False),
    "voxtral": Arch("llama", "voxtral", ("[BEGIN_AUDIO]",), stack=VOXTRAL_STACK),
    "qwen2_5_omni": Arch(
        "qwen2vl", "qwen2.5o", ("<|audio_bos|>",), ("<|audio_eos|>",), sections=(2, 3, 3), window_s=0, limit_s=300
    ),
    "qwen3_omni": Arch(
        "qwen3vlmoe", "qwen3a", ("<|audio_start|>",), ("<|audio_end|>",), sections=(3, 3, 2), window_s=0
    ),
    "qwen3_asr": Arch(
        "qwen3vl", "qwen3a", ("<|audio_start|>",), ("<|audio_end|>",), sections=(3, 3, 2), window_s=0, layers=4
    ),
    "glmasr": Arch(
        "llama", "glma", stack=GLM_STACK, limit_s=630,  # it says 655, which are 21 whole windows
        **own("<|begin_of_audio|>", "<|end_of_audio|>"),
    ),
    "musicflamingo": Arch(
        "qwen2", "musicflamingo", limit_s=1200, halves=False, **own("<|sound_bos|>", "<|sound_eos|>"),
        width=60,  # of which a fifth is even: each of two axes rotates that many channels, in pairs
    ),
    "granite_speech": Arch("granite", "granite_speech", window_s=0, layers=4, halves=False, kind="granite_speech"),
    "gemma4": Arch(
        "gemma4", "gemma4a", limit_s=30, halves=False, kind="gemma4", **own("<|audio>", "<audio|>"),
        # a layer of each kind, and one that shares keys; boosted rows show only where others make keys after them
        alpha=(0.0, 0.5, 0.5, 0.0, 0.5, 0.0),
    ),
    "gemma4_unified": Arch(
        "gemma4", "gemma4ua", window_s=0, halves=False, layers=0, kind="gemma4", **own("<|audio>", "<audio|>")
    ),
    "parakeet": Arch("llama", "parakeet", window_s=0, halves=False, kind="parakeet", answers=False),
}
# fmt: on
