"""The listening map: a clip's sound, and under it where the model listened for each token.

All sizes here are inches; a figure is WIDTH of them wide, which on a screen of 1200 pixels is 100 pixels an inch.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..audio import Audio
from ..mata import Mata, format_focus, format_layers
from ..readout.record import Attention
from ..records import Answer
from . import style
from .layers import OFF, audio_lines, stack_shares
from .mel import mel_of, mel_spectrogram
from .style import WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN, BOTTOM = 0.25, 0.3
WAVE, MEL, GAP = 0.6, 1.1, 0.12
ROW_MOST, ROW_LEAST, ROWS_MOST = 0.32, 0.165, 13.0
AXIS = 0.42  # below a heat map: ticks and label
BAR_GAP, BAR = 0.28, 0.85
RIGHT, RIGHT_GAP, PANEL = 3.0, 0.85, 2.15
LABEL_LIMIT = 16
QUESTION_LIMIT, ANSWER_LINES = 110, 3
LINE = 0.21
MOST_CLIPS = 6
COLUMN_GAP = 0.3  # between two clips
TIME = ("time in the clip, s", "time, s", "s")


@dataclass(frozen=True)
class Scene:
    """What is drawn: answers whose attention was read, and the clips that they heard, in this order.

    without: the answer with MATA off, if there is one; its shares are drawn beside the others', and with compare its
    map above the other.  Raises ValueError for an answer without attention or other clips.
    """

    model: str
    question: str
    clips: Sequence[Audio]
    answer: Answer
    without: Answer | None = None
    compare: bool = False

    def __post_init__(self) -> None:
        for answer in (self.answer, self.without):
            if answer is not None and answer.attention is None:
                raise ValueError("the answer's attention was not read: ask with attention=True")
        if len(self.clips) != len(_attention(self.answer).clips):
            raise ValueError(f"the answer is about {len(_attention(self.answer).clips)} clips, not {len(self.clips)}")
        if len(self.clips) > MOST_CLIPS:
            raise ValueError(f"a picture has room for {MOST_CLIPS} clips, not {len(self.clips)}")

    @property
    def maps(self) -> list[tuple[str, Answer]]:
        """(title, answer) of each heat map, from above."""
        if self.compare and self.without is not None:
            return [("MATA off", self.without), ("MATA on", self.answer)]
        return [("MATA on" if self.answer.attention and self.answer.attention.boosted else "MATA off", self.answer)]


def save(scene: Scene, path: str | Path) -> Path:
    """Write the picture, PNG, SVG or PDF by its name.  Raises MataError, ValueError."""
    found = style.check_path(path)
    style.write(found, lambda: draw(scene))
    return found


def draw(scene: Scene) -> Figure:
    """The figure; style.write sets the style."""
    from matplotlib.figure import Figure

    head = _head(scene)
    labels = [_labels(_attention(answer).tokens) for _, answer in scene.maps]
    label_width = 0.3 + max([0.25, *(_text_width(text, 8.5) for rows in labels for text in rows)])
    left = MARGIN + label_width
    width = WIDTH - MARGIN - RIGHT - RIGHT_GAP - BAR - BAR_GAP - left
    rows = [_row_height(len(tokens)) for tokens in labels]

    above = MARGIN + LINE * len(head) + 0.35
    sound = WAVE + GAP + MEL
    maps = sum(0.34 + row * max(1, len(tokens)) for row, tokens in zip(rows, labels, strict=True))
    left_height = sound + maps + AXIS * len(rows) + 0.62
    between = 0.95 if _off_name(scene) == OFF else 1.15  # a longer name takes a second line of the legend
    right_height = 2 * PANEL + between + 0.8
    height = above + max(left_height, right_height) + BOTTOM
    spare = max(0.0, right_height - left_height)
    mel_height = MEL + spare
    sound += spare

    figure = Figure(figsize=(WIDTH, height))
    page = _Page(figure, height)
    for i, (text, font) in enumerate(head):
        page.text(MARGIN, MARGIN + LINE * i, text, **font)

    columns = _columns(scene, left, width)
    for i, (x, w) in enumerate(columns):
        _draw_sound(page, scene, i, (x, above, w), mel_height)
    y = above + sound
    heat_most = max(_ceiling(_attention(answer)) for _, answer in scene.maps)
    image = None
    for (title, answer), row, tokens in zip(scene.maps, rows, labels, strict=True):
        y += 0.34
        heat_height = row * max(1, len(tokens))
        image = _draw_map(page, scene, answer, title, tokens, columns, (y, heat_height), heat_most) or image
        _draw_bars(page, answer, (left + width + BAR_GAP, y, BAR, heat_height), scene)
        y += heat_height + AXIS
    if image is not None:
        _draw_colours(page, image, (left, y + 0.22, min(2.6, width), 0.11))
    right = WIDTH - MARGIN - RIGHT
    _draw_groups(page, scene, (right, above + 0.55, RIGHT, PANEL))
    _draw_audio_by_layer(page, scene, (right, above + 0.55 + PANEL + between, RIGHT, PANEL))
    return figure


class _Page:
    """Places things in inches from the upper left corner."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure, self.height = figure, height

    def axes(self, box: tuple[float, float, float, float]) -> Axes:
        x, y, width, height = box
        return self.figure.add_axes((x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height))

    def text(self, x: float, y: float, text: str, **font: Any) -> None:
        self.figure.text(x / WIDTH, 1 - y / self.height, text, va="top", **font)


