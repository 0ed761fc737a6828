"""Batches of spectrograms: drawn by task and label, roughened at random, scaled as the runtime scales them."""

from __future__ import annotations

import collections
import itertools
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from labels import KIND
from projector import STACK
from torch import Tensor
from whisper import MELS, scaled
from yamnet import STEP

WHOLE = ("sound", "foreign")
"""Groups whose clips are one sound all through: a part of them is as good as the whole."""
SAID = ("text", "digit")
"""Groups whose clips are words, whoever says them."""
OFTEN = {"music": 4.0, "speech": 3.0}
"""Labels that are a kind by themselves are drawn more often than one of many."""
INSTRUMENT = 1.8
"""So are instruments: every other synthesizer's are as from another world."""


def group_of(what: dict) -> str:
    if "language" in what and "digit" not in what:
        return "text" if what["text"] else "foreign"
    return next(key for key in ("sound", "digit", "count", "first", "pitch", "loudness", "tempo") if key in what)


@dataclass
class Batch:
    """mels: scaled spectrograms [B, 80, L]; lengths: in mel frames [B]; rows: YAMNet's of all clips [R, 1024]; nearest:
    the row of each audio token [B, N], that of the patch whose middle is nearest; cuts: mel frames that each clip lost
    at its start (negative: got).
    """

    mels: Tensor
    lengths: Tensor
    rows: Tensor
    nearest: Tensor
    cuts: list[int]


