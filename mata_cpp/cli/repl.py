"""mata-chat without a question: a conversation, with a question a line and commands with a slash."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..audio import Audio, looks_like_audio_path
from ..checks import short_name, short_repr
from ..errors import MataError
from ..mata import Mata
from . import output
from .command import OutputError, fail
from .interrupts import Interrupts
from .options import as_utf8
from .paths import typed_path
from .recording import record

if TYPE_CHECKING:
    from ..audio.encoder import EncodedClip
    from ..chat import AudioChat
    from ..options import AskOptions

HELP = """\
/audio PATH           hear another clip with the next question; PATH alone does it too
/record [SECONDS]     hear the microphone with the next question; Enter ends it
/mata on|off|ALPHA    turn MATA on or off, or set its strength
/clear                forget the conversation and its clips
/help                 this list
/exit                 leave (or Ctrl-D); Ctrl-C stops an answer"""


RECORDED_S = 30.0
"""What /record takes unless Enter ends it."""


class Repl:
    """Lines in, answers out.  quiet leaves out the facts; options are those of AudioChat.stream."""

    def __init__(self, chat: AudioChat, clips: list[EncodedClip], *, quiet: bool, options: AskOptions) -> None:
        self._chat = chat
        self._clips = list(clips)
        self._quiet = quiet
        self._options = options
        self._last_mata = chat.mata or Mata()
        self._interrupts = Interrupts()

    def run(self) -> None:
        """Until the end of the input, or /exit."""
        with self._interrupts:
            self._run()

    def _run(self) -> None:
        for line in _lines(self._interrupts):
            line = as_utf8(line.strip())
            if not line:
                continue
            if line in ("/exit", "/quit"):
                return
            try:
                with self._interrupts.allowed():
                    self._take(line)
            except KeyboardInterrupt:
                click.echo("(stopped)", err=True)
            except (BrokenPipeError, OutputError):
                raise  # nobody can read a further answer
            except (MataError, ValueError) as error:
                fail(error)
            except Exception as error:
                fail(f"unexpected {type(error).__name__}: {error}")

    def _take(self, line: str) -> None:
        """A line that is not empty: a clip, a command or a question."""
        path = typed_path(line)
        if looks_like_audio_path(path) and os.path.isfile(path):
            self._audio(line)
        elif line.startswith("/"):
            self._command(line)
        else:
            self._ask(line)

    def _ask(self, question: str) -> None:
        before = len(self._chat.messages)
        try:
            answer = output.stream(self._chat.stream(self._clips, question, **self._options))
            output.note_length(answer, quiet=self._quiet)
        finally:
            if len(self._chat.messages) > before:  # the clips are part of the conversation now
                self._clips = []

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name == "/audio":
            self._audio(rest)
        elif name == "/record":
            self._record(rest)
        elif name == "/mata":
            self._mata(rest)
        elif name == "/clear":
            self._chat.reset()
            self._clips = []
            output.say("the conversation is forgotten; /audio PATH gives it a clip", quiet=self._quiet)
        elif name == "/help":
            click.echo(HELP, err=True)
        else:
            click.echo(f"error: no command {short_name(name)}; /help lists them", err=True)

    def _audio(self, path: str) -> None:
        if not path:
            raise ValueError("/audio needs a path")
        self._hear(Audio(typed_path(path)))

    def _record(self, word: str) -> None:
        try:
            seconds = float(word) if word else RECORDED_S
        except ValueError:
            raise ValueError(f"/record takes a number of seconds, not {short_repr(word)}") from None
        self._hear(record(seconds, quiet=self._quiet))

    def _hear(self, clip: Audio) -> None:
        """Keep a clip for the next question."""
        clips = self._chat.model.encode(clip)
        self._clips += clips
        for line in [output.facts(self._chat.model, clips, self._chat.mata), *output.notes(clips)]:
            output.say(line, quiet=self._quiet)

    def _mata(self, word: str) -> None:
        if word == "off":
            self._last_mata = self._chat.mata or self._last_mata
            self._chat.mata = None
        elif word == "on":
            self._chat.mata = self._chat.mata or self._last_mata
        elif word:
            try:
                alpha = float(word)
            except ValueError:
                raise ValueError(f"/mata takes on, off or a number, not {short_repr(word)}") from None
            self._chat.mata = replace(self._chat.mata or self._last_mata, alpha=alpha)
        output.say(self._chat.describe_mata(), quiet=self._quiet and not word)


def _lines(interrupts: Interrupts) -> Iterator[str]:
    """Lines of the input, with a prompt and a history on a terminal; Ctrl-C clears the line."""
    if sys.stdin is None:
        raise MataError("standard input is closed: give a question, or open it for a conversation")
    if not sys.stdin.isatty():
        while True:
            with interrupts.allowed():
                line = sys.stdin.readline()
            if not line:
                return
            yield line
    with _history():
        while True:
            try:
                with interrupts.allowed():
                    if not sys.stdout.isatty():  # only answers go to a pipe
                        click.echo("> ", err=True, nl=False)
                    line = input("> " if sys.stdout.isatty() else "")
            except KeyboardInterrupt:
                click.echo("\n(Ctrl-D or /exit leaves)", err=True)
                continue
            except EOFError:
                click.echo(err=True)
                return
            yield line


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Line editing with the history of earlier conversations, where the terminal has it."""
    try:
        import readline
    except ImportError:
        yield
        return
    import platformdirs

    path = Path(platformdirs.user_state_dir("mata-cpp", appauthor=False)) / "history"
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