# What is written ---------------------------------------------------------------------------------


def _head(scene: Scene) -> list[tuple[str, dict[str, Any]]]:
    """Lines above everything: question, answer or answers, and what was running."""
    bold = {"fontsize": 12, "fontweight": "bold"}
    lines = [(style.printable(scene.question, QUESTION_LIMIT), bold)]
    for title, answer in scene.maps:
        name = f"{title}: " if scene.compare and scene.without is not None else ""
        text = style.printable(name + (answer.text.strip() or "(nothing was said)"))
        wrapped = textwrap.wrap(text, 135)
        if len(wrapped) > ANSWER_LINES:
            wrapped = [*wrapped[: ANSWER_LINES - 1], wrapped[ANSWER_LINES - 1][:132] + "\u2026"]
        lines += [(line, {"fontsize": 10.5}) for line in wrapped]
    lines.append((style.printable(f"{scene.model}; {_setting(scene)}", 150), {"fontsize": 8.5, "color": style.GREY}))
    return lines


def _setting(scene: Scene) -> str:
    mata = scene.answer.mata
    if mata is None or not mata.alpha:
        return "MATA off"
    text = f"MATA: alpha {mata.alpha:g}, layers {format_layers(scene.answer.layers)}, mode {mata.mode}"
    return text if mata.focus is None else f"{text}, focus {format_focus(mata.focus)}"


def _labels(tokens: Sequence[str]) -> list[str]:
    """Tokens as they are written beside the rows; one that goes on a word begins with a hyphen."""
    labels, before = [], ""
    for token in tokens:
        text = style.printable(token.strip(" "), LABEL_LIMIT)
        joined = bool(before) and before[-1:].isalnum() and token[:1].isalnum()
        labels.append(f"-{text}" if joined else text or "\u2423")
        before = token
    return labels


def _text_width(text: str, size: float, weight: str = "normal") -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.1
    return float(TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight)).get_extents().width) / 72


def _fitted(text: str, width: float) -> str:
    """A title in one line, cut to width."""
    whole = shown = style.printable(text, QUESTION_LIMIT)
    while len(shown) > 2 and (found := _text_width(shown, 10, "bold")) > width:
        shown = whole[: max(1, min(len(shown) - 2, int(len(shown) * width / found)))] + "\u2026"
    return shown


def _time_label(width: float) -> str:
    """The first that fits below a clip."""
    return next((text for text in TIME if _text_width(text, 9) < width), TIME[-1])


def _row_height(n_tokens: int) -> float:
    """Rows get thinner when there are many; below ROW_LEAST not all of them are labelled."""
    if n_tokens <= 12:
        return ROW_MOST
    thinner = max(ROW_LEAST, ROW_MOST - (n_tokens - 12) * 0.008)
    return min(thinner, ROWS_MOST / n_tokens)


# The sound -----------------------------------------------------------------------------------------


def _columns(scene: Scene, left: float, width: float) -> list[tuple[float, float]]:
    """(x, width) of each clip's time axis: by length, but none under a share that can be read."""
    clips = _attention(scene.answer).clips
    room = width - COLUMN_GAP * (len(clips) - 1)
    seconds = np.array([clip.heard_seconds for clip in clips])
    shares = np.maximum(seconds / seconds.sum(), 0.6 / len(clips))
    shares /= shares.sum()
    columns, x = [], left
    for share in shares:
        columns.append((x, float(share) * room))
        x += float(share) * room + COLUMN_GAP
    return columns


