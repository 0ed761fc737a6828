"""What can be changed in the middle of a conversation: sampling, MATA, the system message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, cast

import click

from ..checks import short_name, short_repr
from ..decoding import MAX_TOKENS
from ..decoding.contrast.rules import contrast_of, parse
from ..decoding.plain import check_max_tokens
from ..decoding.sampling import Json, Sampling
from ..files import resolve
from ..mata import Mata, boost_of, format_focus, parse_focus, parse_layers
from .config import OFF
from .options import DEFAULTS

if TYPE_CHECKING:
    from ..chat import AudioChat
    from ..options import AskOptions, ChooseOptions

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
MATA = ("alpha", "layers", "mode", "focus")
NAMES = (*SAMPLING, "max_tokens", "system", "contrast", *MATA)
AT_LOADING = ("model", "mmproj", "lora", "threads", "gpu_layers", "ctx", "flash_attn", "cache_type", "channel")

DEFAULT = "default"


class Settings:
    """Those of a chat, by the names of the command's options.  options: of AudioChat.stream."""

    def __init__(self, chat: AudioChat, options: AskOptions) -> None:
        self._chat = chat
        self._sampling = options.get("sampling") or Sampling()
        self._max_tokens = options.get("max_tokens", MAX_TOKENS)
        self._contrast = contrast_of(options.get("contrast"))
        self._mata = chat.mata or resolve.default_mata(chat.model_name)  # what comes back with /mata on

    @property
    def options(self) -> AskOptions:
        """Of the next question."""
        return {**self.comparing, "contrast": self._contrast}

    @property
    def comparing(self) -> AskOptions:
        """Of a question whose answers with MATA and without are compared."""
        return {"sampling": self._sampling, "max_tokens": self._max_tokens}

    @property
    def choosing(self) -> ChooseOptions:
        """Of a question whose answer is one of several."""
        return {} if self._contrast is None else {"contrast": self._contrast}

    @property
    def sampling(self) -> Sampling:
        return self._sampling

    @property
    def mata(self) -> Mata:
        """That of the next question, or the one that /mata on brings back."""
        return self._chat.mata or self._mata

    def next_seed(self) -> None:
        """Draw otherwise from now on."""
        self._sampling = replace(self._sampling, seed=(self._sampling.seed + 1) % (1 << 32))

    def shown(self, name: str) -> str:
        """ "temperature 0.8"."""
        value: Any = getattr(self._sampling, name, None)
        if name == "max_tokens":
            value = self._max_tokens
        elif name == "system":
            value = "the model's own" if self._chat.system is None else short_repr(self._chat.system)
        elif name == "contrast":
            value = OFF if self._contrast is None else str(self._contrast)
        elif name in MATA:
            value = getattr(self.mata, name)
            if name == "focus":
                value = "off" if value is None else format_focus(value)
            elif not isinstance(value, str | float):
                value = ",".join(map(str, [value] if isinstance(value, int) else value))
        return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"

    def set(self, name: str, text: str) -> str:
        """Set one, checked as the command line checks it; the line that says what is now.  Raises ValueError."""
        name = check_name(name)
        value: Any = DEFAULTS.get(name) if text == DEFAULT else _converted(name, text)
        changed = {name: value}
        if name in MATA:
            return self.set_mata(replace(self.mata, **changed), on=self._chat.mata is not None)
        if name == "max_tokens":
            self._max_tokens = check_max_tokens(value)
        elif name == "contrast":
            self._contrast = value
        elif name == "system":
            self._chat.system = value
            if value is None:  # what was said to the model before goes too
                self._chat.messages = [message for message in self._chat.messages if message.role != "system"]
        else:
            self._sampling = replace(self._sampling, **changed)
        return self.shown(name)

    def set_mata(self, mata: Mata, *, on: bool) -> str:
        """The line that says what is now.  Raises ValueError, MataError."""
        boost = boost_of(self._chat.engine, mata)
        self._mata = mata
        self._chat.mata = mata if on else None
        off = "" if on or boost is None else f" (/mata on: {boost.describe()})"
        return self._chat.describe_mata() + off

    def switch_mata(self, *, on: bool) -> str:
        self.set_mata(self.mata, on=on)
        return self._chat.describe_mata()

    # In a file -------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        mata = self._chat.mata
        sampling = {name: value for name, value in asdict(self._sampling).items() if value not in ("", None)}
        return {
            "system": self._chat.system,
            "mata": None if mata is None else mata.to_dict(),
            "max_tokens": self._max_tokens,
            "contrast": None if self._contrast is None else str(self._contrast),
            **sampling,
        }

    def restore(self, record: Mapping[str, Json], *, apply: bool = True) -> None:
        """The reverse of to_dict; without apply it is only checked.  Raises ValueError, MataError."""
        known = {field.name for field in fields(Sampling)}
        for name in record:
            if name not in known | {"system", "mata", "max_tokens", "contrast"}:
                raise ValueError(f"unknown setting {short_repr(name)}")
        sampling = Sampling(**{name: cast(Any, record[name]) for name in known & set(record)})
        sampling.sampler(self._chat.engine)  # knows the ranges
        max_tokens = check_max_tokens(cast(Any, record.get("max_tokens", MAX_TOKENS)))
        contrast = contrast_of(record.get("contrast"))
        system = record.get("system")
        if system is not None and not isinstance(system, str):
            raise ValueError(f"system must be a text, not {short_repr(system)}")
        mata = _mata_of(record.get("mata"))
        boost_of(self._chat.engine, mata)
        if apply:
            self._sampling, self._max_tokens, self._contrast = sampling, max_tokens, contrast
            self._chat.system, self._chat.mata = system, mata
            self._mata = mata or self._mata


