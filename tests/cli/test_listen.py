"""mata-listen on the stand-in: exact output, exact exit status, and pictures that have what they should."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from mata_cpp.cli import chat
from mata_cpp.cli.listen import cli

FACTS = "model: 1.0 s of audio, 5 audio tokens; MATA on (alpha 0.1, layers 10:21 of 30, mode scale)\n"
QUESTION = "What sound is this?"


@pytest.fixture
def run(fake, fake_model, monkeypatch, tmp_path):
    """run(*arguments, input=None, **engine options) -> (exit status, stdout, stderr), in a folder of its own."""
    monkeypatch.setenv("COLUMNS", "60")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*arguments, input=None, **options):
        fake.OPTIONS.update(options)
        words = ["--model", str(fake_model), *map(str, arguments)]
        result = CliRunner().invoke(cli, words, input=input, prog_name="mata-listen")
        return result.exit_code, result.stdout, result.stderr

    call.here = here
    return call


@pytest.fixture
def plot():
    return pytest.importorskip("matplotlib")


def written(run):
    return sorted(path.name for path in run.here.iterdir())


# One answer ------------------------------------------------------------------------------------


def test_a_picture(run, plot, clip):
    assert run(clip, QUESTION) == (0, "rain\n", FACTS + "wrote clip.listen.png\n")
    assert (run.here / "clip.listen.png").read_bytes().startswith(b"\x89PNG")
    assert run("-q", clip, QUESTION, "-o", "a.svg") == (0, "rain\n", "")
    svg = (run.here / "a.svg").read_text()
    for words in (
        "What sound is this?",
        "clip.wav, 1.0 s",
        "MATA on: where the model listened for each token",
        "even spread",
    ):
        assert f">{words}<" in svg
    assert written(run) == ["a.svg", "clip.listen.png"]


def test_tokens_are_written_so_that_they_can_be_read(run, plot, clip):
    script = ["Donau", "dampf", "<b>$x$"]
    answer = "a " + "".join(script) + "\n\u6771\u4eac \u0000"
    status, _, _ = run(clip, QUESTION, "-o", "a.svg", script=lambda p, m: answer)
    svg = (run.here / "a.svg").read_text()
    assert status == 0 and "&lt;" in svg and ">-o<" in svg and ">\u21b5<" in svg


def test_json(run, clip):
    status, out, err = run("--json", clip, QUESTION)
    record = json.loads(out)
    assert (status, err, written(run)) == (0, FACTS, [])
    assert list(record) == [
        *(
            "question",
            "answer",
            "model",
            "finish_reason",
            "confidence",
            "audio",
            "mata",
            "mata_effect",
            "usage",
            "timings",
            "attention",
            "without",
        ),
    ]
    attention = record["attention"]
    assert attention["tokens"] == list("rain") and len(attention["clips"][0]["after"]) == 4
    assert np.sum(attention["after"], axis=-1) == pytest.approx(1, abs=1e-5)
    assert record["without"]["attention"]["boosted"] == []
    plain = json.loads(run("--json", "--no-mata", clip, QUESTION)[1])
    assert plain["mata"] is None and "without" not in plain


def test_numbers_in_a_file(run, clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("-q", "--json", "-o", "a.npz", clip, QUESTION)[0] == 0
    with np.load(run.here / "a.npz") as data:
        assert data["after"].shape == (4, 30, 5)


def test_compare(run, plot, clip):
    status, out, err = run("--compare", "-o", "a.svg", clip, QUESTION, script=lambda p, m: "loud" if m else "soft")
    lines = [[cell.strip() for cell in line.split("|")] for line in out.splitlines()]
    assert status == 0 and lines[0] == ["with MATA (alpha 0.1)", "without"] and lines[-1] == ["loud", "soft"]
    svg = (run.here / "a.svg").read_text()
    assert ">MATA off: soft<" in svg and ">MATA on: loud<" in svg
    assert ">MATA off: where the model listened for each token<" in svg


@pytest.mark.parametrize("script", ["", "x" * 70, "word " * 60])
def test_answers_of_any_length(run, plot, clip, script):
    status, _, err = run(clip, QUESTION, "--max-tokens", "200", "-o", "a.png", script=lambda p, m: script)
    assert status == 0 and "wrote a.png" in err


def test_two_clips_and_standard_input(run, plot, clip, tmp_path, make_tone, make_file):
    other = tmp_path / "other.wav"
    other.write_bytes(make_file(make_tone(2.0)))
    status, out, err = run(clip, other, QUESTION, "-o", "a.svg", "--focus", "0.2:0.7")
    svg = (run.here / "a.svg").read_text()
    assert status == 0 and ">clip.wav, 1.0 s<" in svg and ">other.wav, 2.0 s<" in svg
    assert run("-", QUESTION, input=clip.read_bytes())[2].endswith("wrote stdin.listen.png\n")
    status, out, err = run(*[clip] * 7, QUESTION)
    assert (status, err.splitlines()[-1]) == (2, "error: a picture has room for 6 clips, not 7")


@pytest.fixture
def figures(monkeypatch, plot):
    """The figures that are written, as matplotlib has them."""
    from matplotlib.figure import Figure

    kept, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: kept.append(self) or save(self, *a, **k))
    return kept


def overlapping(figure, monkeypatch):
    """Pairs of texts that are written over each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    boxes, draw = [], Text.draw

    def drawn(self, renderer):
        if self.get_text().strip() and self.get_visible():
            boxes.append((self.get_text(), self.get_window_extent(renderer).padded(-1)))
        draw(self, renderer)

    monkeypatch.setattr(Text, "draw", drawn)
    FigureCanvasAgg(figure).draw()
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[i + 1 :] if one.overlaps(other)]