class Features:
    """The variants' spectrograms, YAMNet's rows, and what they are."""

    def __init__(self, path: Path) -> None:
        self.levels = np.load(path.with_suffix(".npy"), mmap_mode="r")
        self.events = np.load(path.with_name(path.name + "-events.npy"), mmap_mode="r")
        self.about: list[dict] = json.loads(path.with_suffix(".json").read_text())
        self.groups = [group_of(what) for what in self.about]
        self.starts = np.concatenate([[0], np.cumsum([what["frames"] for what in self.about])])
        self.firsts = np.concatenate([[0], np.cumsum([what["patches"] for what in self.about])])
        self.said = [i for i, group in enumerate(self.groups) if group in SAID]

    def __len__(self) -> int:
        return len(self.about)

    def level(self, i: int) -> Tensor:
        """log10 of the mel powers [80, L]."""
        return torch.tensor(np.asarray(self.levels[self.starts[i] : self.starts[i + 1]], dtype=np.float32)).T

    def rows(self, i: int) -> Tensor:
        """YAMNet's rows [N, 1024]."""
        return torch.tensor(np.asarray(self.events[self.firsts[i] : self.firsts[i + 1]], dtype=np.float32))

    def batch(self, index: list[int], rng: random.Random | None = None) -> Batch:
        """Roughened where rng is given: the spectrograms, not the rows."""
        parts, cuts = [], []
        for i in index:
            part, cut = self.level(i), 0
            if rng is not None:
                if self.groups[i] not in WHOLE:
                    cut = -rng.randrange(2 * STACK)
                    part = torch.cat([part.amin(1, keepdim=True).expand(-1, -cut), part], 1)
                elif part.shape[1] > 60:  # the stacks of the projector start elsewhere
                    cut = rng.randrange(2 * STACK)
                    part = part[:, cut:]
                if self.groups[i] in SAID and rng.random() < 0.6:
                    part = revoiced(part, timbre(self.level(rng.choice(self.said))), rng.random())
                part = roughened(part, rng, self.groups[i] in WHOLE, self._other(rng))
            parts.append(part)
            cuts.append(cut)
        lengths = torch.tensor([part.shape[1] for part in parts])
        levels = torch.full((len(parts), MELS, int(lengths.max())), -10.0)
        for row, part in enumerate(parts):
            levels[row, :, : part.shape[1]] = part
        mels = scaled(levels, torch.arange(levels.shape[2])[None] < lengths[:, None])
        rows = [self.rows(i) for i in index]
        middles = STACK * (2 * torch.arange(-(-int(lengths.max()) // (2 * STACK)) + 1) + 1)
        nearest, first = [], 0
        for cut, part in zip(cuts, rows, strict=True):
            nearest.append(first + ((middles + cut - STEP // 2) // STEP).clamp(0, len(part) - 1))
            first += len(part)
        return Batch(mels, lengths, torch.cat(rows), torch.stack(nearest), cuts)

    def _other(self, rng: random.Random) -> Tensor | None:
        """Some other sound, to be mixed in softly."""
        if rng.random() > 0.12:
            return None
        i = rng.randrange(len(self))
        return self.level(i) if self.groups[i] in WHOLE else None


def timbre(level: Tensor) -> Tensor:
    """The mean spectrum [80, 1] of a spectrogram [80, L], what is 40 dB below its top counted as that."""
    return level.clamp_min(float(level.max()) - 4.0).mean(1, keepdim=True)


def revoiced(level: Tensor, other: Tensor, share: float) -> Tensor:
    """A spectrogram [80, L] with so much of another clip's mean spectrum in place of its own, by 15 dB at most: which
    voice and microphone it is must not tell which words may come (the recorded voice says a few hundred, synthetic
    ones all).
    """
    own = timbre(level)
    change = (other - other.mean()) - (own - own.mean())
    return level + share * change.clamp(-1.5, 1.5)


def roughened(level: Tensor, rng: random.Random, whole: bool, other: Tensor | None = None) -> Tensor:
    """A spectrogram [80, L] as another room and microphone would give it; masks only where the clip is one sound."""
    length = level.shape[1]
    place = torch.arange(MELS)[:, None] / MELS
    if rng.random() < 0.7:  # tilt and resonances: up to about 10 dB
        curve = rng.gauss(0, 0.5) * (place - 0.5)
        for k in (1, 2, 3):
            curve = curve + rng.gauss(0, 0.16) * torch.cos(math.pi * k * place + rng.uniform(0, 6.28))
        level = level + curve
    top = float(level.max())
    if other is not None and whole:
        start = rng.randrange(max(1, other.shape[1] - length))
        other = other[:, start : start + length]
        other = other - other.max() + top - rng.uniform(1.0, 2.5)
        level = level.clone()
        level[:, : other.shape[1]] = torch.logaddexp(
            level[:, : other.shape[1]] * math.log(10), other * math.log(10)
        ) / math.log(10)
    if rng.random() < 0.5:  # a steady noise of some colour
        floor = top - rng.uniform(1.5 if whole else 2.5, 6.0) + rng.gauss(0, 1.0) * (place - 0.5)
        noise = floor + 0.15 * torch.randn(level.shape)
        level = torch.logaddexp(level * math.log(10), noise * math.log(10)) / math.log(10)
    if whole:
        level = level.clone()
        quiet = float(level.mean())
        for _ in range(rng.randrange(3)):
            width = rng.randrange(1, 10)
            start = rng.randrange(MELS - width)
            level[start : start + width] = quiet
        for _ in range(rng.randrange(3)):
            width = rng.randrange(1, max(2, min(40, length // 6)))
            start = rng.randrange(length - width)
            level[:, start : start + width] = quiet
    return level


def _often(label: str) -> float:
    return OFTEN.get(label, INSTRUMENT if KIND.get(label) == "musical instrument" else 1.0)


class Sampler:
    """Draws variants by task, then by label (sounds) or weight.  shares: how much of each task; those not named are not
    drawn.
    """

    def __init__(self, data: Features, rng: random.Random, shares: dict[str, float]) -> None:
        self.rng = rng
        self.groups: dict[str, dict[str, list[int]]] = collections.defaultdict(lambda: collections.defaultdict(list))
        for i, what in enumerate(data.about):
            group = data.groups[i]
            self.groups[group][what["sound"] if group == "sound" else ""].append(i)
        self.shares = {name: share for name, share in shares.items() if name in self.groups}
        self.frames = [what["frames"] for what in data.about]
        self.labels = {
            label: math.sqrt(min(len(part), 400)) * _often(label) for label, part in self.groups["sound"].items()
        }
        self.bounds = {
            name: list(itertools.accumulate(data.about[i].get("weight", 1.0) for i in group[""]))
            for name, group in self.groups.items()
            if name != "sound"
        }

    def often(self) -> dict[str, float]:
        """How often each label is drawn, relatively; labels without a clip are not in it."""
        return self.labels

    def one(self) -> int:
        (name,) = self.rng.choices(list(self.shares), list(self.shares.values()))
        if name in self.bounds:
            return self.rng.choices(self.groups[name][""], cum_weights=self.bounds[name])[0]
        (label,) = self.rng.choices(list(self.labels), list(self.labels.values()))
        return self.rng.choice(self.groups[name][label])

    def batch(self, n: int) -> list[int]:
        """n variants of about the same length: the neighbours of one among n * 8."""
        drawn = sorted((self.one() for _ in range(8 * n)), key=lambda i: self.frames[i])
        start = self.rng.randrange(len(drawn) - n + 1)
        return drawn[start : start + n]
