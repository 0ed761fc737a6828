"""What is shown on a terminal only: completion, the editor, the spinner, colour, lines broken between words."""

import io
import re
import sys
import time
import types

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from mata_cpp.cli import colour, history, spinner
from mata_cpp.cli.completion import candidates
from mata_cpp.cli.editing import Editor
from mata_cpp.cli.paths import escaped, new_path, split_words, typed_path, typed_paths
from mata_cpp.cli.quotes import is_open, unquoted
from mata_cpp.cli.wrapping import Flow, fitted


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """Standard error as a terminal."""
    terminal = Terminal()
    monkeypatch.setattr(spinner, "sys", types.SimpleNamespace(stderr=terminal))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


# Completion --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with sounds, which is the current one."""
    for name in ("bark.wav", "my sound (1).flac", "notes.txt", "talk.json", ".hidden.wav", "-x.mp3"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "more sounds").mkdir()
    (tmp_path / "more sounds" / "sea's.wav").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def completed(line):
    """What a line may become."""
    return [line[: len(line) - one.n_before] + one.text for one in candidates(line)]


def test_commands_are_completed():
    assert completed("/s") == ["/set ", "/show", "/save "]
    assert completed("/audi") == ["/audio "] and completed("/nonsense") == []
    assert completed("What") == [] and completed("/show ") == []


def test_settings_are_completed():
    assert completed("/set temp") == ["/set temperature "]
    assert completed("/set mode ") == ["/set mode scale", "/set mode abs", "/set mode add"]
    assert completed("/mata o") == ["/mata on", "/mata off"]
    assert completed("/focus ") == ["/focus off"] and completed("/set temperature ") == []


def test_paths_are_completed(folder):
    assert completed("/audio ") == [
        "/audio -x.mp3",
        "/audio bark.wav",
        "/audio more\\ sounds/",
        "/audio my\\ sound\\ \\(1\\).flac",
    ]
    assert completed("/audio b") == ["/audio bark.wav"]
    assert completed("/audio bark.wav more\\ s") == ["/audio bark.wav more\\ sounds/"]
    assert completed("/audio more\\ sounds/") == ["/audio more\\ sounds/sea\\'s.wav"]
    assert completed('/audio "more s') == ['/audio "more sounds/']
    assert completed('/audio "my') == ['/audio "my sound (1).flac"']
    assert completed("/audio ~/ba") == ["/audio ~/bark.wav"]
    assert completed("/audio .h") == ["/audio .hidden.wav"]
    assert completed("/load ") == ["/load more\\ sounds/", "/load talk.json"]
    assert completed("/audio none/") == [] and completed("/audio \0/") == []


def test_a_path_alone_is_completed(folder):
    assert completed("./ba") == ["./bark.wav"] and completed("~/ba") == ["~/bark.wav"]
    assert completed(f"{folder}/ba") == [f"{folder}/bark.wav"]
    assert completed("Is it ./ba") == ["Is it ./bark.wav"] and completed("ba") == []


# Paths -------------------------------------------------------------------------------------------


def test_what_is_completed_is_read_back(folder):
    for name in ("my sound (1).flac", "more sounds/sea's.wav"):
        assert typed_path(escaped(name)) == name
        assert typed_paths(f"{escaped(name)} bark.wav") == [name, "bark.wav"]


def test_a_file_that_is_not_there_yet(folder):
    for written in ("more\\ sounds/a.json", "'more sounds/a.json'", '"more sounds/a.json"', "more sounds/a.json"):
        assert new_path(written) == "more sounds/a.json"
    assert new_path("~/a.json") == f"{folder}/a.json" and new_path("talk.json") == "talk.json"


def test_words_of_a_line():
    assert split_words("a b") == ["a", "b"] and split_words("") == []
    assert split_words(r"""a\ b 'c d' "e f" g'h i'""") == [r"a\ b", "'c d'", '"e f"', "g'h i'"]
    assert split_words("What's that?") == ["What's", "that?"]


@pytest.mark.parametrize("text", ["file://[x", "\0", "file:", "~\0", "'", '"""', "\\"])
def test_strange_paths_are_no_files(text):
    assert typed_paths(text) == [typed_path(text)]


# The editor --------------------------------------------------------------------------------------


@pytest.fixture
def typed(tmp_path):
    """typed(keys) -> the entries of an editor that gets these keys, up to Ctrl-D."""

    def call(keys, file=None):
        entries = []
        with create_pipe_input() as pipe:
            pipe.send_text(keys + "\x04")
            editor = Editor(file, keys=pipe, screen=DummyOutput())
            while True:
                try:
                    entries.append(editor.read())
                except KeyboardInterrupt:
                    entries.append(f"^C {editor.was_empty}")
                except EOFError:
                    return entries

    return call


def test_lines(typed):
    assert typed("What is it?\rAnd é 京?\r") == ["What is it?", "And é 京?"]


def test_several_lines(typed):
    assert typed("one\x1b\rtwo\r") == ["one\ntwo"]
    assert typed('"""one\rtwo\r"""\rthree\r') == ["one\ntwo", "three"]
    assert typed('"""one"""\r') == ["one"]
    assert typed("\x1b[200~one\ntwo\x1b[201~\r") == ["one\ntwo"]


def test_tab(typed, folder):
    assert typed("/aud\tb\t\r") == ["/audio bark.wav"]


