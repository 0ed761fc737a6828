"""What type checkers find: wrong arguments, and nothing in the package itself."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WRONG = """\
from mata_cpp import AudioChat, AudioModel, Mata, Sampling

model = AudioModel()
chat: AudioChat = model.chat()
chat.ask(12)
chat.ask("a.wav", "q", max_tokenz=5)
chat.ask("a.wav", "q", max_tokens="five")
chat.choose("p", "q", "a|b")
chat.choose("p", "q", ["a", "b"], contrast="yes")
model.ask("a.wav")
model.stream("a.wav", "q", sampling=0.5)
model.compare("a.wav", "q", mata=0.1)
model.ask_many([("a.wav", "q", {"max_tokenz": 5})])
Sampling(temperature="hot")
Mata(alpha="0.1")
"""
FIRST_WRONG = 5
"""The number of the first line of WRONG that is wrong; so are all after it."""

RIGHT = """\
from io import BytesIO
from pathlib import Path
from typing import assert_type

import numpy as np

from mata_cpp import Answer, Audio, AudioChat, AudioModel, Cancel, Choice, EncodedClip, Mata, Piece, Sampling

with AudioModel("tiny", n_ctx=8192, mata=None) as model:
    answer = model.ask("a.wav", "q", max_tokens=5, stop="x", logprobs=2, mata=Mata(0.2), cancel=Cancel())
    assert_type(answer, Answer)
    model.ask([Path("a.wav"), b"", BytesIO(), (np.zeros(9, np.float32), 16000), Audio("a.wav")], "q")
    model.ask(model.encode("a.wav"), "q", sampling=Sampling(top_k=3), json_schema={"type": "object"})
    for answer in model.ask_many([("a.wav", "q"), ("a.wav", "q", {"max_tokens": 5})], parallel=2):
        print(answer.text)
    chat = model.chat(system="Short.", mata=None)
    assert_type(chat, AudioChat)
    chat.ask("a.wav", "q")
    chat.ask("And?")
    for piece in chat.stream(None, "q"):
        assert_type(piece, Piece)
    assert_type(chat.choose("a.wav", "q", ("a", "b"), letters=True), Choice)
    assert_type(model.encode("a.wav"), list[EncodedClip])
"""


def found(tmp_path, program):
    """The lines of a program that mypy --strict finds fault with, and all that it says."""
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11", "--no-error-summary"]
    done = subprocess.run(
        [*command, "--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path / "cache", "program.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    errors = [line for line in done.stdout.splitlines() if line.startswith("program.py:") and ": error:" in line]
    return {int(line.split(":")[1]) for line in errors}, done.stdout + done.stderr


@pytest.mark.slow
def test_wrong_arguments_are_found(tmp_path):
    lines, said = found(tmp_path, WRONG)
    assert lines == set(range(FIRST_WRONG, len(WRONG.splitlines()) + 1)), said


@pytest.mark.slow
def test_right_arguments_are_not(tmp_path):
    lines, said = found(tmp_path, RIGHT)
    assert lines == set(), said


@pytest.mark.slow
def test_the_package_itself(tmp_path):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "mata_cpp"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
