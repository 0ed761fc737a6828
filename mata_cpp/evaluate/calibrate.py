"""Which setting of MATA does what to a model on somebody's own clips: attention, answers, and with labels accuracy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from ..audio.clip import Audio
from ..mata import MODES, Mata, boost_of
from ..model import AudioModel
from . import stats
from .settings import Setting, of_mata

ALPHAS = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Sound:
    """A clip, and what it holds where that is known."""

    audio: Path
    label: str | None = None

    @property
    def first_half(self) -> bool:
        """Which half it belongs to: told from its name, so that more clips move none to the other half."""
        return hashlib.sha256(self.audio.name.encode()).digest()[0] % 2 == 0


@dataclass(frozen=True)
class Trial:
    """A setting over all clips.

    before, after: the audio's share of attention in the boosted layers, the means; raised: the share of clips where it
    rose; None where MATA is off.  kl: how far the first token's distribution moves from MATA off, the mean, in nats.
    right: for each clip whether the best choice is its label, () without labels.
    """

    setting: Setting
    before: float | None
    after: float | None
    raised: float | None
    kl: float
    right: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Found:
    """trials: off first.  best: what was chosen.  halves: with labels, the accuracy of the best and of off on the half
    that chose, and on the other one, and McNemar's p there."""

    trials: tuple[Trial, ...]
    best: Trial
    halves: tuple[tuple[float, float], tuple[float, float], float] | None


def groups(model: AudioModel) -> list[str]:
    """The first, middle and last third of the layers, and all of them, as slices."""
    n = model.engine.n_layer
    boost = boost_of(model.engine, Mata())
    middle = (n // 3, n - n // 3) if boost is None else (boost.layers[0], boost.layers[-1] + 1)
    return [f"0:{middle[0]}", f"{middle[0]}:{middle[1]}", f"{middle[1]}:{n}", f"0:{n}"]


def settings_for(model: AudioModel, alphas: Sequence[float] = ALPHAS) -> list[Mata]:
    """Every mode, group of layers and strength."""
    return [Mata(alpha, layers, mode) for mode in MODES for layers in groups(model) for alpha in alphas]


def calibrate(
    model: AudioModel,
    sounds: Sequence[Sound],
    question: str,
    matas: Sequence[Mata],
    *,
    report: Callable[[int], None] | None = None,
) -> Found:
    """report: gets the number of clips that are done.

    With labels on all clips the best setting is the one with most right answers on one half of them (the smaller kl
    among equals), else the one that raises attention on most clips (among equals, by most for its kl).
    Raises ValueError without clips, and what ask raises.
    """
    if not sounds:
        raise ValueError("there are no clips")
    wanted: list[Mata | None] = [None, *matas]
    labels = sorted({sound.label for sound in sounds if sound.label is not None})
    labelled = len(labels) > 1 and all(sound.label is not None for sound in sounds)
    shares: list[list[tuple[float, float]]] = [[] for _ in wanted]
    moves: list[list[float]] = [[] for _ in wanted]
    rights: list[list[bool]] = [[] for _ in wanted]
    for done, sound in enumerate(sounds, 1):
        clip = Audio(sound.audio)
        rows = model.sweep_first_rows(clip, question, wanted)
        off = rows[0].logprobs
        for number, row in enumerate(rows):
            moves[number].append(float(np.sum(np.exp(off) * (off - row.logprobs))))
            if row.effect is not None:
                shares[number].append((row.effect.before, row.effect.after))
        if labelled:
            chosen = model.sweep_choices(clip, question, labels, wanted, contrast=False)
            for number, choice in enumerate(chosen):
                rights[number].append(choice.text == sound.label)
        if report is not None:
            report(done)
    trials = tuple(
        _trial(of_mata(mata), share, move, right)
        for mata, share, move, right in zip(wanted, shares, moves, rights, strict=True)
    )
    if not labelled:
        return Found(trials, max(trials[1:], key=_pull) if len(trials) > 1 else trials[0], None)
    return _halves(trials, [sound.first_half for sound in sounds])


def _trial(
    setting: Setting, share: Sequence[tuple[float, float]], moves: Sequence[float], right: Sequence[bool]
) -> Trial:
    if not share:
        return Trial(setting, None, None, None, fmean(moves), tuple(right))
    return Trial(
        setting,
        fmean(before for before, _ in share),
        fmean(after for _, after in share),
        fmean(float(after > before) for before, after in share),
        fmean(moves),
        tuple(right),
    )


def _pull(trial: Trial) -> tuple[float, float]:
    gain = (trial.after or 0.0) - (trial.before or 0.0)
    return trial.raised or 0.0, gain / (trial.kl + 1e-6)


def _halves(trials: tuple[Trial, ...], first: Sequence[bool]) -> Found:
    def accuracy(trial: Trial, half: bool) -> float:
        found = [right for right, here in zip(trial.right, first, strict=True) if here == half]
        return fmean(map(float, found)) if found else 0.0

    best = max(trials, key=lambda trial: (accuracy(trial, True), -trial.kl))
    off = trials[0]
    pairs = [(a, b) for a, b, here in zip(off.right, best.right, first, strict=True) if not here]
    p = stats.mcnemar(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs))
    chose = (accuracy(best, True), accuracy(off, True))
    other = (accuracy(best, False), accuracy(off, False))
    return Found(trials, best, (chose, other, p))