def _draw_sound(page: _Page, scene: Scene, index: int, box: tuple[float, float, float], mel_height: float) -> None:
    x, y, width = box
    audio, clip = scene.clips[index], _attention(scene.answer).clips[index]
    samples, end = audio.samples(), clip.heard_seconds
    wave = page.axes((x, y, width, WAVE))
    wave.set_title(_fitted(f"{Path(clip.name).name}, {clip.seconds:.1f} s", width + 0.7 * COLUMN_GAP), pad=4)
    low, high, times = _envelope(samples, audio.sample_rate)
    wave.fill_between(times, low, high, color=style.GREY, linewidth=0.4)
    peak = max(1e-6, float(np.abs(samples).max()))
    wave.set_ylim(-1.05 * peak, 1.05 * peak)
    mel_axes = page.axes((x, y + WAVE + GAP, width, mel_height))
    level = mel_spectrogram(samples, audio.sample_rate)
    extent = (0.0, clip.seconds, 0.0, float(len(level)))
    mel_axes.imshow(level, aspect="auto", origin="lower", cmap=style.SOUND, extent=extent, interpolation="nearest")
    ticks = [hertz for hertz in (250, 1000, 2000, 4000, 8000, 16000) if hertz <= audio.sample_rate / 2]
    scale = len(level) / mel_of(audio.sample_rate / 2)
    mel_axes.set_yticks([mel_of(hertz) * scale for hertz in ticks])
    mel_axes.set_ylim(0, len(level))
    for axes in (wave, mel_axes):
        axes.set_xlim(0, end)
        axes.tick_params(labelbottom=False)
        _mark_times(axes, scene.answer.mata, clip.seconds, end)
    wave.set_yticks([])
    wave.spines["left"].set_visible(False)
    if index == 0:
        mel_axes.set_yticklabels([f"{hertz / 1000:g}" for hertz in ticks])
        mel_axes.set_ylabel("kHz")
    else:
        mel_axes.tick_params(labelleft=False)
    if (end - clip.seconds) / end * width > 0.65:
        middle = (clip.seconds + end) / 2
        mel_axes.text(middle, len(level) / 2, "silence", ha="center", va="center", color=style.GREY, fontsize=8.5)


