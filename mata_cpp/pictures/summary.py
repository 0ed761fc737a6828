"""The picture of a summary: attention by layer, averaged over clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..readout.record import AUDIO, GROUPS
from ..readout.summary import Summary
from . import style
from .layers import audio_lines, stack_shares
from .style import WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(summary: Summary, model: str, question: str) -> Figure:
    """The figure; style.write sets the style."""
    from matplotlib.figure import Figure

    height = 4.9
    figure = Figure(figsize=(WIDTH, height))
    clips = "1 clip" if len(summary) == 1 else f"{len(summary)} clips"
    figure.text(
        0.3 / WIDTH, 1 - 0.22 / height, style.printable(question, 110), va="top", fontsize=12, fontweight="bold"
    )
    differing = f"; with MATA off, {summary.differing} of the answers differ" if summary.differing else ""
    line = style.printable(f"{model}; mean of {clips}{differing}", 150)
    figure.text(0.3 / WIDTH, 1 - 0.5 / height, line, va="top", fontsize=8.5, color=style.GREY)
    bottom, tall = 0.5 / height, 3.0 / height
    left = figure.add_axes((0.75 / WIDTH, bottom, 4.9 / WIDTH, tall))
    left.set_title("Audio and text by layer, MATA off", pad=38)
    stack_shares(left, summary.layers, summary.mean(), GROUPS)
    right = figure.add_axes((6.75 / WIDTH, bottom, 4.9 / WIDTH, tall))
    right.set_title("Audio by layer, MATA off and on" if summary.on else "Audio by layer, MATA off", pad=24)
    for kept, colour in ((summary.off, style.VERMILION), (summary.on, style.BLUE)):
        if len(kept) > 3:
            low, high = np.quantile([shares[:, AUDIO] for shares in kept], [0.25, 0.75], axis=0)
            right.fill_between(summary.layers, 100 * low, 100 * high, color=colour, alpha=0.18, linewidth=0)
    on = summary.mean(boosted=True)[:, AUDIO] if summary.on else None
    audio_lines(right, summary.layers, summary.mean()[:, AUDIO], on, summary.boosted, float(np.mean(summary.even)))
    if len(summary) > 3:
        right.set_xlabel(f"{right.get_xlabel()}; bands: the middle half of the clips", labelpad=1)
    return figure
