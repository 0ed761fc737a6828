"""A conversation in mata-chat, on the stand-in."""

import os
import re
import signal
import sys
import time
import types

import click
import pytest
from cli_fixtures import FACTS, on_a_terminal

from mata_cpp import Audio
from mata_cpp.cli.interrupts import Interrupts


def test_conversation(run, clip):
    def script(prompt, mata):
        return f"{'on' if mata else 'off'} {prompt.count('[audio')}"

    lines = [
        "First?",
        "",
        "/mata off",
        "Second?",
        f"/audio '{clip}'",
        "Third?",
        "/mata 0.5",
        "/mata",
        "/nonsense",
        "/exit",
        "X?",
    ]
    status, out, err = run(clip, input="\n".join(lines), script=script)
    assert (status, out) == (0, "on 1\noff 1\noff 2\n")
    assert err == FACTS + (
        "MATA off\n"
        "model: 1.0 s of audio, 5 audio tokens; MATA off\n"
        "MATA on (alpha 0.5, layers 10:21 of 30, mode scale)\n"
        "MATA on (alpha 0.5, layers 10:21 of 30, mode scale)\n"
        "error: no command /nonsense; /help lists them\n"
    )


def test_a_conversation_survives_bad_lines(run, clip):
    lines = ["/audio none.wav", "/audio", "/mata much", "/mata on", "/clear", "Q?", f"/audio {clip}", "Q?", "/help"]
    status, out, err = run(clip, input="\n".join(lines))
    assert (status, out) == (0, "rain\nrain\n")
    assert err.startswith(
        FACTS
        + (
            "error: no such file: none.wav\n"
            "error: /audio needs a path\n"
            "error: /mata takes on, off or a number, not 'much'\n"
            "MATA on (alpha 0.1, layers 10:21 of 30, mode scale)\n"
            "the conversation is forgotten; /audio PATH gives it a clip\n"
        )
    )
    assert "/mata on|off|ALPHA" in err


def test_a_clip_stays_pending_until_a_question_is_answered(run, clip):
    status, out, err = run(clip, input="x" * 200 + "\nQ?\n", n_ctx=200)
    assert (status, out) == (0, "rain\n")
    assert "error: the context is full" in err


def test_an_interrupt_stops_the_answer_and_keeps_the_conversation(run, clip):
    state = {"left": 2}

    def script(prompt, mata):
        return "rain" if "Again" in prompt else "a very long answer"

    def slow():
        state["left"] -= 1
        if state["left"] == -1:
            raise KeyboardInterrupt

    status, out, err = run(clip, input="Q?\nAgain?\n", script=script, slow=slow)
    assert (status, out) == (0, "a\nrain\n")
    assert err == FACTS + "(stopped)\n"


def test_more_interrupts_while_one_is_handled_are_dropped(run, clip, monkeypatch):
    """One is raised, however many come until the next line is read."""
    state = {"left": 2}

    def slow():
        state["left"] -= 1
        if state["left"] == -1:
            os.kill(os.getpid(), signal.SIGINT)

    def interrupted(*arguments, **options):
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGINT)
        click.echo(*arguments, **options)

    monkeypatch.setattr("mata_cpp.cli.repl.click", types.SimpleNamespace(echo=interrupted))
    before = signal.getsignal(signal.SIGINT)
    status, out, err = run(clip, input="Q?\nQ?\n", slow=slow, script=lambda p, mata: "a very long answer")
    assert (status, out) == (0, "a\na very long answer\n") and "(stopped)" in err
    assert signal.getsignal(signal.SIGINT) is before