@pytest.mark.parametrize(("count", "name"), [(1, "W" * 99), (4, "clip"), (5, "clip"), (6, "W" * 24)])
def test_labels_do_not_overlap(run, figures, tmp_path, make_tone, make_file, monkeypatch, count, name):
    clips = [tmp_path / f"{name}{i}.wav" for i in range(count)]
    for i, path in enumerate(clips):
        path.write_bytes(make_file(make_tone((1.0, 6.0, 0.4)[i % 3], 8000), 8000))
    script = lambda p, mata: "rain" if mata else "a dog"  # noqa: E731
    assert run(*clips, QUESTION, "--compare", "-o", "a.svg", script=script)[0] == 0
    assert overlapping(figures[0], monkeypatch) == []


def test_the_line_with_mata_off_says_whose_answer_it_is(run, figures, clip):
    def lines(script):
        figures.clear()
        run(clip, QUESTION, "--max-tokens", "4", script=script)
        return [text.get_text() for text in figures[0].axes[-1].get_legend().get_texts()][:2]

    assert lines(lambda p, mata: "rain") == ["MATA off", "MATA on"]
    assert lines(lambda p, mata: "rain" if mata else "snow") == ["off: another answer", "MATA on"]


def test_the_users_settings_of_matplotlib_change_nothing(run, plot, clip):
    assert run(clip, QUESTION, "-o", "plain.png")[0] == 0
    with plot.rc_context({"text.usetex": True, "savefig.bbox": "tight", "font.size": 40, "axes.grid": True}):
        assert run(clip, QUESTION, "-o", "odd.png")[0] == 0
        assert plot.rcParams["font.size"] == 40
    assert (run.here / "odd.png").read_bytes() == (run.here / "plain.png").read_bytes()


@pytest.mark.parametrize("name", ["module://matplotlib_inline.nothing", "nonsense", "Agg"])
def test_the_backend_of_the_surroundings_is_not_needed(plot, monkeypatch, name):
    """A notebook sets MPLBACKEND for its commands, whether or not they have what it names."""
    program = (
        "import os; from mata_cpp.pictures.style import matplotlib; found = matplotlib()\n"
        "assert os.environ['MPLBACKEND'] == " + repr(name) + "\n"
        "print(found.rcParams['backend'] if os.environ['MPLBACKEND'] == 'Agg' else found.figure.Figure.__name__)"
    )
    monkeypatch.setenv("MPLBACKEND", name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stderr, done.stdout.strip().lower()) == ("", "agg" if name == "Agg" else "figure")


