"""The user's own defaults: config.toml in the folder where the system keeps such files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from ..checks import short_name, short_repr
from ..decoding.contrast.rules import parse
from ..decoding.sampling import Sampling
from ..errors import MataError
from ..files.load import EngineOptions, engine_arguments
from ..mata import Mata, parse_layers

if TYPE_CHECKING:
    from pathlib import Path

IGNORE_VARIABLE = "MATA_CPP_NO_CONFIG"
"""Set to 1: as --no-config."""

_PARAMETERS = {
    "model": "model",
    "threads": "n_threads",
    "gpu_layers": "n_gpu_layers",
    "ctx": "n_ctx",
    **{
        name: name
        for name in (
            *("flash_attn", "cache_type", "system", "alpha", "layers", "mode"),
            *("contrast", "max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed"),
        )
    },
}
"""The keys that stand for an option, and the parameter of the command that each sets."""

OFF = "off"
"""Of contrast: none."""

KEYS = (*_PARAMETERS, "history")


@dataclass(frozen=True)
class Config:
    """defaults: of the command's parameters.  history: whether questions are kept for later conversations."""

    defaults: Mapping[str, Any]
    history: bool = True


def path() -> Path:
    """Where the file is looked for."""
    import platformdirs

    return platformdirs.user_config_path("mata-cpp", appauthor=False) / "config.toml"


def is_ignored() -> bool:
    """Whether the environment says so."""
    return os.environ.get(IGNORE_VARIABLE, "").lower() not in ("", "0", "no", "false")


def load(file: Path, context: click.Context) -> Config:
    """What the file says, checked by the command's own parameters; nothing where there is no file.

    Raises MataError, one line that names the file and the key.
    """
    shown = short_name(file)
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Config({})
    except OSError as error:
        raise MataError(f"{shown}: cannot be read: {error.strerror or error} (--no-config ignores it)") from None
    found = _parsed(data, shown)
    for key in found:
        if key not in KEYS:
            raise MataError(f"{shown}: unknown key {short_repr(key)}; the keys are {', '.join(KEYS)}")
    history = found.pop("history", True)
    if not isinstance(history, bool):
        raise MataError(f"{shown}: history must be true or false, not {short_repr(history)}")
    by_name = {parameter.name: parameter for parameter in context.command.params}
    defaults = {}
    for key, value in found.items():
        parameter = by_name.get(_PARAMETERS[key])
        if parameter is not None:
            defaults[_PARAMETERS[key]] = _value(key, value, parameter, context, shown)
    return Config(defaults, history)


def option_callback(context: click.Context, parameter: click.Parameter, ignore: bool) -> bool:
    """Of --no-config, which comes before all other options: theirs are the values of the file from here on."""
    if context.resilient_parsing:  # the shell asks how to complete a word
        return ignore
    config = Config({}) if ignore or is_ignored() else load(path(), context)
    context.default_map = {**(context.default_map or {}), **config.defaults}
    context.meta[__name__] = config
    return ignore


def of(context: click.Context) -> Config:
    """The one that option_callback has read."""
    config: Config = context.meta.get(__name__, Config({}))
    return config


def _parsed(data: bytes, shown: str) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib  # type: ignore[import-not-found,no-redef,unused-ignore]
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise MataError(f"{shown} is not a text in UTF-8 (--no-config ignores it)") from None
    except (ValueError, RecursionError) as error:
        raise MataError(f"{shown} is not TOML: {error} (--no-config ignores it)") from None


def _value(key: str, value: Any, parameter: click.Parameter, context: click.Context, shown: str) -> Any:
    """value as the option would have it.  Raises MataError."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = parameter.type
    if isinstance(kind, click.types.IntParamType):
        fits, what = isinstance(value, int) and number, "a whole number"
    elif isinstance(kind, click.types.FloatParamType):
        fits, what = number, "a number"
    else:
        fits, what = isinstance(value, str), "a text in quotes"
    if not fits:
        raise MataError(f"{shown}: {key} must be {what}, not {short_repr(value)}")
    if key == "model":
        value = os.path.expanduser(value)
    try:
        converted = kind.convert(value, parameter, context)
        _check(_PARAMETERS[key], converted)
    except click.BadParameter as error:
        raise MataError(f"{shown}: {key}: {error.message.rstrip('.')}") from None
    except ValueError as error:
        raise MataError(f"{shown}: {key}: {error}") from None
    return converted


def _check(name: str, value: Any) -> None:
    """What the records that the values end in say.  Raises ValueError."""
    if name in ("alpha", "layers", "mode"):
        given: dict[str, Any] = {name: parse_layers(value) if name == "layers" else value}
        Mata(**given)
    if name == "contrast" and value != OFF:
        parse(value)
    for record, check in ((Sampling, Sampling), (EngineOptions, lambda **one: engine_arguments(EngineOptions(**one)))):
        if name in {field.name for field in fields(record)}:
            check(**{name: value})