def test_what_does_not_stop_is_interrupted_in_the_end():
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(100):
                os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # as ever
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_keeps_the_turn_and_its_clip(run, clip):
    """What was said is part of the conversation, and the clip is not given again."""
    state = {"left": 2}
    prompts = []

    def slow():
        state["left"] -= 1
        if state["left"] == -1:
            raise KeyboardInterrupt

    def script(prompt, mata):
        prompts.append(prompt)
        return "rain"

    assert run(clip, input="Q?\nAgain?\n", script=script, slow=slow)[0] == 0
    assert prompts[-1].count("[audio") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_bursts_of_interrupts_in_a_terminal(fake_model, clip, tmp_path, term):
    with on_a_terminal(fake_model, clip, folder=tmp_path, TERM=term) as terminal:
        terminal.until(terminal.PROMPT[term])
        for count in (2, 5, 10):
            terminal.send("Long?\n")
            terminal.until("ra")  # in the answer, and then at the prompt
            for _ in range(2):
                for _ in range(count):
                    terminal.process.send_signal(signal.SIGINT)
                    time.sleep(0.001)
                time.sleep(0.3)
            terminal.send("\n")
            time.sleep(0.1)
            terminal.send("Now?\n")
            terminal.until("rain\r\n")
        terminal.send("/exit\n")
        assert terminal.process.wait(30) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_ctrl_c_that_is_typed_twice(fake_model, clip, tmp_path):
    with on_a_terminal(fake_model, clip, folder=tmp_path) as terminal:
        terminal.until(terminal.PROMPT["xterm"])
        terminal.send("Long?\r")
        terminal.until("ra")
        terminal.send("\x03")  # the second one comes while the first is handled, or at the prompt
        time.sleep(0.01)
        terminal.send("\x03")
        terminal.until("(stopped)")
        terminal.send("Now?\r")
        terminal.until("rain\r\n")
        time.sleep(0.7)
        terminal.send("half a question\x03")
        terminal.until("(Ctrl-D or /exit leaves)")
        for _ in range(2):
            time.sleep(0.7)
            terminal.send("\x03")
        assert terminal.process.wait(30) == 0
        assert "(Ctrl-C again, Ctrl-D or /exit leaves)" in terminal.rest()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_what_is_typed_ahead_is_kept_for_the_prompt(fake_model, clip, tmp_path):
    with on_a_terminal(fake_model, clip, "-q", folder=tmp_path, pipe=True) as terminal:
        terminal.until(terminal.PROMPT["xterm"])
        terminal.send("Q1?\r")
        assert os.read(terminal.process.stdout.fileno(), 1) == b"r"  # in the answer, which goes to the pipe
        terminal.send("Q2?\r\x04")
        out, _ = terminal.process.communicate(timeout=30)
        assert (terminal.process.returncode, out) == (0, b"ain\nrain\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
@pytest.mark.parametrize("encoding", ["C", "C.UTF-8"])
def test_answers_to_a_pipe_and_the_prompt_on_the_terminal(fake_model, clip, tmp_path, encoding):
    variables = {"LC_ALL": encoding, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with on_a_terminal(fake_model, clip, "-q", folder=tmp_path, pipe=True, **variables) as terminal:
        terminal.until(terminal.PROMPT["xterm"])
        terminal.send("What is é?\r")
        out = terminal.process.stdout.readline()
        terminal.leave()
        assert (terminal.process.returncode, out + terminal.process.stdout.read()) == (0, b"rain\n")
    assert (tmp_path / "mata-cpp" / "history").read_text() == "What is é?\n"


def test_paths_as_a_terminal_writes_them(run, make_tone, make_file, tmp_path):
    path = tmp_path / "a b'(1) é%.flac"
    path.write_bytes(make_file(make_tone(), format="FLAC"))
    escaped = re.sub(r"([ '()%])", r"\\\1", str(path))
    for written in (str(path), f'"{path}"', escaped, path.as_uri(), f"file://localhost{path.as_uri()[7:]}", f" {path}"):
        for line in (f"/audio {written}", written):
            status, out, err = run(input=f"{line}\nQ?\n")
            assert (status, out) == (0, "rain\n"), line
            assert err.splitlines()[1].startswith("model: 1.0 s of audio, 5 audio tokens; ")


def test_a_file_beside_is_meant_by_its_name(run, clip, monkeypatch):
    monkeypatch.chdir(clip.parent)
    monkeypatch.setenv("HOME", str(clip.parent))
    for line in ("clip.wav", "./clip.wav", "~/clip.wav", "'clip.wav'"):
        assert run(input=f"{line}\nQ?\n")[:2] == (0, "rain\n")


@pytest.mark.parametrize(
    "line", ["none.wav", "Is it clip.wav", "model.gguf", "/model.gguf", "/audio file://host/clip.wav"]
)
def test_what_is_no_clip_is_a_question_or_a_command(run, clip, monkeypatch, line):
    monkeypatch.chdir(clip.parent)
    status, out, err = run(clip, input=f"{line}\n")
    answered = not line.startswith("/")
    assert (status, out, "error: " in err) == (0, "rain\n" if answered else "", not answered)


def test_conversation_without_files(run, clip):
    status, out, err = run(input=f"/audio {clip}\nQ?\n")
    assert (status, out) == (0, "rain\n")
    assert err.splitlines()[0] == "model: no audio yet; MATA on (alpha 0.1, layers 10:21 of 30, mode scale)"


def test_named_clip(clip):
    assert Audio(str(clip)).name == str(clip)


def test_a_conversation_survives_whatever_a_turn_raises(run, clip):
    def script(prompt, mata):
        if "Break" in prompt and "Again" not in prompt:
            raise RuntimeError("two\nlines")
        return "rain"

    status, out, err = run(clip, input="/audio ~nouser/x.wav\nBreak?\nAgain?\n", script=script)
    assert (status, out) == (0, "rain\n")
    assert err == FACTS + "error: no such file: ~nouser/x.wav\nerror: unexpected RuntimeError: two lines\n"
