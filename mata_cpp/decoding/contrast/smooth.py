"""Contrast with a smoothed clip, where it may help: Temporal Contrastive Decoding (TCD), arXiv 2604.15383.

    z(j) = z_audio(j) + lambda * g * max(z_audio(j) - z_smoothed(j), 0)   for candidate tokens j, else z_audio(j)
    g    = min(gamma * r * H ** 0.5, 1)

z_smoothed: logits after the same prompt with the waveform convolved with a normalized Hann window and brought back to
its power.  Candidates are the 16 likeliest tokens of the first and the 8 of the second.  r: the audio's share of
attention in the last four layers, H: the entropy of the 5 likeliest tokens over log 5, gamma = 2.

The paper sets the window from 8 to 30 ms and lambda from 0.3 to 1.5 by how steady the hidden states of the audio
encoder are.  These are not at hand here, so both are in the middle: 19 ms, and lambda = 0.9 as the strength.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...audio.clip import Audio
from ...audio.encoder import Clip
from ...prompts.builder import Message
from .formula import Logits
from .noise import heard_samples
from .rule import Hearing, Step, with_clips
from .rules import Contrast

WINDOW_S = 0.019
GAMMA = 2.0
ENTROPY_POWER = 0.5
N_ENTROPY = 5
N_HEARD, N_SMOOTHED = 16, 8


def smoothed(samples: Logits, sample_rate: int) -> Logits:
    """samples [n] convolved with a Hann window of WINDOW_S, the ends mirrored, with the power that they had."""
    half = min(round(WINDOW_S * sample_rate / 2), len(samples) - 1)
    if half < 1:
        return samples
    window = np.hanning(2 * half + 1).astype(np.float32)
    result: Logits = np.convolve(np.pad(samples, half, mode="reflect"), window / window.sum(), mode="valid")
    power = float(np.mean(np.square(result, dtype=np.float64)))
    if power == 0:
        return samples
    wanted = float(np.mean(np.square(samples, dtype=np.float64)))
    return result * np.float32(math.sqrt(wanted / power))


def uncertainty(logits: Logits) -> float:
    """H: the entropy of the likeliest tokens among themselves, from 0 (one of them is certain) to 1."""
    top = np.sort(logits)[-N_ENTROPY:].astype(np.float64)
    weights = np.exp(top - top[-1])
    weights /= weights.sum()
    positive = weights[weights > 0]
    return float(-(positive * np.log(positive)).sum() / math.log(N_ENTROPY))


def gate(reliance: float, heard: Logits) -> float:
    """g: 0 leaves the token to the model."""
    return float(min(GAMMA * reliance * uncertainty(heard) ** ENTROPY_POWER, 1.0))


def pushed(heard: Logits, smoothed: Logits, amount: float) -> Logits:
    """heard + amount * max(heard - smoothed, 0), for the candidates of both."""
    result = heard.copy()
    chosen = np.union1d(_likeliest(heard, N_HEARD), _likeliest(smoothed, N_SMOOTHED))
    result[chosen] += np.float32(amount) * np.maximum(heard[chosen] - smoothed[chosen], 0)
    return result


def other(messages: Sequence[Message], contrast: Contrast, hearing: Hearing) -> list[Message]:
    rate = hearing.sample_rate

    def change(clip: Clip) -> Audio:
        samples = smoothed(heard_samples(clip, hearing), rate)
        return Audio((samples, rate), name=f"{clip.name} smoothed")

    return with_clips(messages, change)


def combined(heard: Logits, other: Logits, contrast: Contrast, step: Step) -> Logits:
    return pushed(heard, other, contrast.amount * gate(step.reliance, heard))


def _likeliest(logits: Logits, count: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    count = min(count, len(logits))
    return np.argpartition(logits, -count)[-count:]
