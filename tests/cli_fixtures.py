"""mata-chat on the stand-in."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from mata_cpp import ModelError
from mata_cpp.cli.chat import cli

FACTS = "model: 1.0 s of audio, 5 audio tokens; MATA on (alpha 0.1, layers 10:21 of 30, mode scale)\n"
EFFECT = "MATA: attention to the audio in layers "
QUESTION = "What sound is this?"
LOUD = "loud rain on a tin roof and thunder"
TESTS = Path(__file__).parent
ON_THE_STAND_IN = """
import sys, time
sys.path[:0] = sys.argv.pop(1).split(":")
delay = float(sys.argv.pop(1))
import chat_fixtures, mata_cpp
core = mata_cpp._core = sys.modules["mata_cpp._core"] = chat_fixtures._load_fake()
if delay:
    core.OPTIONS["slow"] = lambda: time.sleep(delay)
from mata_cpp.cli.chat import main
main()
"""
"""A program: the folder of the tests, seconds that each step takes, and the words of mata-chat."""


@pytest.fixture
def run(fake, fake_model, monkeypatch):
    """run(*arguments, input=None, **engine options) -> (exit status, stdout, stderr).

    effect: with the line that tells what MATA did, whose numbers depend on every word of the prompt.
    """
    monkeypatch.setenv("COLUMNS", "60")

    def call(*arguments, input=None, model=True, effect=False, **options):
        fake.OPTIONS.update(options)
        words = [*(["--model", str(fake_model)] if model else []), *map(str, arguments)]
        result = CliRunner().invoke(cli, words, input=input, prog_name="mata-chat")
        told = [line for line in result.stderr.splitlines(keepends=True) if effect or not line.startswith(EFFECT)]
        return result.exit_code, result.stdout, "".join(told)

    return call


class OnATerminal:
    """mata-chat on the stand-in, each step of which takes 20 ms, with a terminal of its own."""

    PROMPT = {"dumb": "> ", "xterm": "\x1b[?12l"}
    """What ends a prompt."""

    def __init__(self, process, terminal):
        self.process, self._terminal = process, terminal

    def send(self, keys):
        os.write(self._terminal, keys.encode())

    def until(self, text):
        """Wait for this text on the screen."""
        import select

        seen, deadline = b"", time.monotonic() + 20
        while text.encode() not in seen:
            assert select.select([self._terminal], [], [], max(0, deadline - time.monotonic()))[0], seen
            data = self._read()
            assert data, seen
            seen += data

    def leave(self):
        """Ctrl-D, as soon as there is a prompt."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.send("\x04")
            time.sleep(0.1)

    def rest(self):
        """All that is still to come, once the process has ended."""
        return b"".join(iter(self._read, b"")).decode()

    def _read(self):
        try:
            return os.read(self._terminal, 4096)
        except OSError:  # how a terminal ends
            return b""


@contextlib.contextmanager
def on_a_terminal(model, *words, folder, pipe=False, **variables):
    """Yields an OnATerminal.  folder: of its history.  pipe: standard output is one."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    surroundings = {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder), "TERM": "xterm", **variables}
    surroundings.pop("MATA_CPP_NO_HISTORY", None)
    command = [sys.executable, "-c", ON_THE_STAND_IN, str(TESTS), "0.02", "--model", str(model), *map(str, words)]
    out = subprocess.PIPE if pipe else theirs
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=out,
        stderr=theirs,
        env=surroundings,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # else Ctrl-C is a character as any other
    ) as process:
        try:
            os.close(theirs)
            yield OnATerminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


def or_skipped(make):
    """What make() gives, the default model's; the test is skipped where that cannot be fetched."""
    try:
        return make()
    except ModelError as error:
        if "cannot fetch" in str(error) or "MATA_CPP_OFFLINE" in str(error):
            pytest.skip(str(error))
        raise