def test_interrupts_of_a_line(typed):
    assert typed("abc\x03\x03\x03what?\r") == ["^C False", "^C True", "^C True", "what?"]


def test_questions_are_kept(typed, tmp_path):
    file = tmp_path / "state" / "history"
    typed('first?\r"""two\rlines"""\r', file)
    assert typed("\x1b[A\r", file) == ["two\nlines"]
    assert typed("\x1b[A\x1b[A\x1b[A\x1b[A\r", file)[0] == "first?"
    if sys.platform != "win32":
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_history_that_cannot_be_kept(typed, tmp_path):
    (tmp_path / "file").write_text("")
    assert typed("a?\r", tmp_path / "file" / "history") == ["a?"]


def test_quotes():
    assert is_open('"""') and is_open('"""a') and is_open(' """a\n') and is_open('"""""')
    assert not is_open("") and not is_open('a """') and not is_open('"""a"""') and not is_open('""""""')
    assert unquoted('"""\na\n"""') == "a" and unquoted("a") == "a" and unquoted('"""a') == "a"


def test_the_history_is_cut(tmp_path):
    file = tmp_path / "history"
    file.write_text("".join(f"{number}\n" for number in range(5000)))
    assert history.load(file)[0] == "4000" and len(history.load(file)) == history.KEPT
    assert file.read_text().count("\n") == history.KEPT and [path.name for path in tmp_path.iterdir()] == ["history"]


def test_the_history_takes_any_text(tmp_path):
    file = tmp_path / "history"
    for entry in ("\udcff", "a\n\nb", "é"):
        history.append(file, entry)
    assert history.load(file) == ["\udcff", "a\n\nb", "é"]
    file.write_bytes(b"\tlost\n\n\xff\n")
    assert history.load(file) == ["\tlost", "\udcff"] and history.load(tmp_path / "none") == []


# The spinner -------------------------------------------------------------------------------------


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_spinner_is_taken_away_before_anything_is_printed(screen, monkeypatch):
    monkeypatch.setattr(spinner, "DELAY_S", 0.0)
    with spinner.showing("thinking"):
        until(lambda: "thinking" in screen.getvalue())
        with spinner.cleared():
            screen.write("warning\n")
            assert screen.getvalue().endswith(f"thinking\x1b[0m{spinner.ERASE}warning\n")
    assert not screen.getvalue().endswith("thinking")
    shown = screen.getvalue()
    time.sleep(0.15)
    assert screen.getvalue() == shown
    assert re.sub(r"\x1b\[[0-9;]*[mK]|\r", "", shown).startswith("⠋ thinking")


def test_quick_work_shows_no_spinner(screen):
    with spinner.showing("thinking"):
        pass
    assert screen.getvalue() == ""


@pytest.mark.parametrize("off", ["quiet", "dumb", "pipe"])
def test_no_spinner(screen, monkeypatch, off):
    monkeypatch.setattr(spinner, "DELAY_S", 0.0)
    if off == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif off == "pipe":
        monkeypatch.setattr(screen, "isatty", lambda: False, raising=False)
    with spinner.showing("thinking", quiet=off == "quiet"):
        time.sleep(0.1)
    with spinner.loading("tiny", quiet=off == "quiet") as progress:
        assert progress is None
    assert screen.getvalue() == ""


def test_loading_tells_how_far_it_is(screen, monkeypatch):
    monkeypatch.setattr(spinner, "DELAY_S", 0.0)
    with spinner.loading("tiny") as progress:
        progress(0.42)
        until(lambda: "loading tiny 42 %" in screen.getvalue())


def test_a_terminal_without_unicode(screen, monkeypatch):
    monkeypatch.setattr(spinner, "DELAY_S", 0.0)
    monkeypatch.setattr(screen, "encoding", "ascii", raising=False)
    with spinner.showing("thinking"):
        until(lambda: "| thinking" in screen.getvalue())


# Colour and width --------------------------------------------------------------------------------


def test_colour(screen, monkeypatch):
    assert colour.paint("error:", colour.ERROR, screen) == "\x1b[31merror:\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour.paint("error:", colour.ERROR, screen) == "error:"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert colour.paint("error:", colour.ERROR, screen) == "error:"
    assert colour.paint("error:", colour.ERROR, io.StringIO()) == "error:"
    closed = Terminal()
    closed.close()
    assert not colour.is_smart(closed) and not colour.is_smart(None)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("loud rain on a tin roof", ["loud rain", "on a tin", "roof"]),
        ("a\n\n  b c\n", ["a", "", "  b c", ""]),
        ("incomprehensibilities", ["incomprehe", "nsibilitie", "s"]),
        ("1234567890 x", ["1234567890", "x"]),
        ("雨が降っている音", ["雨が降って", "いる音"]),
        ("", [""]),
        ("a ", ["a "]),
    ],
)
def test_words_are_not_cut(text, lines, size):
    flow = Flow(10)
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    assert ("".join(map(flow.feed, pieces)) + flow.rest()).split("\n") == lines


def test_lines_are_fitted_to_a_terminal_only(screen, monkeypatch):
    line = "error: " + "word " * 10
    assert fitted(line, io.StringIO()) == line
    monkeypatch.setattr("mata_cpp.cli.wrapping.columns_of", lambda stream: 20)
    assert fitted(line, screen).split("\n")[:2] == ["error: word word", "  word word word"]
    assert max(map(len, fitted(line, screen).split("\n"))) <= 20