def _envelope(samples: NDArray[np.float32], rate: int) -> tuple[Any, Any, Any]:
    """(lowest, highest, seconds) of at most 1500 stretches."""
    step = max(1, -(-len(samples) // 1500))
    padded = np.pad(samples, (0, -len(samples) % step), mode="edge").reshape(-1, step)
    return padded.min(axis=1), padded.max(axis=1), (np.arange(len(padded)) + 0.5) * step / rate


def _mark_times(axes: Axes, mata: Mata | None, seconds: float, end: float) -> None:
    """The silence behind a short clip, and the window that MATA acts on."""
    if end > seconds:
        axes.axvspan(seconds, end, facecolor="none", edgecolor="#C8C8C8", hatch="////", linewidth=0.0, zorder=0)
    if mata is not None and mata.alpha and mata.focus is not None:
        for edge in mata.focus:
            if 0 < edge < end:
                axes.axvline(edge, color=style.VERMILION, linewidth=1.2, linestyle="--")


# The maps --------------------------------------------------------------------------------------------


def _attention(answer: Answer) -> Attention:
    assert answer.attention is not None
    return answer.attention


def _ceiling(attention: Attention) -> float:
    """The weight that the brightest colour stands for: single cells may exceed it."""
    weights = np.concatenate([clip.after.ravel() for clip in attention.clips])
    return float(np.quantile(weights, 0.995)) if weights.size else 0.0


def _draw_map(
    page: _Page,
    scene: Scene,
    answer: Answer,
    title: str,
    labels: Sequence[str],
    columns: Sequence[tuple[float, float]],
    place: tuple[float, float],
    most: float,
) -> Any:
    """One heat map, time by generated token; the last image, for the colour bar."""
    y, height = place
    attention, image = _attention(answer), None
    for i, ((x, width), clip) in enumerate(zip(columns, attention.clips, strict=True)):
        axes = page.axes((x, y, width, height))
        n = len(labels)
        if n:
            image = axes.pcolormesh(
                clip.edges, np.arange(n + 1), 100 * clip.after, cmap=style.HEAT, vmin=0, vmax=max(100 * most, 1e-9),
                rasterized=True,
            )  # fmt: skip
        else:
            axes.text(
                0.5, 0.5, "nothing was said", ha="center", va="center", transform=axes.transAxes, color=style.GREY
            )
        axes.set_ylim(max(1, n), 0)
        axes.set_xlim(0, clip.heard_seconds)
        axes.tick_params(axis="y", length=0)
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        _mark_times(axes, answer.mata, clip.heard_seconds, clip.heard_seconds)
        if clip.heard_seconds > clip.seconds:
            axes.axvline(clip.seconds, color="white", linewidth=1.0, linestyle=":")
        _time_ticks(axes, width)
        axes.set_xlabel(_time_label(width + 0.7 * COLUMN_GAP), labelpad=1)
        if i == 0:
            axes.set_title(f"{title}: where the model listened for each token", pad=5)
            every = max(1, int(np.ceil(ROW_LEAST * 0.95 / (height / max(1, n)))))
            axes.set_yticks([k + 0.5 for k in range(0, n, every)])
            size = 8.5 if height / max(1, n) * every >= 0.155 else 7.5
            axes.set_yticklabels([labels[k] for k in range(0, n, every)], fontsize=size)
    return image


def _time_ticks(axes: Axes, width: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=max(1, min(10, int(width / 0.6))), steps=[1, 2, 5, 10], min_n_ticks=2)
    )


def _draw_bars(page: _Page, answer: Answer, box: tuple[float, float, float, float], scene: Scene) -> None:
    """The audio's share of each token's attention, in the layers of the map."""
    attention = _attention(answer)
    axes = page.axes(box)
    n = len(attention.tokens)
    shares = sum((clip.after.sum(axis=1) for clip in attention.clips), np.zeros(n))
    axes.barh(np.arange(n) + 0.5, 100 * shares, height=0.72, color=style.BLUE)
    axes.set_ylim(max(1, n), 0)
    axes.set_yticks([])
    others = [_attention(other) for _, other in scene.maps]
    most = max(
        [100 * float(np.sum([c.after.sum(axis=1) for c in other.clips], axis=0).max(initial=0)) for other in others]
    )
    axes.set_xlim(0, most * 1.05 or 1)
    axes.locator_params(axis="x", nbins=2, min_n_ticks=2)
    axes.set_xlabel("audio, %", labelpad=1)


def _draw_colours(page: _Page, image: Any, box: tuple[float, float, float, float]) -> None:
    axes = page.axes(box)
    bar = page.figure.colorbar(image, cax=axes, orientation="horizontal", extend="max")
    bar.outline.set_visible(False)
    bar.ax.locator_params(nbins=4)
    bar.ax.tick_params(length=2, pad=1)
    axes.set_title("attention to one audio token, %", fontsize=8.5, fontweight="normal", pad=2)


# By layer --------------------------------------------------------------------------------------------


def _draw_groups(page: _Page, scene: Scene, box: tuple[float, float, float, float]) -> None:
    """All shares by layer, stacked, with the audio at the bottom."""
    attention = _attention(scene.answer)
    axes = page.axes(box)
    state = scene.maps[-1][0]
    axes.set_title(f"Audio and text by layer, {state}", pad=38)
    stack_shares(axes, attention.layers, attention.by_layer(), attention.groups)


def _draw_audio_by_layer(page: _Page, scene: Scene, box: tuple[float, float, float, float]) -> None:
    """The audio's share by layer, with MATA off and on."""
    attention = _attention(scene.answer)
    axes = page.axes(box)
    off, on, off_name = (None if scene.without is None else _attention(scene.without)), attention, _off_name(scene)
    title = "Audio by layer" if off is None else "Audio by layer, MATA off and on"
    axes.set_title(title, pad=24 if off_name == OFF else 38)
    tokens = sum(clip.tokens for clip in scene.answer.audio)
    positions = scene.answer.usage.prompt_tokens + max(0, len(attention.tokens) - 1) / 2
    audio_lines(
        axes,
        attention.layers,
        None if off is None else off.by_layer()[:, 0],
        on.by_layer()[:, 0] if on.boosted or off is None else None,
        on.boosted,
        tokens / max(positions, 1),
        off_name,
    )


def _off_name(scene: Scene) -> str:
    """What the line with MATA off is called: of another answer, it is about other rows."""
    same = scene.without is None or _attention(scene.without).tokens == _attention(scene.answer).tokens
    return OFF if same else "off: another answer"
