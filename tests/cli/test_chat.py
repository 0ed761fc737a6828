"""mata-chat on the stand-in: exact output, exact exit status."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mata_cpp import Audio
from mata_cpp.cli.chat import cli
from mata_cpp.cli.interrupts import Interrupts
from mata_cpp.cli.options import as_utf8
from mata_cpp.cli.output import json_text, side_by_side

FACTS = "model: 1.0 s of audio, 5 audio tokens; MATA on (alpha 0.1, layers 10:21 of 30, mode scale)\n"
QUESTION = "What sound is this?"
LOUD = "loud rain on a tin roof and thunder"
TESTS = Path(__file__).parent.parent
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


# One question ----------------------------------------------------------------------------------


def test_a_question(run, clip):
    assert run(clip, QUESTION) == (0, "rain\n", FACTS)


def test_quiet(run, clip):
    assert run("-q", clip, QUESTION) == (0, "rain\n", "")


def test_without_mata(run, clip):
    off = "model: 1.0 s of audio, 5 audio tokens; MATA off\n"
    assert run("--no-mata", clip, QUESTION, script=lambda p, mata: f"{mata}") == (0, "False\n", off)
    assert run("--alpha", "0", clip, QUESTION) == (0, "False\n", off)


def test_settings(run, clip):
    status, out, err = run("--alpha", "0.25", "--layers", "3,7", "--mode", "abs", "--focus", "0.5:", clip, QUESTION)
    assert (status, out) == (0, "rain\n")
    assert err == (
        "model: 1.0 s of audio, 5 audio tokens; MATA on (alpha 0.25, layers 3,7 of 30, mode abs, focus 0.5:inf s)\n"
    )


def test_several_clips_and_the_question_anywhere(run, clip, tmp_path):
    other = tmp_path / "b.wav"
    other.write_bytes(clip.read_bytes())
    status, out, err = run(clip, QUESTION, other)
    assert (status, out) == (0, "rain\n")
    assert err.startswith("model: 2 clips, 2.0 s of audio, 10 audio tokens; MATA on")


def test_standard_input(run, clip):
    assert run("-", QUESTION, input=clip.read_bytes()) == (0, "rain\n", FACTS)
    assert run("-", QUESTION, input=b"") == (1, "", "error: <stdin> is empty (0 bytes)\n")
    status, out, err = run("-", QUESTION, input=b"hello\n" * 100)
    assert (status, out) == (1, "") and err == "error: <stdin> is text, not audio\n"


def test_long_audio_is_said_to_be_windowed(run, make_tone, make_file, tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(make_file(make_tone(65.0, 8000), 8000))
    _, _, err = run(path, QUESTION)
    assert err.splitlines()[1] == f"note: {path} is longer than the model's window and is heard in 3 windows"


def test_an_unchecked_projector_is_said(run, clip):
    _, _, err = run(clip, QUESTION, projector_checked=False, projector="glma")
    note = "note: this model has not been checked against its reference implementation (projector type glma)"
    assert err.splitlines()[1:] == [note]
    _, _, err = run(clip, QUESTION, projector_checked=True)
    assert err == FACTS


def test_a_clip_that_is_not_heard_to_its_end_is_said(run, make_tone, make_file, tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(make_file(make_tone(4.0, 8000), 8000))
    status, out, err = run(path, QUESTION, max_samples=48000)
    assert (status, out) == (0, "rain\n")
    assert err.splitlines()[1:] == [f"note: only the first 3 s of {path} are heard: the model takes no more"]
    _, _, err = run(path, QUESTION, max_samples=64000)
    assert len(err.splitlines()) == 1


def test_length(run, clip):
    assert run("--max-tokens", "2", clip, QUESTION) == (0, "ra\n", FACTS + "note: cut off after 2 tokens\n")


def test_an_empty_answer_is_an_empty_line(run, clip):
    assert run(clip, QUESTION, script=lambda p, m: "") == (0, "\n", FACTS)
    assert run(clip, QUESTION, script=lambda p, m: " a\n") == (0, "a\n", FACTS)


def test_options_reach_the_engine(run, clip, fake, tmp_path):
    lora = tmp_path / "a.gguf"
    lora.write_bytes(b"GGUF adapter")
    seen = {}

    class Engine(fake.Engine):
        def __init__(self, *arguments, **options):
            seen.update(options)
            super().__init__(*arguments, **options)

    fake.Engine = Engine
    words = ["--threads", "3", "--gpu-layers", "0", "--ctx", "999", "--flash-attn", "off", "--cache-type", "q8_0"]
    assert run(*words, "--lora", f"{lora}:0.5", "--system", "S", clip, QUESTION)[0] == 0
    assert seen["lora"] == [(str(lora), 0.5)] and seen["n_threads"] == 3 and seen["n_gpu_layers"] == 0
    assert seen["n_ctx"] == 999 and seen["flash_attn"] == "off" and seen["cache_type_k"] == "q8_0"


def test_sampling_options_reach_the_sampler(run, clip, fake):
    words = ["--temperature", "0.5", "--top-k", "3", "--top-p", "0.5", "--min-p", "0.1", "--repeat-penalty", "1.1"]
    assert run(*words, "--seed", "7", clip, QUESTION)[0] == 0
    wanted = {"temperature": 0.5, "top_k": 3, "top_p": 0.5, "min_p": 0.1, "repeat_penalty": 1.1, "seed": 7}
    assert fake.Sampler.last.settings == {**fake.SAMPLING_DEFAULTS, **wanted}


def test_a_json_schema_in_words_or_in_a_file(run, clip, fake, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object"}')
    for given in ('{"type": "object"}', file):
        assert run("--json-schema", given, clip, QUESTION)[0] == 0
        assert fake.Sampler.last.settings["grammar"] == 'root ::= {"type": "object"}'


def test_a_grammar_is_read_from_a_file(run, clip, fake, tmp_path):
    file = tmp_path / "yes-no.gbnf"
    file.write_text('root ::= "yes" | "no"')
    assert run("--grammar", file, clip, QUESTION)[0] == 0
    assert fake.Sampler.last.settings["grammar"] == 'root ::= "yes" | "no"'


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--json-schema", "none.json"], 1, "--json-schema: no such file: none.json"),
        (["--json-schema", "{broken"], 2, "json_schema is not valid JSON: "),
        (["--grammar", "none.gbnf"], 1, "--grammar: no such file: none.gbnf"),
        (["--grammar", "."], 1, "--grammar: cannot read .: Is a directory"),
    ],
)
def test_schemas_and_grammars_that_cannot_be_used(run, clip, words, status, message):
    found, out, err = run(*words, clip, QUESTION)
    assert (found, out) == (status, "") and err.startswith(f"error: {message}") and err.count("\n") == 1


def test_a_schema_and_a_grammar_exclude_each_other(run, clip, tmp_path):
    file = tmp_path / "a.gbnf"
    file.write_text("root ::= [a-z]")
    message = "error: grammar and json_schema exclude each other\n"
    assert run("--json-schema", "{}", "--grammar", file, clip, QUESTION) == (2, "", message)


def test_logprobs(run, clip):
    record = json.loads(run("--json", "--logprobs", "2", clip, QUESTION)[1])
    assert [entry["token"] for entry in record["logprobs"]] == list("rain")
    assert [len(entry["top_logprobs"]) for entry in record["logprobs"]] == [2] * 4
    assert "top_logprobs" not in json.loads(run("--json", "--logprobs", "0", clip, QUESTION)[1])["logprobs"][0]
    assert "logprobs" not in json.loads(run("--json", clip, QUESTION)[1])


def test_json(run, clip, fake_model):
    status, out, err = run("--json", clip, QUESTION)
    record = json.loads(out)
    assert (status, err) == (0, FACTS)
    assert list(record) == ["answer", "model", "confidence", "audio", "mata", "usage", "timings", "finish_reason"]
    assert record["answer"] == "rain" and record["finish_reason"] == "stop"
    assert record["model"]["path"] == str(fake_model) and record["audio"][0]["tokens"] == 5
    assert record["mata"]["layers"] == list(range(10, 21))
    assert json.loads(run("--json", "--no-mata", clip, QUESTION)[1])["mata"] is None
    assert json.loads(run("--json", "--focus", "0.5:", clip, QUESTION)[1])["mata"]["focus"] == [0.5, None]


def test_choices(run, clip):
    status, out, err = run("--choices", "cat | dog", clip, "Which?", script=lambda p, m: "dog")
    assert (status, out) == (0, "dog\n")
    assert err == FACTS + "shares among the options, by contrast with silence:\n  1.000  dog\n  0.000  cat\n"
    record = json.loads(run("--choices", "cat|dog", "--json", clip, "Which?")[1])
    assert record["answer"] == "dog" and record["index"] == 1 and len(record["logprobs"]) == 2
    assert record["scored_by"] == "contrast with silence" and len(record["silence_logprobs"]) == 2


def test_choices_by_likelihood(run, clip):
    words = ["--choices", "cat|dog", "--no-contrast", clip, "Which?"]
    _, _, err = run(*words, script=lambda p, m: "dog")
    assert err.splitlines()[1:] == ["shares among the options, by likelihood:", "  1.000  dog", "  0.000  cat"]
    assert json.loads(run("--json", *words)[1])["silence_logprobs"] is None


def test_how_choices_are_put_to_the_model(run, clip):
    def asked(*words):
        prompts = []
        run("--choices", "cat|dog", *words, clip, "Which?", script=lambda prompt, m: prompts.append(prompt) or "dog")
        return prompts[-1]

    assert "Which? Choose one: cat, dog.<|im_end|>" in asked()
    assert "Which?<|im_end|>" in asked("--unlisted")
    assert "Which?\nA. cat\nB. dog\nAnswer with the letter of the right option.<|im_end|>" in asked("--letters")


def test_letters_give_the_option_that_they_stand_for(run, clip):
    assert run("-q", "--choices", "cat|dog", "--letters", clip, "Which?", script=lambda p, m: "B") == (0, "dog\n", "")


def test_compare(run, clip):
    status, out, err = run("--compare", clip, QUESTION, script=lambda p, mata: LOUD if mata else "a dog")
    assert (status, err) == (0, FACTS)
    assert out == textwrap.dedent("""\
        with MATA (alpha 0.1)        | without
        ---------------------------- | ----------------------------
        loud rain on a tin roof and  | a dog
        thunder                      |
        """)
    record = json.loads(run("--compare", "--json", clip, QUESTION)[1])
    assert record["answer"].startswith("loud") and record["without"]["answer"] == "a dog"
    assert record["without"]["mata"] is None


def test_compare_choices(run, clip):
    out = run("--compare", "--choices", "cat|dog", clip, "Which?", script=lambda p, mata: "cat" if mata else "dog")[1]
    assert out.splitlines()[2] == "cat (1.000)                  | dog (1.000)"


@pytest.mark.parametrize("words", [[], ["--choices", "cat|dog"]])
def test_there_is_nothing_to_compare_with_alpha_0(run, clip, words):
    message = "error: there is nothing to compare: MATA is off (see mata-chat --help)\n"
    assert run("--compare", "--alpha", "0", *words, clip, QUESTION) == (2, "", message)


def test_columns():
    assert side_by_side("", "b\n\nc", ("x", "y"), 23).splitlines() == [
        "x          | y",
        "---------- | ----------",
        "           | b",
        "           |",
        "           | c",
    ]


def test_endless_repetition_is_a_warning(run, clip):
    status, out, err = run(clip, QUESTION, script=lambda p, m: "@" * 999)
    assert (status, out) == (0, "@" * 32 + "\n")
    assert (
        err.startswith(FACTS + "warning: stopped: the model repeated the token '@' 32 times") and err.count("\n") == 2
    )


# Failures --------------------------------------------------------------------------------------


def test_missing_files(run, clip):
    assert run("none.wav", QUESTION) == (1, "", "error: no such file: none.wav\n")
    assert run(clip, "none.wav", QUESTION) == (1, "", "error: no such file: none.wav\n")
    assert run(clip, "none.mp3") == (1, "", "error: no such file: none.mp3\n")
    assert run("none", QUESTION) == (1, "", "error: no such file: none\n")


@pytest.mark.parametrize("question", ["Describe recording.wav", "is it /tmp/none.mp3", "a/b or c.flac"])
def test_a_question_may_end_in_the_name_of_a_file(run, clip, question):
    assert run(clip, question) == (0, "rain\n", FACTS)


def test_a_missing_file_with_spaces_in_its_name(run, clip):
    missing = clip.parent / "my recording.wav"
    message = f"error: no such file: {missing}\n"
    assert run(clip, missing) == run(clip, missing, QUESTION) == (1, "", message)
    assert run("my recording.wav") == (1, "", "error: no such file: my recording.wav\n")


def test_long_names_are_shortened(run, clip, tmp_path):
    data = "data:audio/flac;base64," + "A" * 100_000 + ".wav"
    wanted = f"no such file: {data[:90]}...{data[-60:]}\n"
    assert run(data, QUESTION) == (1, "", f"error: {wanted}")
    assert run(clip, data) == (1, "", f"error: {wanted}")
    status, out, err = run(clip, input=f"/audio {data}\n/{'x' * 100_000}\n/mata {'x' * 100_000}\nQ?\n")
    assert (status, out) == (0, "rain\n") and len(err) < 1200
    for words in (["--model", data], ["--mmproj", data], ["--lora", data], ["--grammar", data], ["--layers", data]):
        status, out, err = run(*words, clip, QUESTION)
        assert status in (1, 2) and out == "" and err.count("\n") == 1 and len(err) < 500, words


def test_a_number_that_is_too_large(run, clip):
    message = "error: max_tokens must be a whole number from 1 to 2147483647, not 999999999999\n"
    assert run("-q", "--max-tokens", "999999999999", clip, QUESTION) == (2, "", message)


def test_bad_audio(run, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(b"")
    assert run(path, QUESTION) == (1, "", f"error: {path} is empty (0 bytes)\n")
    assert run(tmp_path, QUESTION) == (1, "", f"error: {tmp_path} is a directory: name an audio file in it\n")


def test_zero_audio_tokens_is_an_error(run, make_tone, make_file, tmp_path):
    path = tmp_path / "short.wav"
    path.write_bytes(make_file(make_tone(0.1)))
    message = f"error: {path} gave no audio tokens: it is too short for this model\n"
    assert run(path, QUESTION) == (1, "", message)


def test_context_full(run, clip):
    status, out, err = run(clip, QUESTION, n_ctx=60)
    assert (status, out) == (1, "")
    assert err.startswith(FACTS + "error: the context is full: the conversation needs") and err.endswith(
        "(--ctx 512)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([QUESTION], "a question needs at least one audio file"),
        (["CLIP", " "], "the question is empty"),
        (["CLIP", "", QUESTION], None),
        (["-"], "audio from standard input (-) needs a question"),
        (["-", "-", QUESTION], "standard input (-) can be given only once"),
        (["CLIP", "--json"], "--json needs a question"),
        (["CLIP", "--compare"], "--compare needs a question"),
        (["CLIP", "--choices", "a|b"], "--choices needs a question"),
        (["CLIP", QUESTION, "--choices", "a"], '--choices: options must be at least two texts, as in "cat|dog"'),
        (
            ["CLIP", QUESTION, "--choices", "a|"],
            "--choices: an option must be a text that is not empty, not '', as in \"cat|dog\"",
        ),
        (["CLIP", QUESTION, "--compare", "--no-mata"], "--compare and --no-mata exclude each other"),
        (["CLIP", QUESTION, "--logprobs", "1"], "--logprobs needs --json"),
        (
            ["CLIP", QUESTION, "--choices", "a|b", "--json", "--logprobs", "1"],
            "--logprobs and --choices exclude each other",
        ),
        (
            ["CLIP", QUESTION, "--choices", "a|b", "--json-schema", "{}"],
            "--json-schema and --choices exclude each other",
        ),
        (["CLIP", QUESTION, "--choices", "a|b", "--grammar", "x"], "--grammar and --choices exclude each other"),
        (["CLIP", QUESTION, "--no-contrast"], "--no-contrast needs --choices"),
        (["CLIP", QUESTION, "--unlisted"], "--unlisted needs --choices"),
        (["CLIP", QUESTION, "--letters"], "--letters needs --choices"),
        (
            ["CLIP", QUESTION, "--choices", "a|b", "--unlisted", "--letters"],
            "--unlisted and --letters exclude each other",
        ),
        (["CLIP", QUESTION, "--alpha", "1", "--no-mata"], "--no-mata and --alpha exclude each other"),
        (["CLIP", QUESTION, "--alpha", "nan"], "alpha must be finite, not nan"),
        (["CLIP", QUESTION, "--focus", "5:1"], "focus must be a window with 0 <= start < end in seconds, not 5:1"),
        (["CLIP", QUESTION, "--focus", "x"], "focus must be START:END in seconds, e.g. 3.2:7.5, not 'x'"),
        (["CLIP", QUESTION, "--max-tokens", "0"], "Invalid value for '--max-tokens': 0 is not in the range x>=1"),
        (["CLIP", QUESTION, "--alpha", "0.1", "--no-mata"], "--no-mata and --alpha exclude each other"),
        (["CLIP", QUESTION, "--temperature", "-1"], "Invalid value for '--temperature': -1.0 is not in the range x>=0"),
    ],
)
def test_usage(run, clip, arguments, message):
    status, out, err = run(*[clip if word == "CLIP" else word for word in arguments])
    if message is None:
        assert (status, err) == (1, "error: no such file: ''\n")
        return
    assert (status, out, err) == (2, "", f"error: {message} (see mata-chat --help)\n")


def test_settings_that_do_not_fit_the_model(run, clip):
    status, out, err = run("--layers", "20:40", clip, QUESTION)
    assert (status, out) == (2, "")
    assert err == "error: layers 20:40 reach outside this model, which has layers 0 to 29\n"
    status, _, err = run("--focus", "3:4", clip, QUESTION)
    assert status == 2 and err.endswith("error: focus 3:4 s holds no audio: the clip is heard up to 1.00 s\n")
    assert run("--cache-type", "x", "--unknown", clip, QUESTION)[0] == 2


def test_an_unknown_model(run, clip):
    status, out, err = run("--model", "tinny", clip, QUESTION, model=False)
    assert (status, out) == (1, "")
    assert err.startswith("error: no model 'tinny': it is neither a file nor one of tiny, ")
    assert err.endswith("(did you mean tiny?)\n")


def test_swapped_files(run, clip, fake_model, tmp_path):
    projector = tmp_path / "mmproj-model.gguf"
    message = "error: mmproj-model.gguf is a projector and model.gguf a model: swap them\n"
    assert run("--model", projector, "--mmproj", fake_model, clip, QUESTION, model=False) == (1, "", message)


def test_an_interrupt_ends_with_130(run, clip, fake):
    def interrupt():
        raise KeyboardInterrupt

    status, out, err = run(clip, QUESTION, slow=interrupt)
    assert (status, out) == (130, "") and err.rstrip("\n") == FACTS.rstrip("\n")

    calls = iter(range(99))

    def later():
        if next(calls) == 3:
            raise KeyboardInterrupt

    assert run(clip, QUESTION, slow=later)[:2] == (130, "ra\n")


def test_an_unexpected_failure_is_one_line(run, clip):
    def broken(prompt, mata):
        raise RuntimeError("two\nlines")

    status, out, err = run(clip, QUESTION, script=broken)
    assert (status, out) == (1, "")
    assert err == FACTS + "error: unexpected RuntimeError: two lines (-v shows where)\n"


def test_version_and_help():
    result = CliRunner().invoke(cli, ["--version"])
    assert (result.exit_code, result.output) == (0, "mata-chat 0.1.0\n")
    assert CliRunner().invoke(cli, ["--help"]).exit_code == 0


def test_help_is_quick():
    """Neither NumPy nor the compiled part is loaded for it."""
    program = (
        "import sys; from mata_cpp.cli.chat import cli\n"
        "try: cli.main(['--help'], prog_name='mata-chat')\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'jinja2', 'soundfile', 'mata_cpp._core')))"
    )
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode == 0


# A conversation --------------------------------------------------------------------------------


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
    assert (status, out) == (0, "rain\n")
    assert err.startswith(
        FACTS
        + (
            "error: no such file: none.wav\n"
            "error: /audio needs a path\n"
            "error: /mata takes on, off or a number, not 'much'\n"
            "MATA on (alpha 0.1, layers 10:21 of 30, mode scale)\n"
            "the conversation is forgotten; /audio PATH gives it a clip\n"
            "error: there is no audio in this conversation yet: pass a clip with the question\n"
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
def test_bursts_of_interrupts_in_a_terminal(fake_model, clip, tmp_path):
    import pty
    import select

    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", ON_THE_STAND_IN, str(TESTS), "0.02", "--model", str(fake_model), str(clip)]
    surroundings = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}

    def until(text):
        seen, deadline = b"", time.monotonic() + 60
        while text not in seen:
            assert select.select([ours], [], [], max(0, deadline - time.monotonic()))[0], seen
            try:
                data = os.read(ours, 4096)
            except OSError:  # how a terminal ends
                data = b""
            assert data, seen
            seen += data

    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=surroundings) as process:
        os.close(theirs)
        until(b"> ")
        for count in (2, 5, 10):
            os.write(ours, b"Long?\n")
            until(b"ra")  # in the answer, and then at the prompt
            for _ in range(2):
                for _ in range(count):
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.001)
                time.sleep(0.3)
            os.write(ours, b"\n")
            time.sleep(0.1)
            os.write(ours, b"Now?\n")
            until(b"rain\r\n")
        os.write(ours, b"/exit\n")
        assert process.wait(30) == 0
    os.close(ours)


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


# Around the process ----------------------------------------------------------------------------


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


# Window by window -------------------------------------------------------------------------------


@pytest.fixture
def long_clip(make_tone, make_file, tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(make_file(make_tone(25.0)))
    return path


def test_every(run, long_clip):
    status, out, err = run("--every", "10", long_clip, QUESTION)
    assert (status, out) == (0, "[00:00-00:10] rain\n[00:10-00:20] rain\n[00:20-00:25] rain\n")
    assert err.startswith("model: 25.0 s of audio, window by window; MATA on") and err.count("\n") == 1


def test_every_as_json(run, long_clip):
    status, out, _ = run("--every", "10", "--json", "--quiet", long_clip, QUESTION)
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [(row["start"], row["end"], row["answer"]) for row in rows] == [
        (0.0, 10.0, "rain"),
        (10.0, 20.0, "rain"),
        (20.0, 25.0, "rain"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--every", "10", "CLIP"], "--every needs one audio file and a question"),
        (["--every", "10", "CLIP", "CLIP2", QUESTION], "--every needs one audio file and a question"),
        (["--every", "10", "--compare", "CLIP", QUESTION], "--every and --compare exclude each other"),
        (["--every", "10", "--choices", "a|b", "CLIP", QUESTION], "--every and --choices exclude each other"),
        (["--every", "0.2", "CLIP", QUESTION], "--every"),
    ],
)
def test_what_every_wants(run, long_clip, clip, words, message):
    words = [{"CLIP": long_clip, "CLIP2": clip}.get(word, word) for word in words]
    status, out, err = run(*words)
    assert (status, out) == (2, "") and message in err


def test_a_channel(run, make_tone, make_file, tmp_path):
    path = tmp_path / "pair.wav"
    path.write_bytes(make_file(make_tone(1.0, channels=2)))
    for channel in ("left", "right", "mix", "2"):
        assert run("--channel", channel, path, QUESTION)[:2] == (0, "rain\n")
    assert run("--channel", "3", path, QUESTION) == (1, "", f"error: {path} has 2 channels: there is no channel 3\n")
    message = 'error: channel must be "left", "right", "mix" or a number from 1, not \'middle\'\n'
    assert run("--channel", "middle", path, QUESTION) == (1, "", message)


# The microphone, with a stand-in ------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch, make_tone):
    """How long was recorded."""
    asked = []

    def record(seconds, *, on_level=None, stop=None):
        asked.append(seconds)
        return Audio((make_tone(1.0), 16000), name="<microphone>")

    from mata_cpp.audio import microphone

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
