"""Texts that nobody recorded, in the voice of the recorded prompts: a synthetic voice's phrase, every 20 ms of it
replaced by the frames of the recordings that sound most like it.

Which frames are alike is told by whisper's second block, whose output is mostly about sounds of speech and hardly about
who makes them, as kNN-VC has it (Baas, van Niekerk, Kamper 2023, arXiv 2305.18975); that neighbours in the recordings
stay neighbours costs less, as in unit selection (Hunt, Black 1996).  What is put together are frames of the mel
spectrogram, which is all that training needs.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from viterbi import cheapest
from whisper import Encoder, scaled

SOURCE = "flite:slt"
"""The synthetic voice: a woman's, as the recorded one."""
CANDIDATES = 24
SHRINK = 100.0
"""The mean output at a place counts as seen so many times more with the mean of all places."""
JUMPS = (0.05, 0.1, 0.2)
"""What it may cost that two frames do not follow one another in the recordings, as cosine distance."""


class Voice:
    """level everywhere: whisper.log_mel, [80, L]."""

    def __init__(self, encoder: Encoder, levels: list[Tensor]) -> None:
        """levels: of the recordings."""
        self.encoder = encoder
        heard = [self._hear(even(level)) for level in levels]
        lengths = np.array([len(output) for output in heard])
        # one more from recording to recording, so that the last of one and the first of the next are no neighbours
        self.numbers = np.arange(lengths.sum()) + np.repeat(np.arange(len(heard)), lengths)
        total, seen = torch.zeros(max(map(len, heard)), heard[0].shape[1]), torch.zeros(max(map(len, heard)), 1)
        for output in heard:
            total[: len(output)] += output
            seen[: len(output)] += 1
        # what is said at a place in the clip: whisper adds its positions to the sound
        self.places = (total + SHRINK * total.sum(0) / seen.sum()) / (seen + SHRINK)
        apart = torch.cat([output - self._place(output) for output in heard])
        self.spread = apart.std(0)
        self.units = F.normalize(apart / self.spread, dim=-1)
        self.levels = torch.cat([even(level) for level in levels], 1)

    @torch.no_grad()
    def _hear(self, level: Tensor) -> Tensor:
        mel = scaled(level[None], torch.ones(1, level.shape[1], dtype=torch.bool))
        output, _ = self.encoder.before(mel, torch.tensor([level.shape[1]]))
        return output[0]

    def _place(self, output: Tensor) -> Tensor:
        return self.places[torch.arange(len(output)).clamp_max(len(self.places) - 1)]

    def mean(self, levels: list[Tensor]) -> Tensor:
        """[384]: what sets another voice apart from the recorded one, from some of its phrases."""
        heard = [self._hear(even(level)) for level in levels]
        return torch.cat([output - self._place(output) for output in heard]).mean(0)

    def say(self, level: Tensor, mean: Tensor, jump: float) -> Tensor:
        """A phrase of the voice with that mean, put together of the recordings: [80, L], or L - 1 if that is odd.
        jump: what it costs that two units do not follow one another, as cosine distance.
        """
        output = self._hear(even(level))
        own = F.normalize((output - self._place(output) - mean) / self.spread, dim=-1)
        near, units = (own @ self.units.T).topk(min(CANDIDATES, len(self.units)), 1)
        way = cheapest(1 - near.numpy(), self.numbers[units.numpy()], jump)
        chosen = units[torch.arange(len(units)), torch.from_numpy(way)]
        return self.levels[:, torch.stack([2 * chosen, 2 * chosen + 1], 1).flatten()]


def even(level: Tensor) -> Tensor:
    """Whole frames of the encoder, which has one for two of the spectrogram."""
    return level[:, : level.shape[1] // 2 * 2]
