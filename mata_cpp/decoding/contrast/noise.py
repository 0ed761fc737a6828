"""Contrast with a noised clip: Audio Contrastive Decoding (ACD), after Visual Contrastive Decoding (arXiv 2311.16922).

    z = (1 + a) * z_audio - a * z_noised, among the tokens with p_audio >= 0.1 * max p_audio

z_noised: logits after the same prompt with white noise added to the clip.  a = 1 and the cut of 0.1 are those of the
comparison in arXiv 2603.09232.  There the noise is a diffusion of 100 steps that leaves next to nothing of the clip;
here it has a signal-to-noise ratio, 0 dB unless told otherwise, and a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...audio.clip import Audio
from ...audio.encoder import Clip, EncodedClip
from ...prompts.builder import Message
from .formula import Logits, contrasted, without_unlikely
from .rule import Hearing, Step, with_clips
from .rules import Contrast


def noised(samples: Logits, snr_db: float, seed: int) -> Logits:
    """samples [n] with white noise whose power is theirs less snr_db decibels; scaled back where they leave [-1, 1]."""
    level = math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))) * 10 ** (-snr_db / 20)
    noise = np.random.default_rng(seed).standard_normal(len(samples), dtype=np.float32)
    mixed = samples + np.float32(level) * noise
    result: Logits = mixed / max(np.float32(1), np.abs(mixed).max())
    return result


def other(messages: Sequence[Message], contrast: Contrast, hearing: Hearing) -> list[Message]:
    snr = contrast.snr
    assert snr is not None

    def change(clip: Clip) -> Audio:
        samples = heard_samples(clip, hearing)
        return Audio((noised(samples, snr, contrast.seed), hearing.sample_rate), name=f"{clip.name} with noise")

    return with_clips(messages, change)


def combined(heard: Logits, other: Logits, contrast: Contrast, step: Step) -> Logits:
    return without_unlikely(contrasted(heard, other, contrast.amount), heard, contrast.share)


def heard_samples(clip: Clip, hearing: Hearing) -> Logits:
    """The samples [n] that the model hears of a clip, at its rate."""
    audio = clip.audio if isinstance(clip, EncodedClip) else clip
    return audio.samples(hearing.sample_rate)[: max(1, round(hearing.audible_seconds(clip) * hearing.sample_rate))]
