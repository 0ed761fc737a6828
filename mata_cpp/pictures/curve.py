"""The picture of what was found in a long clip: its sound, and the probability over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..audio import Audio
from ..audio.windows import clock
from ..finding import Found
from . import style
from .mel import mel_spectrogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT = 3.6
COLUMNS = 1500
"""Of the spectrogram: more than can be seen are averaged."""


TICKS = 10
BETWEEN_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
"""Seconds between two ticks, of which the first is taken that gives no more than TICKS."""


def draw(found: Found, clip: Audio, rate: int, model: str) -> Figure:
    """clip at rate (Hz) is what the model heard."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    figure = Figure(figsize=(style.WIDTH, HEIGHT), layout="constrained")
    sound, curve = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.2))
    mel = mel_spectrogram(clip.samples(rate), rate)
    thin = max(1, mel.shape[1] // COLUMNS)
    mel = mel[:, : mel.shape[1] // thin * thin].reshape(len(mel), -1, thin).mean(axis=2)
    place = (0, clip.seconds, 0, len(mel))
    sound.imshow(mel, origin="lower", aspect="auto", extent=place, cmap=style.SOUND, interpolation="none")
    sound.set_yticks([])
    sound.set_title(style.printable(f'"{found.what}" in {clip.name}, {model}', 120))
    edges = np.minimum(np.arange(len(found.probabilities) + 1) * found.step, found.seconds)
    curve.stairs(found.probabilities, edges, color=style.BLUE, fill=True, alpha=0.35, linewidth=0)
    curve.stairs(found.probabilities, edges, color=style.BLUE, linewidth=1.2)
    curve.axhline(found.threshold, color=style.GREY, linewidth=0.8, linestyle="--")
    for stretch in found.stretches:
        curve.axvspan(stretch.start, stretch.end, ymin=0.97, color=style.VERMILION, linewidth=0)
    curve.set_ylim(0, 1.04)
    curve.set_ylabel('probability of "Yes"')
    curve.set_xlim(0, found.seconds)
    curve.xaxis.set_major_locator(MultipleLocator(_between_ticks(found.seconds)))
    curve.xaxis.set_major_formatter(lambda value, _: clock(value))
    curve.set_xlabel("minutes:seconds")
    return figure


def _between_ticks(seconds: float) -> float:
    return next((step for step in BETWEEN_S if seconds / step <= TICKS), BETWEEN_S[-1])
