"""The setting of MATA: how much, in which layers, in what form, on which part of the clip.

The method: "MATA: a training-free method for large audio-language models", arXiv 2509.18816.  On the
row of the token being predicted, the raw attention scores towards audio tokens are changed in the
middle layers.  The formulas are in ``Mata``.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import checks
from .errors import MataError

if TYPE_CHECKING:
    from ._core import Engine

MODES = ("scale", "abs", "add")

PAPER_LAYERS = (10, 20, 28)
"""The paper's layers 10 up to 20 of a model with 28, half-open."""

MAX_ALPHA = 100
MAX_LAYERS = 1 << 16

LayerSpec = str | int | range | Sequence[int]


class HasSpan(Protocol):
    """A clip in a sequence: its audio tokens lie at positions [span[0], span[1]) and last heard_seconds,
    which is more than the clip's own seconds where the model is given silence after a short one."""

    @property
    def span(self) -> tuple[int, int]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def heard_seconds(self) -> float: ...


@dataclass(frozen=True)
class Mata:
    """How the attention scores of the audio are changed.

    alpha: strength, 0 is off; the paper's best is 0.10, negative values lower the attention.
    layers: "auto" (the middle third, the paper's 10..20 of 28), a slice string "10:20" (half-open,
        open ends and negative numbers as in Python), one number, a range or a sequence of numbers.
    mode: "scale" s + alpha*s, "abs" s + alpha*|s|, or "add" s + alpha, on raw scores s.
    focus: None, or (start, end) in seconds: only the audio tokens of this window of each clip.

    Raises ValueError for a setting that can fit no model.
    """

    alpha: float = 0.10
    layers: LayerSpec = "auto"
    mode: str = "scale"
    focus: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _number(self.alpha, "alpha"))
        if abs(self.alpha) > MAX_ALPHA:
            raise ValueError(f"alpha must lie between -{MAX_ALPHA} and {MAX_ALPHA}, not {self.alpha:g}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {checks.short_repr(self.mode)}")
        object.__setattr__(self, "layers", _check_layers(self.layers))
        if self.focus is not None:
            object.__setattr__(self, "focus", _check_focus(self.focus))

    def resolve_layers(self, n_layer: int, attention_layers: Sequence[int] | None = None) -> tuple[int, ...]:
        """The layer numbers for a model of n_layer layers, ascending.

        attention_layers: those that have attention (None: all).  "auto" is the middle third of these, and a slice
        leaves the others out.  Raises ValueError for layers that do not exist or have no attention.
        """
        attend = list(range(n_layer)) if attention_layers is None else sorted(attention_layers)
        layers = self.layers
        if layers == "auto":
            return tuple(attend[i] for i in auto_layers(len(attend)))
        if isinstance(layers, str):
            chosen = _resolve_slice(layers, n_layer)
            found = tuple(layer for layer in chosen if layer in set(attend))
            if not found:
                raise ValueError(f"layers {layers} of this model have no attention")
            return found
        numbers = [layers] if isinstance(layers, int) else list(layers)
        resolved = set()
        for number in numbers:
            index = number + n_layer if number < 0 else number
            if not 0 <= index < n_layer:
                raise ValueError(f"layer {number} does not exist: this model has layers 0 to {n_layer - 1}")
            if index not in set(attend):
                raise ValueError(f"layer {index} of this model has no attention")
            resolved.add(index)
        return tuple(sorted(resolved))

    def spans(self, clips: Iterable[HasSpan]) -> list[tuple[int, int, float]]:
        """(start, end, weight) in positions for the engine; focus picks its part of every clip.

        A token belongs to the window when its stretch of time overlaps it.  Raises ValueError when
        the window holds no token of any clip.
        """
        clips = list(clips)
        spans = []
        for clip in clips:
            start, end = _window(clip, self.focus)
            if start < end:
                spans.append((start, end, 1.0))
        if not spans:
            self.check_focus([min(clip.seconds, clip.heard_seconds) for clip in clips])
        return spans

    def check_focus(self, seconds: Sequence[float]) -> None:
        """Raises ValueError when the window lies behind the end of every clip; seconds: how long each is heard."""
        if self.focus is not None and seconds and self.focus[0] >= max(seconds):
            which = "clip" if len(seconds) == 1 else "longest clip"
            end = max(seconds)
            raise ValueError(f"focus {format_focus(self.focus)} holds no audio: the {which} is heard up to {end:.2f} s")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        layers: Any = self.layers if isinstance(self.layers, str | int) else list(self.layers)
        end = math.inf if self.focus is None else self.focus[1]
        return {
            "alpha": self.alpha,
            "layers": layers,
            "mode": self.mode,
            "focus": None if self.focus is None else [self.focus[0], end if math.isfinite(end) else None],
        }


