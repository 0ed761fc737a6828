"""The lines of a conversation, from a terminal or from a pipe, and what Ctrl-C and Ctrl-D do between them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import click

from ..errors import MataError
from . import history, keyboard
from .interrupts import Interrupts
from .quotes import CONTINUATION, PROMPT, is_open, unquoted

BURST_S = 0.5
"""Interrupts that follow each other sooner are one: who hammers on Ctrl-C to stop an answer does not leave by it."""


class Prompt:
    """Entries to answer, as an iterator.  keeps_history: whether they are kept for later conversations."""

    def __init__(self, interrupts: Interrupts, *, keeps_history: bool) -> None:
        if sys.stdin is None:
            raise MataError("standard input is closed: give a question, or open it for a conversation")
        self._interrupts = interrupts
        self._keeps_history = keeps_history and not history.is_off()
        self._interrupted_at = -BURST_S

    @property
    def is_terminal(self) -> bool:
        """Whether somebody types."""
        return sys.stdin.isatty()

    def note_interrupt(self) -> None:
        """An answer was stopped just now."""
        self._interrupted_at = time.monotonic()

    def __iter__(self) -> Iterator[str]:
        if not self.is_terminal:
            return self._piped()
        if keyboard.can_edit():
            return self._edited()
        return self._typed()

    def _piped(self) -> Iterator[str]:
        while True:
            with self._interrupts.allowed():
                line = sys.stdin.readline()
            if not line:
                return
            yield line

    def _typed(self) -> Iterator[str]:
        """On a terminal that can do no more than print."""
        entry = ""
        while True:
            prompt = CONTINUATION if entry else PROMPT
            try:
                with self._interrupts.allowed():
                    if not sys.stdout.isatty():  # only answers go to a pipe
                        click.echo(prompt, err=True, nl=False)
                    entry += input(prompt if sys.stdout.isatty() else "")
            except KeyboardInterrupt:
                entry = ""
                click.echo("\n(Ctrl-D or /exit leaves)", err=True)
                continue
            except EOFError:
                click.echo(err=True)
                return
            if is_open(entry):
                entry += "\n"
                continue
            yield unquoted(entry)
            entry = ""

    def _edited(self) -> Iterator[str]:
        from .editing import Editor

        editor = Editor(history.path() if self._keeps_history else None)
        warned = False
        while True:
            try:
                with self._interrupts.handed_to(editor.interrupt):
                    entry = editor.read()
            except KeyboardInterrupt:
                now = time.monotonic()
                alone = now - self._interrupted_at > BURST_S
                self._interrupted_at = now
                if warned and alone and editor.was_empty:
                    return
                warned = editor.was_empty
                click.echo(f"({'Ctrl-C again, ' if warned else ''}Ctrl-D or /exit leaves)", err=True)
                continue
            except EOFError:
                return
            warned = False
            yield entry
