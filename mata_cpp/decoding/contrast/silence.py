"""Contrast with silence: Audio-Aware Decoding (AAD), arXiv 2506.07233.

    z = (1 + a) * z_audio - a * z_silence

z_silence: logits after the same prompt with near silence as long as the clip.  The paper takes a = 0.5 and 1, and
digital silence; here it is faint noise, since no recording has digital zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...audio.clip import Audio
from ...prompts.builder import Message
from .formula import Logits, contrasted
from .rule import Hearing, Step, with_clips
from .rules import Contrast

LEVEL = 1e-4
"""Amplitude of the noise that stands for silence: -80 dB of full scale."""


def silence(seconds: float, sample_rate: int) -> Audio:
    """A clip of near silence, the same one for the same length."""
    noise = np.random.default_rng(0).standard_normal(max(1, round(seconds * sample_rate)), dtype=np.float32)
    return Audio((noise * np.float32(LEVEL), sample_rate), name="silence")


def other(messages: Sequence[Message], contrast: Contrast, hearing: Hearing) -> list[Message]:
    return with_clips(messages, lambda clip: silence(hearing.audible_seconds(clip), hearing.sample_rate))


def combined(heard: Logits, other: Logits, contrast: Contrast, step: Step) -> Logits:
    return contrasted(heard, other, contrast.amount)
