"""The options that the commands share, and what the words on the command line mean."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import AudioError
from ..mata import Mata, parse_focus, parse_layers

if TYPE_CHECKING:
    from ..audio import Audio
    from ..chat import AudioChat

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

STDIN = "-"

_MODEL_AND_MATA: tuple[Decorator, ...] = (
    click.option(
        "--model",
        default="tiny",
        metavar="NAME|FILE",
        show_default=True,
        help="A GGUF file, or a name of the catalogue.",
    ),
    click.option("--mmproj", metavar="FILE", help="Its audio projector.  [default: the one beside the model]"),
    click.option("--lora", metavar="FILE[:SCALE]", multiple=True, help="A LoRA adapter; may be repeated."),
    click.option("--system", metavar="TEXT", help="The system message.  [default: the chat template's own]"),
    click.option("--alpha", type=float, metavar="NUMBER", help="MATA's strength.  [default: 0.1]"),
    click.option("--layers", metavar="LAYERS", help='"auto", "10:20" or "3,7,9".  [default: auto, the middle third]'),
    click.option("--mode", type=click.Choice(["scale", "abs", "add"]), help="MATA's form.  [default: scale]"),
    click.option("--focus", metavar="START:END", help="Only this window of the clip, in seconds, as 3.2:7.5."),
    click.option("--no-mata", is_flag=True, help="Without MATA."),
)
_SAMPLING_AND_RESOURCES: tuple[Decorator, ...] = (
    click.option(
        "--max-tokens",
        metavar="NUMBER",
        type=click.IntRange(1),
        default=256,
        help="Of an answer, at most.  [default: 256]",
    ),
    click.option(
        "--temperature", metavar="NUMBER", type=click.FloatRange(0), default=0.0, help="0 is greedy.  [default: 0]"
    ),
    click.option(
        "--top-p", metavar="NUMBER", type=click.FloatRange(0, 1), default=0.95, help="Of sampling.  [default: 0.95]"
    ),
    click.option("--seed", metavar="NUMBER", type=int, default=0, help="Of sampling.  [default: 0]"),
    click.option("--threads", metavar="NUMBER", type=int, help="Threads.  [default: the physical cores]"),
    click.option("--gpu-layers", metavar="NUMBER", type=int, default=-1, help="On the GPU.  [default: -1, all]"),
    click.option(
        "--ctx",
        metavar="TOKENS",
        type=int,
        default=4096,
        help="Context; 0: the model's own.  [default: 4096]",
    ),
    click.option(
        "--flash-attn",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        help="Flash attention.  [default: auto]",
    ),
    click.option(
        "--cache-type", default="f16", show_default=True, metavar="TYPE", help="Of the KV cache: f32, q8_0, ..."
    ),
    click.option("-v", "--verbose", is_flag=True, help="llama.cpp's log on standard error."),
    click.option("-q", "--quiet", is_flag=True, help="Only the answer, and errors."),
)


def shared_options(*own: Decorator) -> Decorator:
    """Gives a command the options on the model, MATA, sampling and resources, in the same words everywhere.

    own: options of the command itself, which --help lists between those on MATA and those on sampling.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed((*_MODEL_AND_MATA, *own, *_SAMPLING_AND_RESOURCES)):
            command = option(command)
        return command

    return decorate


def open_chat(given: Mapping[str, Any], mata: Mata | None) -> AudioChat:
    """The model that the shared options ask for.  Raises MataError, ValueError."""
    from ..chat import AudioChat

    system = given["system"]
    return AudioChat(
        given["model"],
        mmproj=given["mmproj"],
        lora=[_lora(text) for text in given["lora"]] or None,
        mata=mata,
        system=None if system is None else as_utf8(system),
        n_ctx=given["ctx"],
        n_threads=given["threads"],
        n_gpu_layers=given["gpu_layers"],
        flash_attn=given["flash_attn"],
        cache_type=given["cache_type"],
        seed=given["seed"],
        verbose=given["verbose"],
    )


def sampling(given: Mapping[str, Any]) -> dict[str, Any]:
    """The shared options that AudioChat.ask takes."""
    return {name: given[name] for name in ("max_tokens", "temperature", "top_p")}


def mata_setting(given: Mapping[str, Any]) -> Mata | None:
    """The setting of the shared options; None stands for an option that was not given.  Raises UsageError."""
    names = ("alpha", "layers", "mode", "focus")
    if given["no_mata"]:
        for name in names:
            if given[name] is not None:
                raise click.UsageError(f"--no-mata and --{name} exclude each other", click.get_current_context())
        return None
    options = {name: given[name] for name in names if given[name] is not None}
    try:
        if "layers" in options:
            options["layers"] = parse_layers(options["layers"])
        if "focus" in options:
            options["focus"] = parse_focus(options["focus"])
        return Mata(**options)
    except ValueError as error:
        raise click.UsageError(str(error), click.get_current_context()) from None


def _lora(text: str) -> tuple[str, float]:
    """ "FILE" or "FILE:SCALE"."""
    path, colon, scale = text.rpartition(":")
    try:
        return (path, float(scale)) if colon and path else (text, 1.0)
    except ValueError:
        return text, 1.0


# Words -------------------------------------------------------------------------------------------


def split(words: Sequence[str]) -> tuple[list[str], str | None]:
    """(audio files, question or None): what exists, or is "-", is audio; one other word is the question.

    Raises AudioError for a file that does not exist, UsageError for an empty question.
    """
    from ..audio import looks_like_audio_path

    files = [word for word in words if word == STDIN or os.path.exists(word)]
    others = [word for word in words if word not in files]
    if files.count(STDIN) > 1:
        raise click.UsageError("standard input (-) can be given only once", click.get_current_context())
    for word in others:
        if word is not others[-1] or looks_like_audio_path(word):
            raise AudioError(f"no such file: {word!r}" if not word.strip() else f"no such file: {word}")
    if not others:
        return files, None
    if not others[0].strip():
        raise click.UsageError("the question is empty", click.get_current_context())
    return files, as_utf8(others[0])


def as_utf8(text: str) -> str:
    """Text that Python decoded with another encoding's surrogate escapes (LC_ALL=C) as what was typed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeError):
            return os.fsencode(text).decode("utf-8")
    return text


def _program() -> str:
    context = click.get_current_context(silent=True)
    return (context.info_name if context is not None else None) or "mata-chat"


def read_clip(word: str) -> Audio:
    """Decode a file, or standard input for "-".  Raises AudioError."""
    from ..audio import Audio

    if word != STDIN:
        return Audio(word)
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError(f"audio from standard input (-) must be piped in: {_program()} - QUESTION < clip.wav")
    data = sys.stdin.buffer.read()
    if not data:
        raise AudioError("standard input is empty: no audio came")
    return Audio(data, name="<stdin>")


def choices(text: str | None) -> list[str] | None:
    """ "cat|dog" -> ["cat", "dog"].  Raises UsageError."""
    if text is None:
        return None
    from ..decoding.scoring import check_options

    try:
        return check_options([option.strip() for option in as_utf8(text).split("|")])
    except ValueError as error:
        raise click.UsageError(f'--choices: {error}, as in "cat|dog"', click.get_current_context()) from None
