"""The plots of a report, as SVG: accuracy over alpha, by layers, and beside the attention to the audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from ..mata import MODES
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

SPREAD = 0.5
"""How much of the place of a group of layers its points take."""


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
        _bars(axes, list(map(_alpha, line)), line, label)
    _off(axes, known)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    return figure


def _by_layers(known: Sequence[Point]) -> Figure:
    boosted = [point for point in known if point.setting.mata is not None]
    figure, axes = _figure("", "right answers, %")
    names = list(dict.fromkeys(map(_layers, boosted)))
    for mode in MODES:
        x: list[float] = []
        line = [point for point in boosted if point.setting.mata and point.setting.mata.mode == mode]
        for point in line:  # side by side within their group of layers
            assert point.setting.mata is not None
            group = [other for other in boosted if _layers(other) == _layers(point)]
            x.append(names.index(_layers(point)) + SPREAD * (group.index(point) / max(1, len(group) - 1) - 0.5))
        if line:
            _bars(axes, x, line, f"mode {mode}", joined=False)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)), [f"layers {name}" for name in names], fontsize=8)
    _off(axes, known)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    return figure


def _beside_attention(boosted: Sequence[Point]) -> Figure:
    figure, axes = _figure("change of the audio's share of attention, points", "right answers, %")
    for mode in dict.fromkeys(point.setting.mata.mode for point in boosted if point.setting.mata):
        here = [point for point in boosted if point.setting.mata and point.setting.mata.mode == mode]
        _bars(axes, [100 * (point.shift or 0.0) for point in here], here, f"mode {mode}", joined=False)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.legend(fontsize=7)
    return figure


def _bars(axes: Axes, x: Sequence[float], line: Sequence[Point], label: str, *, joined: bool = True) -> None:
    """Points with their intervals."""
    shares = [100 * point.found.accuracy for point in line]
    ends = [point.found.interval for point in line]
    low = [share - 100 * end[0] for share, end in zip(shares, ends, strict=True)]
    high = [100 * end[1] - share for share, end in zip(shares, ends, strict=True)]
    form = "o-" if joined else "o"
    axes.errorbar(x, shares, [low, high], fmt=form, markersize=4, capsize=2, linewidth=1, label=label)


def _layers(point: Point) -> str:
    return "" if point.setting.mata is None else str(point.setting.mata.layers)


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