def test_settings_that_cannot_be_read_are_one_line(plot, monkeypatch, tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe: 1")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
    program = "from mata_cpp.pictures.style import matplotlib; matplotlib()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    told = done.stderr.splitlines()[-1]
    assert told.startswith(
        "mata_cpp.errors.MataError: matplotlib cannot read its settings (matplotlibrc): 'utf-8' codec"
    )


def test_a_pdf_has_fonts_that_can_be_edited(run, plot, clip):
    assert run(clip, QUESTION, "-o", "a.pdf")[0] == 0
    data = (run.here / "a.pdf").read_bytes()
    assert b"/CIDFontType2" in data and b"/Type3" not in data


def test_length(run, plot, clip):
    assert run("--max-tokens", "2", clip, QUESTION)[2].splitlines()[1] == "note: cut off after 2 tokens"


# Many clips ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, make_tone, make_file):
    folder = tmp_path / "clips"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.wav").write_bytes(make_file(make_tone(1.0, hertz=200 + 100 * i)))
    (folder / "4.wav").write_bytes(b"RIFF broken")
    (folder / "notes.txt").write_text("not a clip")
    return folder


def test_summary(run, plot, folder):
    status, out, err = run("--summary", folder, QUESTION, "-o", "all.png")
    lines = err.splitlines()
    assert status == 0 and lines[0].startswith("model: 5 clips; MATA on")
    assert lines[1].startswith(f"warning: left out: {folder / '4.wav'} ")
    assert lines[2:] == ["note: 1 of 5 clips were left out", "wrote all.png"]
    table = [line.split() for line in out.splitlines()]
    assert table[0] == ["layer", "audio", "off", "audio", "on", "instruction", "system", "generated", "per", "token"]
    assert [row[0] for row in table[1:]] == [f"{i}{'*' * (10 <= i < 21)}" for i in range(30)]
    assert all(float(row[2]) > float(row[1]) for row in table[11:22])
    assert (run.here / "all.png").read_bytes().startswith(b"\x89PNG")


def test_a_summary_tells_of_answers_that_differ(run, figures, folder):
    def told(script):
        figures.clear()
        run("--summary", folder, QUESTION, "-o", "all.png", script=script)
        return figures[0].texts[1].get_text()

    assert told(lambda p, mata: "rain") == "model; mean of 4 clips"
    assert told(lambda p, mata: "rain" if mata else "snow").endswith("; with MATA off, 4 of the answers differ")


def test_summary_json(run, folder):
    status, out, _ = run("--summary", "--json", folder / "0.wav", folder / "1.wav", folder / "4.wav", QUESTION)
    record = json.loads(out)
    assert status == 0 and record["clips"] == 2 and len(record["left_out"]) == 1
    assert np.shape(record["off"]) == np.shape(record["on"]) == (30, 5)
    assert np.sum(record["off"], axis=1) == pytest.approx(1, abs=1e-4) and written(run) == []
    plain = json.loads(run("--summary", "--json", "--no-mata", folder, QUESTION)[1])
    assert plain["on"] is None and plain["mata"] is None
    assert np.array(plain["off"]) == pytest.approx(np.array(record["off"]), abs=1e-3)


def test_summary_of_nothing(run, folder, tmp_path):
    status, out, err = run("--summary", folder / "4.wav", QUESTION)
    assert (status, out) == (1, "") and err.endswith("error: none of 1 clips could be heard\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("--summary", empty, QUESTION) == (1, "", f"error: {empty} holds no audio files\n")
    assert run("--summary", folder, QUESTION, script=lambda p, m: "")[0] == 1


# What is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["CLIP"], "a question is missing"),
        ([QUESTION], "a question needs at least one audio file"),
        (["CLIP", QUESTION, "--compare", "--no-mata"], "--compare and --no-mata exclude each other"),
        (["CLIP", QUESTION, "--compare", "--alpha", "0"], "there is nothing to compare: MATA is off"),
        (["CLIP", QUESTION, "--summary", "--compare"], "--summary and --compare exclude each other"),
        (["CLIP", QUESTION, "--summary", "--average", "3"], "--summary and --average exclude each other"),
        (["-", QUESTION, "--summary"], "--summary takes files and folders, not standard input (-)"),
        (["CLIP", QUESTION, "-o", "a.gif"], "--output must end in .png, .svg, .pdf, .npz, not 'a.gif'"),
        (["CLIP", QUESTION, "--summary", "-o", "a.npz"], "--output must end in .png, .svg, .pdf, not 'a.npz'"),
        (["CLIP", QUESTION, "--average", "x"], '--average: layers must be "auto", a slice like "10:20", a range or '),
        (["CLIP", QUESTION, "--no-mata", "--alpha", "1"], "--no-mata and --alpha exclude each other"),
    ],
)
def test_usage(run, clip, words, message):
    status, out, err = run(*(clip if word == "CLIP" else word for word in words))
    assert (status, out) == (2, "") and err.startswith(f"error: {message}")
    assert err.endswith("(see mata-listen --help)\n") and err.count("\n") == 1


