"""mata-chat on the stand-in."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mata_cpp.cli.chat import cli

FACTS = "model: 1.0 s of audio, 5 audio tokens; MATA on (alpha 0.1, layers 10:21 of 30, mode scale)\n"
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
    """run(*arguments, input=None, **engine options) -> (exit status, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "60")

    def call(*arguments, input=None, model=True, **options):
        fake.OPTIONS.update(options)
        words = [*(["--model", str(fake_model)] if model else []), *map(str, arguments)]
        result = CliRunner().invoke(cli, words, input=input, prog_name="mata-chat")
        return result.exit_code, result.stdout, result.stderr

    return call
