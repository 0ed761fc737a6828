"""How a question is to be answered, by name: "off", "alpha=0.2 layers=10:20 mode=abs", "contrast=silence:1"."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..checks import short_repr
from ..decoding.contrast.rules import Contrast
from ..decoding.contrast.rules import parse as parse_contrast
from ..mata import MODES, Mata, format_focus, parse_focus, parse_layers

OFF = "off"
FIELDS = ("alpha", "layers", "mode", "focus", "contrast")


@dataclass(frozen=True)
class Setting:
    """name: as reports show it.  mata: None is off.  contrast: a rule of decoding as ask takes it, or None."""

    name: str
    mata: Mata | None
    contrast: str | None = None


def parse_setting(text: str) -> Setting:
    """ "off", or fields of Mata with spaces between them, and contrast=RULE[:STRENGTH].  Raises ValueError."""
    words = text.split()
    if not words:
        raise ValueError("a setting must not be empty")
    values: dict[str, str] = {}
    off = False
    for word in words:
        if word == OFF:
            off = True
            continue
        name, sign, value = word.partition("=")
        if not sign or name not in FIELDS or not value:
            raise ValueError(f"a setting is {OFF}, or {'=, '.join(FIELDS)}= with values, not {short_repr(text)}")
        if name in values:
            raise ValueError(f"{name} is given twice in {short_repr(text)}")
        values[name] = value
    contrast = values.pop("contrast", None)
    if contrast is not None:
        _contrast(contrast, "some text")
    if off and values:
        raise ValueError(f"{OFF} takes no {next(iter(values))}, in {short_repr(text)}")
    mata = None if off or not values else _mata(values, text)
    return Setting(_name(mata, contrast), mata, contrast)


CONTEXT = "context"
"""The group that holds the words of a question that mislead, for contrast=text."""


def contrast_for(setting: Setting, groups: Mapping[str, str]) -> Contrast | None:
    """The rule of a setting for an item: None where it needs misleading words and the item has none."""
    return None if setting.contrast is None else _contrast(setting.contrast, groups.get(CONTEXT, ""))


def _contrast(text: str, context: str) -> Contrast | None:
    name, colon, strength = text.partition(":")
    if name != "text":
        return parse_contrast(text)
    if not context:
        return None
    try:
        return Contrast(name, float(strength) if colon else None, text=context)
    except ValueError:
        raise ValueError(f"the strength of contrast text must be a number, not {short_repr(strength)}") from None


def of_mata(mata: Mata | None) -> Setting:
    """The setting that is only this."""
    return Setting(_name(mata, None), mata)


def parse_grid(texts: Sequence[str]) -> list[Setting]:
    """All combinations of "alpha=0.05,0.1" "layers=0:10,10:20" "mode=scale,abs", the last varying first.

    Layer numbers are joined by "+" within a value ("layers=3+7,10:20").  Raises ValueError.
    """
    axes: list[tuple[str, list[str]]] = []
    for text in texts:
        name, sign, values = text.partition("=")
        if not sign or name not in FIELDS:
            raise ValueError(f"a grid is {'=, '.join(FIELDS)}= with values between commas, not {short_repr(text)}")
        if name in dict(axes):
            raise ValueError(f"{name} is given twice in the grid")
        found = [value for value in values.split(",") if value]
        if not found:
            raise ValueError(f"{name}= has no value in the grid")
        axes.append((name, found))
    settings = []
    for combined in itertools.product(*(found for _, found in axes)):
        words = (f"{name}={value}" for (name, _), value in zip(axes, combined, strict=True))
        settings.append(parse_setting(" ".join(words)))
    return settings


def distinct(settings: Iterable[Setting]) -> list[Setting]:
    """Each setting once, in order."""
    return list({setting.name: setting for setting in settings}.values())


def _mata(values: dict[str, str], text: str) -> Mata:
    given: dict[str, object] = {}
    for name, value in values.items():
        if name == "alpha":
            try:
                given[name] = float(value)
            except ValueError:
                raise ValueError(f"alpha must be a number, not {short_repr(value)}, in {short_repr(text)}") from None
        elif name == "layers":
            given[name] = parse_layers(re.sub(r"\+", ",", value))
        elif name == "focus":
            given[name] = parse_focus(value)
        else:
            given[name] = value
    return Mata(**given)  # type: ignore[arg-type]


def _name(mata: Mata | None, contrast: str | None) -> str:
    words = [OFF] if mata is None else [f"alpha={mata.alpha:g}"]
    if mata is not None:
        if mata.layers != "auto":
            layers = mata.layers
            words.append("layers=" + (str(layers) if isinstance(layers, str | int) else "+".join(map(str, layers))))
        if mata.mode != MODES[0]:
            words.append(f"mode={mata.mode}")
        if mata.focus is not None:
            words.append("focus=" + format_focus(mata.focus).removesuffix(" s"))
    if contrast is not None:
        words.append(f"contrast={contrast}")
    return " ".join(words)
