"""The options that the commands share, and what the words on the command line mean."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click
from click.core import ParameterSource

from .. import mata
from ..checks import short_name
from ..decoding import MAX_TOKENS
from ..decoding.contrast.rules import STRENGTHS, parse
from ..decoding.sampling import Sampling
from ..errors import AudioError, MataError
from ..files import DEFAULT_MODEL, resolve
from ..files.load import EngineOptions
from ..mata import MODES, Mata, boost_of, parse_focus, parse_layers
from . import config, spinner

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..audio import Audio
    from ..decoding.contrast.rules import Contrast
    from ..model import AudioModel
    from ..options import AskOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

STDIN = "-"

CONTRASTS = tuple(name for name in STRENGTHS if name != "text")
"""Rules that need no more than a name."""

DEFAULTS: dict[str, Any] = {
    field.name: field.default for record in (Mata, EngineOptions, Sampling) for field in fields(record)
}
"""Of the options that are fields of these records, by name; typed nowhere else."""
DEFAULTS.update(model=DEFAULT_MODEL, max_tokens=MAX_TOKENS)


def complete_files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell: its own completion of paths."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the catalogue, and whatever the shell completes as a path."""
    from click.shell_completion import CompletionItem

    from ..files.catalogue import ENTRIES

    names = [entry.name for entry in ENTRIES if entry.name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


def option(*names: str, help: str, default: str | None = None, **attributes: Any) -> Decorator:
    """click.option whose --help ends with its default, which is that of the record that has a field of its name.

    default: the same in words, where there is no value or it needs one more word; "{}" stands for the value.
    """
    name = next((name for name in names if name.isidentifier()), names[-1].lstrip("-").replace("-", "_"))
    value = DEFAULTS.get(name)
    if value is not None and not isinstance(value, bool):
        attributes["default"] = value
        default = (default or "{}").format(f"{value:g}" if isinstance(value, float) else value)
    if "FILE" in attributes.get("metavar", ""):
        attributes["shell_complete"] = complete_files
    return click.option(*names, help=f"{help}  [default: {default}]" if default else help, **attributes)


_MODEL: tuple[Decorator, ...] = (
    option(
        "-m",
        "--model",
        metavar="MODEL",
        shell_complete=complete_models,
        help="A name that mata-models list shows, owner/repo[:QUANT], a URL, a folder, or a file.",
    ),
    option("--mmproj", metavar="FILE", help="Its audio projector.", default="the model's own"),
    option("--lora", metavar="FILE[:SCALE]", multiple=True, help="A LoRA adapter; may be repeated."),
)
_MATA: tuple[Decorator, ...] = (
    option("--system", metavar="TEXT", help="The system message.", default="the chat template's own"),
    option("--alpha", type=float, metavar="NUMBER", help="MATA's strength."),
    option("--layers", metavar="LAYERS", help='"auto", "10:20" or "3,7,9".', default="{}, the middle third"),
    option(
        "--mode", type=click.Choice(list(MODES)), help="MATA's form.", default="{}, unless the model has one of its own"
    ),
    option(
        "--focus",
        metavar="START:END",
        help="Boost only this part of the clip, in seconds, for example 3.2:7.5.",
        default="all of it",
    ),
    option("--mata", "mata_file", metavar="FILE", help="MATA's setting, from mata-eval calibrate --out."),
    option("--no-mata", is_flag=True, help="Without MATA."),
    option(
        "--channel",
        metavar="CHANNEL",
        help="The channel to hear: left, right, mix, or a number from 1.",
        default="their mix, or the loudest where they cancel out",
    ),
)
_SAMPLING: tuple[Decorator, ...] = (
    option("--max-tokens", metavar="NUMBER", type=click.IntRange(1), help="Maximum length of an answer, in tokens."),
    option(
        "--temperature", metavar="NUMBER", type=click.FloatRange(0), help="Sampling temperature.", default="{}, greedy"
    ),
    option(
        "--top-k", metavar="NUMBER", type=click.IntRange(0), help="Sample from the NUMBER likeliest tokens; 0: all."
    ),
    option(
        "--top-p",
        metavar="NUMBER",
        type=click.FloatRange(0, 1),
        help="Sample from the likeliest tokens with this probability together.",
    ),
    option(
        "--min-p",
        metavar="NUMBER",
        type=click.FloatRange(0, 1),
        help="Leave out tokens below this fraction of the likeliest one's probability.",
    ),
    option(
        "--repeat-penalty",
        metavar="NUMBER",
        type=click.FloatRange(0, min_open=True),
        help="Make repeated tokens less likely; 1.1 helps against loops.",
        default="{}, none",
    ),
    option("--seed", metavar="NUMBER", type=int, help="Random seed for sampling."),
    option("--json-schema", metavar="TEXT|FILE", help="Answer with JSON that fits this JSON schema."),
    option("--grammar", "grammar_file", metavar="FILE", help="Answer with what this grammar (GBNF) allows."),
)
_RESOURCES: tuple[Decorator, ...] = (
    option(
        "-t",
        "--threads",
        "n_threads",
        metavar="NUMBER",
        type=int,
        help="Number of CPU threads.",
        default="the physical cores",
    ),
    option(
        "-ngl",
        "--gpu-layers",
        "n_gpu_layers",
        metavar="NUMBER",
        type=int,
        help="Number of layers on the GPU.",
        default="{}, all",
    ),
    option("--rpc", metavar="HOST:PORT", help="Put layers on other machines; several with commas."),
    option("-c", "--ctx", "n_ctx", metavar="TOKENS", type=int, help="Context length; 0: the model's own."),
    option("--flash-attn", type=click.Choice(["auto", "on", "off"]), help="Flash attention."),
    option("--cache-type", metavar="TYPE", help="Type of the KV cache: f32, f16, q8_0, ..."),
    option(
        "--no-config",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=config.option_callback,
        help="Ignore the configuration file.",
    ),
    option("-v", "--verbose", is_flag=True, help="Show llama.cpp's log on standard error."),
    option("-q", "--quiet", is_flag=True, help="Print only the answer, and errors."),
)


def shared_options(*own: Decorator) -> Decorator:
    """Gives a command the options on the model, MATA, sampling and resources, in the same words everywhere.

    own: options of the command itself, which --help lists between those on MATA and those on sampling.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return _decorated(command, (*_MODEL, *_MATA, *own, *_SAMPLING, *_RESOURCES))

    return decorate


def model_options(*own: Decorator) -> Decorator:
    """Gives a command its own options, and then those on the model and resources alone."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return _decorated(command, (*own, *_MODEL, *_RESOURCES))

    return decorate


def _decorated(command: Callable[..., Any], decorators: Sequence[Decorator]) -> Callable[..., Any]:
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def open_model(
    given: Mapping[str, Any], mata: Mata | None, *, quiet: bool, n_seq_max: int = DEFAULTS["n_seq_max"]
) -> AudioModel:
    """The model that the shared options ask for.  Raises MataError, ValueError."""
    from ..model import AudioModel

    name = os.path.basename(given["model"]) or given["model"]
    with spinner.loading(name, quiet=quiet or given["verbose"]) as progress:
        return AudioModel(**model_arguments(given), mata=mata, n_seq_max=n_seq_max, progress=progress)


def model_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """What AudioModel takes, of the shared options."""
    return {
        "model": given["model"],
        "mmproj": given["mmproj"],
        "lora": [_lora(text) for text in given["lora"]] or None,
        "n_ctx": given["n_ctx"],
        "n_threads": given["n_threads"],
        "n_gpu_layers": given["n_gpu_layers"],
        "rpc": given["rpc"],
        "flash_attn": given["flash_attn"],
        "cache_type": given["cache_type"],
        "verbose": given["verbose"],
    }


def system(given: Mapping[str, Any]) -> str | None:
    """The system message that is asked for, if there is one."""
    text = given["system"]
    return None if text is None else as_utf8(text)


def answering(given: Mapping[str, Any]) -> AskOptions:
    """The shared options that AudioModel.ask takes.  Raises MataError, ValueError."""
    names = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")
    sampling = Sampling(
        **{name: given[name] for name in names},
        grammar=_grammar(given["grammar_file"]),
        json_schema=_json_schema(given["json_schema"]),
    )
    return {"sampling": sampling, "max_tokens": given["max_tokens"]}


def mata_setting(given: Mapping[str, Any]) -> Mata | None:
    """The setting of the shared options.  Raises UsageError."""
    context = click.get_current_context()
    names = [field.name for field in fields(Mata)]
    single = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    for other, on in (("--no-mata", given["no_mata"]), ("--mata", given["mata_file"] is not None)):
        if on and single:
            raise click.UsageError(f"{other} and --{single[0]} exclude each other", context)
    if given["no_mata"] and given["mata_file"] is not None:
        raise click.UsageError("--no-mata and --mata exclude each other", context)
    if given["no_mata"]:
        return None
    if given["mata_file"] is not None:
        return mata.read(Path(given["mata_file"]))
    try:
        focus = given["focus"]
        own = resolve.default_mata(given["model"])
        chosen = Mata(
            given["alpha"] if _is_set(context, "alpha") else own.alpha,
            parse_layers(given["layers"]) if _is_set(context, "layers") else own.layers,
            given["mode"] if _is_set(context, "mode") else own.mode,
            None if focus is None else parse_focus(focus),
        )
        return chosen
    except ValueError as error:
        raise click.UsageError(str(error), context) from None


def _is_set(context: click.Context, name: str) -> bool:
    """Whether an option was given: on the command line, or in the configuration file."""
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def contrast(text: str | None, *, compare: bool, no_contrast: bool) -> Contrast | None:
    """The rule of contrast that is asked for; one of the configuration file gives way to the flags.

    Raises UsageError.
    """
    context = click.get_current_context()
    if text is None or text == config.OFF:
        return None
    for name, found in (("--compare", compare), ("--no-contrast", no_contrast)):
        if found:
            if context.get_parameter_source("contrast") is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--contrast and {name} exclude each other", context)
            return None
    try:
        return parse(text)
    except ValueError as error:
        raise click.UsageError(str(error), context) from None


def need_mata(model: AudioModel, mata: Mata | None) -> None:
    """Raises UsageError where mata is off in this model: there is nothing to compare."""
    if boost_of(model.engine, mata) is None:
        raise click.UsageError("there is nothing to compare: MATA is off", click.get_current_context())


def _grammar(path: str | None) -> str:
    return "" if path is None else _text_file(path, "--grammar")


def _json_schema(text: str | None) -> str | None:
    """A schema as it is, or that of a file."""
    if text is None or text.lstrip().startswith("{"):
        return text if text is None else as_utf8(text)
    return _text_file(text, "--json-schema")


def _text_file(path: str, name: str) -> str:
    """Raises MataError for what cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise MataError(f"{name}: no such file: {short_name(path)}") from None
    except OSError as error:
        raise MataError(f"{name}: cannot read {short_name(path)}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise MataError(f"{name}: {short_name(path)} is not a text in UTF-8") from None


def _lora(text: str) -> tuple[str, float]:
    """ "FILE" or "FILE:SCALE"."""
    path, colon, scale = text.rpartition(":")
    try:
        return (path, float(scale)) if colon and path else (text, 1.0)
    except ValueError:
        return text, 1.0


# Words -------------------------------------------------------------------------------------------


def split(words: Sequence[str], *, recorded: bool = False, each: bool = False) -> tuple[list[str], str | None]:
    """(audio files, question or None): what exists, or is "-", is audio; one other word is the question.

    recorded: there is a recording besides; then a single word is a question even where something has this name, unless
    it looks like a sound file.  each: a file that does not exist is found out when its turn comes.  Raises AudioError
    for a file that does not exist, UsageError for an empty question.
    """
    from ..audio import looks_like_audio_path

    files = [word for word in words if word == STDIN or os.path.exists(word)]
    if recorded and len(words) == 1 and words[0] != STDIN and not looks_like_audio_path(words[0]):
        files = []
    others = [word for word in words if word not in files]
    if files.count(STDIN) > 1:
        raise click.UsageError("standard input (-) can be given only once", click.get_current_context())
    if each:
        last = next((word for word in reversed(others) if not looks_like_audio_path(word) or _is_sentence(word)), None)
        others = [] if last is None else [last]
        files = [word for word in words if word is not last]
    for word in others:
        if word is not others[-1] or (looks_like_audio_path(word) and not ((files or recorded) and _is_sentence(word))):
            quotes = "; put the question in quotes" if files and len(others) > 2 and "." not in word else ""
            raise AudioError(f"no such file: {short_name(word) if word.strip() else repr(word)}{quotes}")
    if not others:
        return files, None
    if not others[0].strip():
        raise click.UsageError("the question is empty", click.get_current_context())
    return files, as_utf8(others[0])


def _is_sentence(word: str) -> bool:
    """Whether a word that ends in a file's name is more than that: it has spaces, and is in no folder that is there."""
    folder = os.path.dirname(word)
    return len(word.split()) > 1 and not (folder and os.path.isdir(folder))


def as_utf8(text: str) -> str:
    """Text that Python decoded with another encoding's surrogate escapes (LC_ALL=C) as what was typed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeError):
            return os.fsencode(text).decode("utf-8")
    return text


def at_end(stream: TextIO | None) -> bool:
    """Whether nothing can come from a stream; False where that cannot be told without waiting."""
    if stream is None:
        return True
    try:
        if stream.isatty() or not select.select([stream], [], [], 0)[0]:
            return False
        return not cast(io.BufferedReader, stream.buffer).peek(1)
    except (OSError, ValueError, AttributeError):  # no file below, or select() does not take it
        return False


def _program() -> str:
    context = click.get_current_context(silent=True)
    return (context.info_name if context is not None else None) or "mata-chat"


def channel(given: Mapping[str, Any]) -> int | str | None:
    """Which channel is to be heard, as Audio takes it."""
    text: str | None = given["channel"]
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def read_clip(word: str, channel: int | str | None = None) -> Audio:
    """Decode a file, or standard input for "-".  Raises AudioError."""
    from ..audio import Audio

    if word != STDIN:
        return Audio(word, channel=channel)
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError(f"audio from standard input (-) must be piped in: {_program()} - QUESTION < clip.wav")
    return Audio(sys.stdin.buffer, name="<stdin>", channel=channel)


def choices(text: str | None) -> list[str] | None:
    """ "cat|dog" -> ["cat", "dog"].  Raises UsageError."""
    if text is None:
        return None
    from ..decoding.scoring import check_options

    try:
        return check_options([option.strip() for option in as_utf8(text).split("|")])
    except ValueError as error:
        raise click.UsageError(f'--choices: {error}, as in "cat|dog"', click.get_current_context()) from None
