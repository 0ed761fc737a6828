"""Recording in mata-chat, with a stand-in for the microphone."""

import os
import subprocess
import sys
import time

import pytest
from cli_fixtures import QUESTION

from mata_cpp import Audio


@pytest.fixture
def recorded(monkeypatch, make_tone):
    """How long was recorded."""
    asked = []

    def record(seconds, *, on_level=None, stop=None):
        asked.append(seconds)
        return Audio((make_tone(1.0), 16000), name="<microphone>")

    from mata_cpp.audio import microphone

    monkeypatch.setattr(microphone, "check", lambda: None)
    monkeypatch.setattr(microphone, "record", record)
    return asked


def test_mic(run, recorded):
    status, out, err = run("--mic", "5", QUESTION)
    assert (status, out, recorded) == (0, "rain\n", [5.0])
    assert err.startswith("recording for 5 s\n") and "1.0 s of audio" in err


def test_mic_and_a_file(run, recorded, clip):
    status, _, err = run("--mic", "0.5", clip, QUESTION)
    assert status == 0 and "2 clips" in err


@pytest.mark.parametrize("seconds", ["0", "-1", "4000", "x"])
def test_absurd_lengths(run, recorded, seconds):
    status, out, err = run("--mic", seconds, QUESTION)
    assert (status, out, recorded) == (2, "", []) and "--mic" in err


def test_record_in_a_conversation(run, recorded, clip):
    lines = f"/record 3\n{QUESTION}\n/record\n/record x\n/exit\n"
    status, out, err = run(clip, input=lines.encode())
    assert (status, out, recorded) == (0, "rain\n", [3.0, 30.0])
    assert "error: /record takes a number of seconds, not 'x'\n" in err


def test_a_word_that_is_a_folder_is_the_question(run, recorded, tmp_path, monkeypatch):
    (tmp_path / "what").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("--mic", "1", "what")[:2] == (0, "rain\n")


def test_a_clip_beside_the_recording(run, recorded, clip):
    status, out, err = run("--mic", "1", clip, input=b"Which is louder?\n")
    assert (status, out) == (0, "rain\n") and "2 clips" in err
    assert run("--mic", "1", "none.wav") == (1, "", "error: no such file: none.wav\n")
    assert run("--mic", "1", "Is this the same as in talk.wav")[:2] == (0, "rain\n")


ON_A_TERMINAL = """
import sys, time
from mata_cpp import Audio
from mata_cpp.audio import microphone
from mata_cpp.cli.recording import record

def stand_in(seconds, *, on_level=None, stop=None):
    for tick in range(round(10 * seconds)):
        on_level(tick / 10, -20.0)
        if stop.wait(0.1):
            return "ended"
    return "whole"

microphone.check, microphone.record = lambda: None, stand_in
print(record(float(sys.argv[1])), repr(sys.stdin.readline()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("seconds", "typed", "found"),
    [("20", ["\n", "What is it?\n"], "ended 'What is it?\\n'"), ("0.5", ["What is it?\n"], "whole 'What is it?\\n'")],
)
def test_enter_ends_a_recording(seconds, typed, found):
    """And what is typed after it is the next line; the whole of it where the recording ended by itself."""
    import pty

    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", ON_A_TERMINAL, seconds]
    with subprocess.Popen(words, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True) as child:
        os.close(theirs)
        shown = b""
        while b"recording for" not in shown or shown.count(b"\r[") < 2:
            shown += os.read(ours, 4096)
        if seconds == "0.5":
            while not shown.endswith(b"\r\n") or b"#" not in shown:  # the line after the level
                shown += os.read(ours, 4096)
        for line in typed:
            os.write(ours, line.encode())
            time.sleep(0.5)
        out, _ = child.communicate(timeout=60)
    os.close(ours)
    assert b"Enter ends it" in shown and b"[####################          ]" in shown
    assert out.strip() == found


def test_without_sounddevice_nothing_is_promised(run, monkeypatch):
    """Not even "recording for 3 s"."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    message = "error: recording needs sounddevice: pip install sounddevice\n"
    assert run("--mic", "3", QUESTION) == (1, "", message)