def test_failures(run, plot, clip, tmp_path):
    assert run(clip, QUESTION, "-o", "no/a.png") == (1, "", "error: cannot write no/a.png: there is no directory no\n")
    assert run(tmp_path, QUESTION)[2] == f"error: {tmp_path} is a directory: name an audio file in it\n"
    status, _, err = run(clip, QUESTION, mata_refusal="MATA needs one KV cache for all sequences (kv_unified)")
    assert status == 1 and "MATA cannot work here" in err
    assert run("--no-mata", clip, QUESTION)[2].endswith(
        "error: attention cannot be read here: the attention report needs one KV cache for all sequences (kv_unified)\n"
    )
    status, _, err = run(clip, QUESTION, "--average", "0", mata_refusal="", attention_layers=list(range(1, 30)))
    assert (status, err.splitlines()[-1]) == (2, "error: layer 0 of this model has no attention")


def test_without_matplotlib(run, clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = "a picture needs matplotlib, which is not installed: pip install matplotlib, or ask for --json"
    assert run(clip, QUESTION) == (1, "", f"error: {message}\n")
    assert run("--json", clip, QUESTION)[0] == 0


def test_interrupt(run, clip, fake):
    def slow():
        raise KeyboardInterrupt

    assert run("--json", clip, QUESTION, slow=slow)[0] == 130


def test_options_are_those_of_mata_chat():
    """The same names and words, so that one is learned for both."""
    ours = {param.name: param for param in cli.params}
    theirs = {param.name: param for param in chat.cli.params}
    left_out = {"words", "choices", "no_contrast", "contrast", "unlisted", "letters", "mic", "every", "each"}
    left_out |= {"logprobs", "version"}
    assert set(theirs) - left_out <= set(ours)
    for name in set(theirs) - left_out - {"compare", "as_json"}:
        assert ours[name].opts == theirs[name].opts and ours[name].default == theirs[name].default
    result = CliRunner().invoke(cli, ["--help"], prog_name="mata-listen")
    assert result.exit_code == 0 and "--average LAYERS" in result.stdout and "--alpha NUMBER" in result.stdout
    assert CliRunner().invoke(cli, ["--version"], prog_name="mata-listen").stdout.startswith("mata-listen ")


# Something in a long clip -----------------------------------------------------------------------


@pytest.fixture
def long_clip(make_tone, make_file, tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(make_file(make_tone(20.0)))
    return path


def yes(prompt, messages):
    return "Yes"


def test_find(run, plot, long_clip):
    status, out, err = run("--find", "a dog", long_clip, script=yes)
    assert (status, out) == (0, "[00:00-00:20] a dog 1.00\n")
    assert err.endswith("wrote long.find.png\n")
    assert (run.here / "long.find.png").read_bytes().startswith(b"\x89PNG")


def test_find_nothing(run, long_clip):
    status, out, err = run("--find", "a dog", long_clip, "-o", "a.svg", script=lambda p, m: "No")
    assert (status, out) == (0, "") and "note: a dog: nowhere above 0.95\n" in err
    assert "long.wav" in (run.here / "a.svg").read_text()


def test_find_as_json(run, long_clip):
    status, out, _ = run("--find", "a dog", long_clip, "--json", "--threshold", "0.5", script=yes)
    record = json.loads(out)
    assert status == 0 and (record["find"], record["threshold"]) == ("a dog", 0.5)
    assert record["stretches"][0]["end"] == 20.0 and len(record["probabilities"]) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--find", "a dog"], "--find needs one audio file and no question"),
        (["--find", "a dog", "CLIP", QUESTION], "--find needs one audio file and no question"),
        (["--find", "a dog", "CLIP", "--compare"], "--find and --compare exclude each other"),
        (["--find", "a dog", "CLIP", "--average", "3"], "--find and --average exclude each other"),
        (["CLIP", QUESTION, "--threshold", "0.5"], "--threshold needs --find"),
        (["--find", "a dog", "CLIP", "-o", "a.npz"], "--output must end in .png, .svg, .pdf, not 'a.npz'"),
    ],
)
def test_what_find_wants(run, long_clip, words, message):
    words = [{"CLIP": long_clip}.get(word, word) for word in words]
    status, out, err = run(*words)
    assert (status, out) == (2, "") and message in err