def check_name(name: str) -> str:
    """The name of a setting, however it is written.  Raises ValueError."""
    plain = name.lstrip("-").replace("-", "_").lower()
    if plain in AT_LOADING:
        option = f"--{plain.replace('_', '-')}"
        raise ValueError(f"{plain} is chosen when the model is loaded: leave, and start mata-chat with {option}")
    if plain not in NAMES:
        raise ValueError(f"no setting {short_name(name)}; /set lists them")
    return plain


def _converted(name: str, text: str) -> Any:
    """text as the command's option of this name takes it.  Raises ValueError."""
    if name == "focus":
        return None if text == "off" else parse_focus(text)
    if name == "layers":
        return parse_layers(text)
    if name == "contrast":
        return None if text == OFF else parse(text)
    context = click.get_current_context()
    parameter = next(parameter for parameter in context.command.params if parameter.name == name)
    try:
        return parameter.type.convert(text, parameter, context)
    except click.BadParameter as error:
        if isinstance(parameter.type, click.types.FloatParamType | click.types.IntParamType) and not _is_number(
            text, parameter.type
        ):
            whole = "whole " if isinstance(parameter.type, click.types.IntParamType) else ""
            raise ValueError(f"{name} must be a {whole}number, not {short_repr(text)}") from None
        raise ValueError(f"{name}: {error.message.rstrip('.')}") from None


def _is_number(text: str, kind: object) -> bool:
    try:
        int(text) if isinstance(kind, click.types.IntParamType) else float(text)
    except ValueError:
        return False
    return True


def _mata_of(record: Any) -> Mata | None:
    """The reverse of Mata.to_dict.  Raises ValueError."""
    if record is None:
        return None
    if not isinstance(record, dict) or set(record) - {field.name for field in fields(Mata)}:
        raise ValueError(f"mata must have {', '.join(MATA)}, not {short_repr(record)}")
    values = dict(record)
    focus = values.get("focus")
    if isinstance(focus, list) and len(focus) == 2 and focus[1] is None:
        values["focus"] = (focus[0], float("inf"))
    return Mata(**values)
