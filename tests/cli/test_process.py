"""mata-chat as a process: closed and full streams, encodings, interrupts."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from cli_fixtures import ON_THE_STAND_IN, QUESTION, TESTS

from mata_cpp.cli.options import as_utf8
from mata_cpp.cli.output import json_text


def in_shell(arguments, fake_model, clip, **options):
    """(exit status, stderr) of mata-chat on the stand-in, started by a shell."""
    words = [sys.executable, "-c", ON_THE_STAND_IN, str(TESTS), "0", "--model", str(fake_model), str(clip)]
    done = subprocess.run(
        f"{shlex.join(words)} {arguments}", shell=True, text=True, **{"stderr": subprocess.PIPE, **options}
    )
    return done.returncode, done.stdout if options else done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_standard_output_closed_or_full(fake_model, clip):
    assert in_shell("Q >&-", fake_model, clip) == (1, "error: standard output is closed\n")
    full = "error: cannot write the answer: No space left on device\n"
    assert in_shell("-q Q > /dev/full", fake_model, clip) == (1, full)
    assert in_shell("-q --json Q > /dev/full", fake_model, clip) == (1, full)
    assert in_shell("-q > /dev/full << E\nQ\nQ\nE", fake_model, clip) == (1, full)
    assert in_shell("--help > /dev/full", fake_model, clip) == (1, "error: cannot write: No space left on device\n")
    assert in_shell("-q <&-", fake_model, clip)[0] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "status", "out"),
    [
        ("Q 2> /dev/full", 0, "rain\n"),
        ("--max-tokens 2 Q 2> /dev/full", 0, "ra\n"),
        ("-v Q 2> /dev/full", 0, "rain\n"),
        ("2> /dev/full << E\nQ\n/nonsense\nQ\nE", 0, "rain\nrain\n"),
        ("none.wav 2> /dev/full", 1, ""),
        ("--nonsense 2> /dev/full", 2, ""),
        ("Q 2>&-", 0, "rain\n"),
    ],
)
def test_standard_error_full_or_closed(fake_model, clip, arguments, status, out):
    assert in_shell(arguments, fake_model, clip, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) == (status, out)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_json_in_any_encoding(fake_model, clip, monkeypatch, encoding):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    named = clip.with_name("\u00e9 \u4eac.wav")
    clip.rename(named)
    words = [sys.executable, "-c", ON_THE_STAND_IN, str(TESTS), "0", "--model", str(fake_model), str(named)]
    done = subprocess.run([*words, "-q", "--json", "Q"], stdout=subprocess.PIPE)
    text = done.stdout.decode(encoding)
    assert json.loads(text)["audio"][0]["name"] == str(named) and "?" not in text
    assert ("\\u00e9" in text) == (not encoding.startswith("utf")) and text.count("\n") == 1


def test_json_is_one_line_unless_it_is_read_by_a_person(run, clip, monkeypatch):
    assert run("--json", clip, QUESTION)[1].count("\n") == 1
    assert run("--json", "--compare", clip, QUESTION)[1].count("\n") == 1
    monkeypatch.setattr("mata_cpp.cli.output.sys.stdout", type("Terminal", (), {"isatty": lambda self: True})())
    assert json_text({"a": [1]}, pretty=True) == '{\n  "a": [\n    1\n  ]\n}'


def test_json_has_what_no_encoding_takes():
    assert json_text({"a": "\udcff\u00e9"}) == '{"a": "\\udcff\\u00e9"}'


def test_a_question_in_utf8_under_another_locale():
    assert as_utf8("Ü") == "Ü"
    assert as_utf8(os.fsdecode("Ü".encode()).encode().decode()) == "Ü"
    assert as_utf8("\udcc3\udc9c") == "Ü"
    assert as_utf8("\udcff") == "\udcff"


def test_an_interrupt_while_importing_ends_with_130():
    program = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import mata_cpp.cli.chat"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (130, b"")
