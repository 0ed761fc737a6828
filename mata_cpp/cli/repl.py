"""mata-chat without a question: a conversation, with a question a line and commands with a slash."""

from __future__ import annotations

import os

import click

from ..audio import looks_like_audio_path
from ..errors import MataError
from . import repl_commands
from .command import OutputError, fail
from .dialogue import Dialogue
from .interrupts import Interrupts
from .options import as_utf8
from .paths import typed_paths
from .prompt import Prompt


class Repl:
    """Lines in, answers out.  history: whether lines are kept for later conversations."""

    def __init__(self, dialogue: Dialogue, *, history: bool = True) -> None:
        self._dialogue = dialogue
        self._interrupts = Interrupts()
        self._prompt = Prompt(self._interrupts, keeps_history=history)

    def run(self) -> None:
        """Until the end of the input, or /exit."""
        with self._interrupts:
            if self._prompt.is_terminal:
                self._dialogue.say("Drop a sound file here, or ask. /help lists the commands, Ctrl-D leaves.")
            for entry in self._prompt:
                for line in _parts(as_utf8(entry.strip())):
                    if line in repl_commands.LEAVING:
                        return
                    if not self._do(line):
                        break

    def _do(self, line: str) -> bool:
        """Take a line, and tell what goes wrong with it; whether it was done."""
        try:
            with self._interrupts.allowed():
                self._take(line)
            return True
        except KeyboardInterrupt:
            self._prompt.note_interrupt()
            click.echo("(stopped)", err=True)
        except (BrokenPipeError, OutputError):
            raise  # nobody can read a further answer
        except (MataError, ValueError) as error:
            fail(error)
        except Exception as error:
            fail(f"unexpected {type(error).__name__}: {error}")
        return False

    def _take(self, line: str) -> None:
        """A line that is not empty: clips, a command or a question."""
        if _are_clips(line):
            self._dialogue.hear(typed_paths(line))
        elif line.startswith("/"):
            repl_commands.run(self._dialogue, line)
        else:
            self._dialogue.ask(line)


def _are_clips(line: str) -> bool:
    """Whether a line names sound files that are there, and nothing else."""
    if "\n" in line:
        return False
    try:
        return all(looks_like_audio_path(path) and os.path.isfile(path) for path in typed_paths(line))
    except MataError:  # some are there
        return False


def _parts(entry: str) -> list[str]:
    """An entry of several lines in parts: a question is one, but clips and commands before it are their own."""
    parts, rest = [], entry
    while rest:
        first, _, others = rest.partition("\n")
        if not (first.startswith("/") or _are_clips(first)):
            parts.append(rest)
            break
        parts.append(first.strip())
        rest = others.strip()
    return parts
