"""The plots of a report, as SVG: accuracy over alpha, by layers, and beside the attention to the audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from ..pictures import style
from .record import Record
from .report import Report
from .scores import CLIP, Score, score
from .settings import Setting, parse_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (7.0, 3.6)
"""Inches."""


@dataclass(frozen=True)
class Point:
    """A setting of one form of prompt, and what came of it.  shift: the change of the audio's share of attention, the
    mean over the answers; None where MATA was off."""

    setting: Setting
    found: Score
    shift: float | None


def points(report: Report, form: str) -> list[Point]:
    """The settings of a form, in order."""
    return [
        Point(parse_setting(row[2]), score(records), _shift(records))
        for row, records in report.ordered()
        if row[0] == CLIP and row[1] == form
    ]


def all_plots(report: Report) -> list[tuple[str, str]]:
    """(caption, SVG) of each plot that the settings give.  Raises MataError where matplotlib is missing."""
    found = []
    for form in report.forms:
        known = points(report, form)
        series = _series(known)
        if any(len(line) > 1 for line in series.values()):
            found.append(
                (f"Right answers over alpha ({form}), with 95 % intervals", _svg(partial(_over_alpha, known, series)))
            )
        boosted = [point for point in known if point.shift is not None]
        if len({point.setting.mata.layers for point in boosted if point.setting.mata}) > 1:
            found.append((f"Right answers by layers ({form})", _svg(partial(_by_layers, known))))
        if len(boosted) > 1:
            caption = f"Right answers beside the change of attention to the audio ({form})"
            found.append((caption, _svg(partial(_beside_attention, boosted))))
    return found


def _shift(records: Sequence[Record]) -> float | None:
    changes = [record.effect[1] - record.effect[0] for record in records if record.effect is not None]
    return fmean(changes) if changes else None


def _series(known: Sequence[Point]) -> dict[str, list[Point]]:
    """Points that differ in alpha only, by what they have in common."""
    series: dict[str, list[Point]] = {}
    for point in known:
        if point.setting.mata is not None:
            series.setdefault(_label(point), []).append(point)
    return {label: sorted(line, key=lambda point: _alpha(point)) for label, line in series.items()}


def _alpha(point: Point) -> float:
    return 0.0 if point.setting.mata is None else point.setting.mata.alpha


def _label(point: Point) -> str:
    words = [word for word in point.setting.name.split() if not word.startswith("alpha=")]
    return " ".join(words) or "default layers, mode scale"


def _over_alpha(known: Sequence[Point], series: dict[str, list[Point]]) -> Figure:
    figure, axes = _figure("alpha", "right answers, %")
    for label, line in series.items():
        shares = [100 * point.found.accuracy for point in line]
        ends = [point.found.interval for point in line]
        low = [share - 100 * end[0] for share, end in zip(shares, ends, strict=True)]
        high = [100 * end[1] - share for share, end in zip(shares, ends, strict=True)]
        axes.errorbar(list(map(_alpha, line)), shares, [low, high], marker="o", markersize=4, capsize=2, label=label)
    _off(axes, known)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    return figure


def _by_layers(known: Sequence[Point]) -> Figure:
    boosted = [point for point in known if point.setting.mata is not None]
    figure, axes = _figure("", "right answers, %")
    names = list(dict.fromkeys(str(point.setting.mata.layers) for point in boosted if point.setting.mata))
    for number, name in enumerate(names):
        here = [point for point in boosted if point.setting.mata and str(point.setting.mata.layers) == name]
        shares = [100 * point.found.accuracy for point in here]
        axes.plot([number] * len(shares), shares, "o", color="C0", markersize=5, alpha=0.6)
    axes.set_xticks(range(len(names)), [f"layers {name}" for name in names], fontsize=8)
    _off(axes, known)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    return figure


def _beside_attention(boosted: Sequence[Point]) -> Figure:
    figure, axes = _figure("change of the audio's share of attention, points", "right answers, %")
    for mode in dict.fromkeys(point.setting.mata.mode for point in boosted if point.setting.mata):
        here = [point for point in boosted if point.setting.mata and point.setting.mata.mode == mode]
        shifts = [100 * (point.shift or 0.0) for point in here]
        axes.plot(shifts, [100 * point.found.accuracy for point in here], "o", label=f"mode {mode}")
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.legend(fontsize=7)
    return figure


def _off(axes: Axes, known: Sequence[Point]) -> None:
    """A line where MATA is off."""
    for point in known:
        if point.setting.mata is None and point.setting.contrast is None:
            axes.axhline(100 * point.found.accuracy, color="0.4", linestyle="--", linewidth=1, label="off")


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _svg(draw: Callable[[], Figure]) -> str:
    """The drawing alone, with outlines for its text, so that it looks the same everywhere."""
    text = style.drawn("svg", draw, **{"svg.hashsalt": "mata", "svg.fonttype": "path"}).decode()
    start, end = text.index("<metadata>"), text.index("</metadata>") + len("</metadata>")
    return text[text.index("<svg") : start] + text[end:]
