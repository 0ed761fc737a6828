"""A click command whose failures are one line and an exit status that scripts can use."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO, cast

import click

from ..errors import MataError
from . import colour, spinner
from .wrapping import fitted

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
EPILOG = "Exit status: 0, 1 for a failure, 2 for a wrong usage, 130 for an interrupt."
CONTEXT = {"help_option_names": ["-h", "--help"]}


class OutputError(MataError):
    """Standard output is closed or full."""


class _OneLine(click.Command):
    """Exit status 0, 1 for a failure, 2 for a wrong usage, 130 for an interrupt."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **options: Any
    ) -> NoReturn:
        options["standalone_mode"] = False
        status = FAILURE
        with warnings.catch_warnings():
            warnings.simplefilter("always", RuntimeWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            try:
                if sys.stdout is None:
                    raise OutputError("standard output is closed")
                status = int(super().main(args, prog_name, **options) or 0)
                _flush()
            except click.UsageError as error:
                usage = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
                status = fail(error.format_message().rstrip(".") + usage, USAGE)
            except click.ClickException as error:
                status = fail(error.format_message())
            except (click.Abort, KeyboardInterrupt):
                status = INTERRUPTED
            except BrokenPipeError:
                sys.stderr = _drop_output()
            except OutputError as error:
                status = fail(error)
                _drop_output()
            except MataError as error:
                status = fail(error)
            except ValueError as error:
                status = fail(error, USAGE)
            except MemoryError:
                status = fail("out of memory")
            except Exception as error:
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # --help into a full disk
                    status = fail(f"cannot write: {error.strerror}")
                    _drop_output()
                else:
                    if "-v" in (args or sys.argv) or "--verbose" in (args or sys.argv):
                        traceback.print_exc()
                    status = fail(f"unexpected {type(error).__name__}: {error} (-v shows where)")
        sys.exit(status)


class OneLineCommand(_OneLine):
    """A command whose failures are one line."""


class OneLineGroup(_OneLine, click.Group):
    """A group of commands whose failures are one line."""


def prepare_streams() -> None:
    """Make the standard streams take whatever comes."""
    for file in (sys.stdout, sys.stderr):
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="replace")  # a terminal that cannot show a character shows a mark
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # see options.as_utf8
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - keeps files that are opened later off descriptor 2
    sys.stderr = cast(TextIO, _Unfailing(sys.stderr))


class _Unfailing:
    """Standard error that takes everything: where it is full, an answer still comes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def fail(message: object, status: int = FAILURE) -> int:
    """Print the one line of a failure; the status to end with."""
    line = fitted(f"error: {' '.join(str(message).split())}", sys.stderr)
    with spinner.cleared():
        click.echo(line.replace("error:", colour.paint("error:", colour.ERROR, sys.stderr), 1), err=True)
    return status


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror or error}") from None


def _drop_output() -> TextIO:
    """Nothing more is written to standard output, not even at the exit."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives until the exit
    return sys.stdout


def _show_warning(message: Any, category: Any, *rest: Any) -> None:
    with spinner.cleared():
        click.echo(fitted(f"warning: {' '.join(str(message).split())}", sys.stderr), err=True)
