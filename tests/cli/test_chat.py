"""mata-chat on the stand-in: exact output, exact exit status."""

import json
import subprocess
import sys
import textwrap

import pytest
from cli_fixtures import EFFECT, FACTS, LOUD, QUESTION
from click.testing import CliRunner

from mata_cpp.cli.chat import cli
from mata_cpp.cli.output import side_by_side


def test_a_question(run, clip):
    assert run(clip, QUESTION) == (0, "rain\n", FACTS)


def test_what_mata_did_is_told(run, clip):
    status, out, err = run(clip, QUESTION, effect=True)
    assert (status, out) == (0, "rain\n")
    assert err.startswith(FACTS + EFFECT + "10:21 from ") and err.count("\n") == 2
    before, after = (float(part.removesuffix(" %")) for part in err.split(" from ")[1].strip().split(" to "))
    assert 0 < before < after < 100
    assert EFFECT not in run("--no-mata", clip, QUESTION, effect=True)[2]


def test_attention_that_falls_is_a_note(run, clip, fake, monkeypatch):
    """With negative scores the default mode lowers what it is to raise."""
    monkeypatch.setattr(fake.Session, "attention_sums", lower(fake.Session.attention_sums))
    _, _, err = run(clip, QUESTION)
    assert "note: MATA lowered the attention to the audio, from " in err and err.endswith("; --mode abs raises it\n")
    assert "note: MATA lowered" not in run("--mode", "abs", clip, QUESTION)[2]
    assert "note: MATA lowered" not in run("--alpha", "-0.1", clip, QUESTION)[2]


def lower(sums):
    """attention_sums with before and after exchanged."""

    def exchanged(session):
        before, after, *time = sums(session)
        return after, before, *time

    return exchanged


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
    assert err.splitlines()[1] == (
        f"note: {path} is longer than the model's window and is heard in 3 windows; --every 30 asks about each part, "
        "mata-listen --find tells when something is heard"
    )


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
    names = "answer model confidence audio mata mata_effect usage timings finish_reason"
    assert list(record) == names.split()
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
    known = "it is neither a file nor a name that mata-models list shows"
    assert err == f"error: no model 'tinny': {known} (did you mean tiny?)\n"


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
        "slow = ('numpy', 'jinja2', 'soundfile', 'mata_cpp._core', 'prompt_toolkit')\n"
        "sys.exit(any(name in sys.modules for name in slow))"
    )
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode == 0
