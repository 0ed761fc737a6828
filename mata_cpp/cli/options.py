"""What the words on the command line mean."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import AudioError
from ..mata import Mata, parse_focus, parse_layers

if TYPE_CHECKING:
    from ..audio import Audio

STDIN = "-"


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


def mata_setting(
    off: bool, alpha: float | None, layers: str | None, mode: str | None, focus: str | None
) -> Mata | None:
    """The setting of the options; None stands for an option that was not given.  Raises UsageError."""
    given = {
        "--alpha": alpha is not None,
        "--layers": layers is not None,
        "--mode": mode is not None,
        "--focus": focus is not None,
    }
    if off:
        for name, is_given in given.items():
            if is_given:
                raise click.UsageError(f"--no-mata and {name} exclude each other", click.get_current_context())
        return None
    options: dict[str, Any] = {}
    try:
        if alpha is not None:
            options["alpha"] = alpha
        if layers is not None:
            options["layers"] = parse_layers(layers)
        if mode is not None:
            options["mode"] = mode
        if focus is not None:
            options["focus"] = parse_focus(focus)
        return Mata(**options)
    except ValueError as error:
        raise click.UsageError(str(error), click.get_current_context()) from None


def choices(text: str | None) -> list[str] | None:
    """ "cat|dog" -> ["cat", "dog"].  Raises UsageError."""
    if text is None:
        return None
    from ..scoring import check_options

    try:
        return check_options([option.strip() for option in as_utf8(text).split("|")])
    except ValueError as error:
        raise click.UsageError(f'--choices: {error}, as in "cat|dog"', click.get_current_context()) from None
