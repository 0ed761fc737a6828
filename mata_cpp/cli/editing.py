"""Lines of a terminal, typed with an editor: history, completion, more than one line.  Imports prompt_toolkit."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style

from . import history
from .completion import candidates
from .quotes import CONTINUATION, PROMPT, is_open, unquoted

if TYPE_CHECKING:
    from prompt_toolkit.input import Input


class Editor:
    """Reads one entry after another, which has several lines if they were pasted, quoted, or typed with Alt-Enter.

    file: of the history; None keeps none beyond this conversation.  keys, screen: the terminal's unless given.
    """

    def __init__(self, file: Path | None, *, keys: Input | None = None, screen: Output | None = None) -> None:
        self._session: PromptSession[str] = PromptSession(
            message=[("class:prompt", PROMPT)],
            style=Style.from_dict({} if os.environ.get("NO_COLOR") else {"prompt": "bold"}),
            prompt_continuation=lambda width, number, wrapped: CONTINUATION,
            history=InMemoryHistory() if file is None else _FileHistory(file),
            completer=_Completer(),
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            key_bindings=_keys(),
            enable_suspend=True,
            input=keys,
            output=_screen() if screen is None else screen,
        )

    def read(self) -> str:
        """The next entry.  Raises KeyboardInterrupt, EOFError."""
        return unquoted(self._session.prompt(handle_sigint=False))

    def interrupt(self) -> None:
        """As if Ctrl-C was typed; for a signal handler."""
        app = self._session.app
        loop = app.loop
        if loop is not None and app.is_running and not app.is_done:
            with contextlib.suppress(RuntimeError):  # the loop was closed just now
                loop.call_soon_threadsafe(app.key_processor.send_sigint)

    @property
    def was_empty(self) -> bool:
        """Whether nothing had been typed when read() ended."""
        return not self._session.default_buffer.text


class _Completer(Completer):
    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        for one in candidates(document.text_before_cursor):
            yield Completion(one.text, start_position=-one.n_before, display=one.shown)


class _FileHistory(History):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        """Latest first, as the base class wants them."""
        return reversed(history.load(self._file))

    def store_string(self, string: str) -> None:
        history.append(self._file, string)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    quoted: Callable[[], bool] = _is_in_quotes
    keys.add("escape", "enter")(new_line)
    keys.add("enter", filter=Condition(quoted))(new_line)
    return keys


def _is_in_quotes() -> bool:
    from prompt_toolkit.application import get_app

    return is_open(get_app().current_buffer.text)


def _screen() -> Output:
    """Standard output, or standard error where the answers go to a pipe."""
    stream: Any = sys.stdout if sys.stdout.isatty() else sys.stderr
    if sys.platform == "win32":
        return create_output(stdout=stream)
    from prompt_toolkit.output.vt100 import Vt100_Output

    def size() -> Size:
        try:
            columns, rows = os.get_terminal_size(stream.fileno())
        except OSError:
            columns, rows = 0, 0
        return Size(rows=rows or 24, columns=columns or 80)

    # Nothing here needs to know where the cursor is, and terminals that do not answer would get a warning.
    return Vt100_Output(stream, size, term=os.environ.get("TERM"), enable_cpr=False)