@dataclass(frozen=True)
class Boost:
    """A setting as it acts on a model: there is none where MATA is off.

    mata: what was asked for.  layers: the numbers of the layers that it acts on, ascending, at least one.
    """

    mata: Mata
    layers: tuple[int, ...]
    n_layer: int

    @property
    def alphas(self) -> list[float]:
        """alpha of each layer, [n_layer]; 0 where a layer is left alone."""
        return [self.mata.alpha if layer in self.layers else 0.0 for layer in range(self.n_layer)]

    def describe(self) -> str:
        """E.g. "alpha 0.1, layers 10:21 of 30, mode scale"."""
        mata = self.mata
        text = f"alpha {mata.alpha:g}, layers {format_layers(self.layers)} of {self.n_layer}, mode {mata.mode}"
        return text if mata.focus is None else f"{text}, focus {format_focus(mata.focus)}"


def write(path: Path, mata: Mata) -> None:
    """The setting as JSON, which read takes.  Raises MataError."""
    try:
        path.write_text(json.dumps(mata.to_dict()) + "\n", "utf-8")
    except OSError as error:
        raise MataError(f"cannot write {checks.short_name(path)}: {error.strerror or error}") from None


def read(path: Path) -> Mata:
    """A setting that write wrote.  Raises MataError for a file that is none, naming it."""
    shown = checks.short_name(path)
    try:
        values = json.loads(path.read_text("utf-8"))
        known = {name: values[name] for name in ("alpha", "layers", "mode", "focus") if values.get(name) is not None}
        if set(values) - {"alpha", "layers", "mode", "focus"}:
            raise ValueError(f"it has {checks.short_repr(sorted(set(values) - set(known)))}")
        if "focus" in known:
            start, end = known["focus"]
            known["focus"] = (start, math.inf if end is None else end)
        return Mata(**known)
    except OSError as error:
        raise MataError(f"cannot read {shown}: {error.strerror or error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MataError(f"{shown} is no setting of MATA: {' '.join(str(error).split())}") from None


def boost_of(engine: Engine, mata: Mata | None) -> Boost | None:
    """What mata does to this model: None if it is off, which is mata None, alpha 0, or no layer to act on.

    Raises MataError for a model in which MATA cannot work, ValueError for layers that it does not have.
    """
    if mata is None:
        return None
    if not isinstance(mata, Mata):
        raise ValueError(f"mata must be a Mata(...) or None, not {checks.short_repr(mata)}")
    layers = mata.resolve_layers(engine.n_layer, engine.attention_layers)
    if not mata.alpha or (not layers and mata.layers != "auto"):
        return None
    if engine.mata_refusal or not layers:
        reason = engine.mata_refusal or "no layer of this model has attention"
        raise MataError(f"MATA cannot work here: {reason}; use mata=None (--no-mata)")
    return Boost(mata, layers, engine.n_layer)


def auto_layers(n_layer: int) -> range:
    """The middle third in the paper's proportion: 10:20 of 28, 10:21 of 30, 12:23 of 32."""
    first, last, of = PAPER_LAYERS
    return range(n_layer * first // of, math.floor(n_layer * last / of + 0.5))


def format_layers(layers: Sequence[int]) -> str:
    """A run of layers as "10:20", others as "3,7,9", and "none"."""
    if not layers:
        return "none"
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}:{layers[-1] + 1}"
    return ",".join(map(str, layers))


def format_focus(focus: tuple[float, float]) -> str:
    return f"{focus[0]:g}:{focus[1]:g} s"


def parse_focus(text: str) -> tuple[float, float]:
    """Text like "3.2:7.5" -> (3.2, 7.5); an open end reaches to the end of the clip.  Raises ValueError."""
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return _check_focus((float(start or 0), float(end or "inf")))
    except ValueError as error:
        message = str(error)
        if message.startswith("focus"):
            raise
        raise ValueError(f"focus must be START:END in seconds, e.g. 3.2:7.5, not {checks.short_repr(text)}") from None


def parse_layers(text: str) -> LayerSpec:
    """What --layers takes: "auto", "10:20" or numbers with commas, "3,7,9".  Raises ValueError."""
    text = text.strip()
    if re.fullmatch(r"-?\d+(\s*,\s*-?\d+)*", text):
        return tuple(int(number) for number in text.split(","))
    return _check_layers(text)


# Checks ----------------------------------------------------------------------------------------


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__") or getattr(value, "shape", ()) != ():
        raise ValueError(f"{name} must be a number, not {checks.short_repr(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {checks.short_repr(value)}")
    return number


def _check_layers(layers: Any) -> LayerSpec:
    """layers in a hashable form, or ValueError."""
    if isinstance(layers, str):
        if layers != "auto" and not re.fullmatch(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*", layers):
            raise ValueError(
                f'layers must be "auto", a slice like "10:20", a range or numbers, not {checks.short_repr(layers)}'
            )
        return layers.strip()
    if isinstance(layers, range):
        if layers and not all(-MAX_LAYERS <= end <= MAX_LAYERS for end in (layers[0], layers[-1])):
            raise ValueError(f"no model has the layers {checks.short_repr(layers)}")
        return layers
    if isinstance(layers, bool):
        raise ValueError(f"layers must be layer numbers, not {checks.short_repr(layers)}")
    try:
        return operator.index(layers)
    except TypeError:
        pass
    try:
        numbers = tuple(itertools.islice(layers, MAX_LAYERS + 1))
        if len(numbers) > MAX_LAYERS:
            raise ValueError("no model has so many layers")
        if any(isinstance(number, bool) for number in numbers):
            raise TypeError
        return tuple(operator.index(number) for number in numbers)
    except TypeError:
        raise ValueError(
            f'layers must be "auto", a slice like "10:20", a range or numbers, not {checks.short_repr(layers)}'
        ) from None


def _resolve_slice(text: str, n_layer: int) -> tuple[int, ...]:
    ends = [int(part) if part.strip() else None for part in text.split(":")]
    for end in ends:
        if end is not None and not -n_layer <= end <= n_layer:
            raise ValueError(f"layers {text} reach outside this model, which has layers 0 to {n_layer - 1}")
    layers = tuple(range(n_layer)[ends[0] : ends[1]])
    if not layers:
        raise ValueError(f"layers {text} are none of this model's layers 0 to {n_layer - 1}")
    return layers


def _check_focus(focus: Any) -> tuple[float, float]:
    try:
        start, end = (float(value) for value in focus)
    except (TypeError, ValueError):
        raise ValueError(f"focus must be (start, end) in seconds, not {checks.short_repr(focus)}") from None
    if math.isnan(start) or math.isnan(end) or start < 0 or math.isinf(start) or end <= start:
        raise ValueError(f"focus must be a window with 0 <= start < end in seconds, not {start:g}:{end:g}")
    return start, end


def _window(clip: HasSpan, focus: tuple[float, float] | None) -> tuple[int, int]:
    """Positions of clip whose stretch of time overlaps focus; empty (equal) where there is none."""
    begin, end = clip.span
    if focus is None:
        return begin, end
    count = end - begin
    audible = min(clip.seconds, clip.heard_seconds)
    if count <= 0 or audible <= 0 or focus[0] >= audible:
        return begin, begin
    per_second = count / clip.heard_seconds
    first = min(count - 1, math.floor(focus[0] * per_second + 1e-6))
    last = min(count, math.ceil(min(focus[1], audible) * per_second - 1e-6))
    return begin + first, begin + max(first + 1, last)
