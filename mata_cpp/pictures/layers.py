"""Attention by layer, as it is drawn in every picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUP_COLOURS = {
    "audio": style.BLUE,
    "instruction": style.ORANGE,
    "system": "#B9B9B9",
    "earlier": style.PURPLE,
    "generated": style.GREEN,
}
NAMES = {"earlier": "earlier turns"}
OFF = "MATA off"


def stack_shares(axes: Axes, layers: Sequence[int], shares: NDArray[Any], groups: Sequence[str]) -> None:
    """Shares [L, G] as areas over the layers, a legend above them in the order of the areas."""
    order = [name for name in GROUP_COLOURS if name in groups]
    shown = [name for name in order if name == "audio" or np.nan_to_num(shares[:, groups.index(name)]).max() > 0.001]
    base = np.zeros(len(layers))
    edges = np.concatenate(
        [[layers[0] - 0.5], np.repeat((np.array(layers[1:]) + layers[:-1]) / 2, 2), [layers[-1] + 0.5]]
    )
    for name in shown:
        top = base + 100 * np.nan_to_num(shares[:, groups.index(name)])
        axes.fill_between(
            edges,
            np.repeat(base, 2),
            np.repeat(top, 2),
            color=GROUP_COLOURS[name],
            linewidth=0,
            label=NAMES.get(name, name),
        )
        base = top
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 100)
    axes.set_ylabel("share of attention, %")
    axes.set_xlabel("layer", labelpad=1)
    _layer_ticks(axes)
    _legend(axes, -(-len(shown) // 2))


def audio_lines(
    axes: Axes,
    layers: Sequence[int],
    off: NDArray[Any] | None,
    on: NDArray[Any] | None,
    boosted: Sequence[int],
    even: float,
    off_name: str = OFF,
) -> None:
    """The audio's shares [L] over the layers, and what an even spread of attention over all positions would give."""
    for start, end in _runs(boosted):
        axes.axvspan(start - 0.5, end + 0.5, color=style.PALE, linewidth=0, zorder=0)
    most = 0.0
    alone = "attention" if off is None and not boosted else "MATA on"
    for shares, name, colour, line, marker in (
        (off, off_name, style.VERMILION, "--", "o"),
        (on, alone, style.BLUE, "-", "s"),
    ):
        if shares is not None:
            axes.plot(layers, 100 * shares, line, color=colour, marker=marker, markersize=3, linewidth=1.4, label=name)
            most = max(most, 100 * float(np.nan_to_num(shares).max()))
    if 100 * even <= 1.5 * most:
        axes.axhline(100 * even, color=style.GREY, linewidth=1.0, linestyle=":", label="even spread")
        most = max(most, 100 * even)
    else:  # it would press the lines together at the bottom
        text = f"\u2191 an even spread: {100 * even:.0f} %"
        axes.text(0.98, 0.985, text, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=style.GREY)
        most *= 1.12
    axes.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
    axes.set_ylim(0, 1.08 * most or 1)
    axes.set_ylabel("share on the audio, %")
    axes.set_xlabel("layer (shaded: boosted)" if len(boosted) else "layer", labelpad=1)
    _layer_ticks(axes)
    _legend(axes, 3 if off_name == OFF else 2)


def _legend(axes: Axes, columns: int) -> None:
    """Above the axes, under their title."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncol=columns, handlelength=1.4, columnspacing=1.2,
        borderpad=0.2,
    )  # fmt: skip


def _layer_ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbours."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
