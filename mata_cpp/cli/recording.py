"""Recording on a terminal: the level while it runs, Enter to end it."""

from __future__ import annotations

import math
import select
import sys
import threading
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..audio import Audio

WIDTH = 30
"""Of the level, in characters."""

QUIETEST_DB = -60.0
"""Where the level begins."""


def record(seconds: float, *, quiet: bool = False) -> Audio:
    """Record, with the level on standard error where that is a terminal; Enter ends it.  Raises AudioError."""
    from ..audio import microphone

    microphone.check()
    stop, ended = threading.Event(), threading.Event()
    terminal = sys.stderr.isatty() and not quiet
    if not quiet:
        click.echo(f"recording for {seconds:g} s{'; Enter ends it' if _waits_for_enter() else ''}", err=True)
    if _waits_for_enter():
        threading.Thread(target=_wait_for_enter, args=(stop, ended), daemon=True).start()
    try:
        return microphone.record(seconds, on_level=_show if terminal else None, stop=stop)
    finally:
        ended.set()
        if terminal:
            click.echo(err=True)


def _show(seconds: float, decibels: float) -> None:
    share = 0.0 if decibels == -math.inf else max(0.0, min(1.0, 1 - decibels / QUIETEST_DB))
    bar = ("#" * round(share * WIDTH)).ljust(WIDTH)
    click.echo(f"\r[{bar}] {seconds:4.1f} s", err=True, nl=False)


def _waits_for_enter() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.platform != "win32"  # no select() on a console there


def _wait_for_enter(stop: threading.Event, ended: threading.Event) -> None:
    """Takes the line only once there is one: a recording that ends by itself leaves the next line alone."""
    while not ended.is_set():
        if select.select([sys.stdin], [], [], 0.1)[0] and not ended.is_set():
            sys.stdin.readline()
            stop.set()
            return
