"""The commands of a conversation, on the stand-in: exact output."""

import json
import os

import pytest

from mata_cpp.cli.repl_commands import COMMANDS, help_text

ON = "MATA on (alpha 0.1, layers 10:21 of 30, mode scale)"


@pytest.fixture
def talk(run):
    """talk(*lines, clip...) -> (stdout, stderr without the line of facts)."""

    def call(*lines, files=(), **options):
        status, out, err = run(*files, input="\n".join(map(str, lines)), **options)
        assert status == 0
        return out, err.split("\n", 1)[1]

    return call


@pytest.fixture
def sounds(clip, make_tone, make_file):
    """Three different clips in files."""
    paths = [clip.with_name(f"{name}.wav") for name in ("a", "b c", "d'e")]
    for number, path in enumerate(paths):
        path.write_bytes(make_file(make_tone(hertz=300 + 100 * number)))
    return paths


def count(prompt, mata):
    """A script: clips and questions in the prompt."""
    return f"{prompt.count('[audio')} clips, {prompt.count('<|im_start|>user')} questions"


# Without audio -----------------------------------------------------------------------------------


def test_a_question_before_the_first_clip(talk, clip):
    out, err = talk("Hi?", f"/audio {clip}", "And?", "/clear", "Hi?", script=count)
    assert out == "0 clips, 1 questions\n1 clips, 2 questions\n0 clips, 1 questions\n"
    out, err = talk("/compare Q?", "/choices cat|dog Q?", script=lambda p, m: "dog")
    assert out == "dog\n"
    assert err == (
        "error: there is nothing to compare: there is no audio in this conversation yet\n"
        "shares among the options, by likelihood:\n  1.000  dog\n  0.000  cat\n"
    )


# Clips -------------------------------------------------------------------------------------------


def test_several_files_at_once(talk, sounds):
    first, second, third = sounds
    for line in (
        f"""{first} "{second}" "{third}" """,
        f"""/audio {first} '{second}' {third.as_uri()}""",
        " ".join(str(path).replace(" ", "\\ ").replace("'", "\\'") for path in sounds),
    ):
        out, err = talk(line, "Q?", script=count)
        assert out == "3 clips, 1 questions\n", line
        assert err == f"model: 3 clips, 3.0 s of audio, 15 audio tokens; {ON}\n"


def test_all_of_several_files_or_none(talk, sounds):
    out, err = talk(f"/audio {sounds[0]} none.wav", f"/audio {sounds[0]} What is it?", "Q?", script=count)
    assert out == "0 clips, 1 questions\n"
    assert err == (
        "error: no such file: none.wav (a question goes on a line of its own)\n"
        "error: no such file: What (a question goes on a line of its own)\n"
    )


def test_clips_that_wait_are_counted(talk, sounds):
    _, err = talk(f"/audio {sounds[0]}", f"/audio {sounds[0]}")
    assert err.endswith("2 clips wait for the next question; /drop takes the last one away\n")


def test_drop(talk, sounds):
    first, second, _ = sounds
    lines = [first, "Q1?", second, "/drop", "/drop", "/drop", "/drop", "Q2?"]
    out, err = talk(*lines, script=count)
    assert out == "1 clips, 1 questions\n0 clips, 1 questions\n"
    assert err.splitlines()[2:] == [
        f"taken away: {second}, which waited for the next question",
        f"taken away: the question 'Q1?' and its answer; {first} waits for the next question",
        f"taken away: {first}, which waited for the next question",
        "error: there is nothing to take away: no clip waits, and nothing was asked",
    ]


def test_drop_by_number(talk, sounds):
    first, second, third = sounds
    lines = [first, second, "Q1?", third, "/drop 2", "/drop 2", "/drop 2", "/drop x", "/drop 0", "Q2?"]
    out, err = talk(*lines, script=count)
    assert out == "2 clips, 1 questions\n1 clips, 2 questions\n"
    assert err.splitlines()[4:] == [
        f"taken away: {second}, from question 1; the question and its answer stay",
        f"taken away: {third}, which waited for the next question",
        "error: no clip 2: there is 1 clip; /show lists them",
        "error: /drop takes the number of a clip, as /show lists them, not 'x'",
        "error: no clip 0: there is 1 clip; /show lists them",
    ]


# Questions ---------------------------------------------------------------------------------------


def test_retry(talk, clip, fake):
    seeds = []

    def script(prompt, mata):
        seeds.append(fake.Sampler.last and fake.Sampler.last.settings["seed"])
        return count(prompt, mata)

    out, err = talk("/retry", "Q?", "/retry", "/set temperature 1", "/retry", "/retry now", files=[clip], script=script)
    assert out == "1 clips, 1 questions\n" * 3 and (seeds[0], seeds[-1]) == (0, 1)
    assert err == (
        "error: there is no question to ask again\n"
        "note: the same answer, as temperature is 0; /set temperature 0.8 lets it vary\n"
        "temperature 1\n"
        "error: /retry asks the last question again, and takes no other\n"
    )


def test_a_retry_that_fails_keeps_the_answer(talk, clip):
    state = {"asked": 0}

    def script(prompt, mata):
        if prompt.endswith("Q?<|im_end|>\n") and "Next?" not in prompt:
            state["asked"] += 1
        if state["asked"] > 10:
            raise RuntimeError("broken")
        return "rain"

    out, err = talk("Q?", "/retry", "/retry", "Next?", files=[clip], script=script)
    assert out.startswith("rain\n") and "broken" in err
    assert "Next?" not in err


def test_compare(talk, clip):
    out, err = talk("/compare Q?", "/compare", "/mata off", "/compare Q?", files=[clip], script=lambda p, m: f"{m}")
    assert out.splitlines()[2].split() == ["True", "|", "False"]
    assert err == "error: /compare needs a question\nMATA off\nerror: there is nothing to compare: MATA is off\n"


def test_choices(talk, clip):
    asked = []

    def script(prompt, mata):
        asked.append(prompt)
        return "a dog"

    lines = ['/choices "a cat|a dog" What is it?', "/choices cat What?", "/choices a|b", "Q?"]
    out, err = talk(*lines, files=[clip], script=script)
    assert out == "a dog\na dog\n"
    assert any("What is it? Choose one: a cat, a dog." in prompt for prompt in asked)
    assert "Q?" in asked[-1] and "What is it?" not in asked[-1]
    assert err == (
        "shares among the options, by contrast with silence:\n  1.000  a dog\n  0.000  a cat\n"
        'error: /choices: options must be at least two texts, as in /choices "a cat|a dog" What is it?\n'
        'error: /choices needs a question after the choices, as in /choices "a cat|a dog" What is it?\n'
    )


# Settings ----------------------------------------------------------------------------------------


def test_set(talk, clip, fake):
    lines = [
        "/set temperature 0.5",
        "/set max-tokens 2",
        "/set top_p 0.3",
        "/set system Be brief.",
        "/set seed 7",
        "Q?",
    ]
    prompts = []
    out, err = talk(*lines, files=[clip], script=lambda p, m: prompts.append(p) or "rain")
    assert out == "ra\n" and prompts[-1].startswith("<|im_start|>system\nBe brief.<|im_end|>")
    settings = fake.Sampler.last.settings
    assert (settings["temperature"], settings["top_p"], settings["seed"]) == (0.5, 0.3, 7)
    assert err == (
        "temperature 0.5\nmax_tokens 2\ntop_p 0.3\nsystem 'Be brief.'\nseed 7\nnote: cut off after 2 tokens\n"
    )


def test_set_back_to_the_default(talk, clip):
    prompts = []
    lines = ["/set system Be brief.", "Q?", "/set system default", "/set temperature default", "Q?"]
    talk(*lines, files=[clip], script=lambda p, m: prompts.append(p) or "rain")
    assert any("Be brief" in prompt for prompt in prompts) and "Be brief" not in prompts[-1]


def test_set_mata(talk, clip):
    lines = ["/set alpha 0.3", "/set layers 3,7", "/mata off", "/set mode abs", "/mata on", "/focus 0.5:", "/focus off"]
    _, err = talk(*lines, files=[clip])
    assert err == (
        "MATA on (alpha 0.3, layers 10:21 of 30, mode scale)\n"
        "MATA on (alpha 0.3, layers 3,7 of 30, mode scale)\n"
        "MATA off\n"
        "MATA off (/mata on: alpha 0.3, layers 3,7 of 30, mode abs)\n"
        "MATA on (alpha 0.3, layers 3,7 of 30, mode abs)\n"
        "MATA on (alpha 0.3, layers 3,7 of 30, mode abs, focus 0.5:inf s)\n"
        "MATA on (alpha 0.3, layers 3,7 of 30, mode abs)\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/set temperature hot", "temperature must be a number, not 'hot'"),
        ("/set temperature -1", "temperature: -1.0 is not in the range x>=0"),
        ("/set max_tokens 1.5", "max_tokens must be a whole number, not '1.5'"),
        ("/set max_tokens 0", "max_tokens: 0 is not in the range x>=1"),
        ("/set seed -1", "seed must be a whole number of 32 bits, not -1"),
        ("/set mode loud", "mode: 'loud' is not one of 'scale', 'abs', 'add'"),
        ("/set layers 20:40", "layers 20:40 reach outside this model, which has layers 0 to 29"),
        ("/set alpha nan", "alpha must be finite, not nan"),
        ("/mata 1000", "alpha must lie between -100 and 100, not 1000"),
        ("/set ctx 99", "ctx is chosen when the model is loaded: leave, and start mata-chat with --ctx"),
        ("/set nonsense 1", "no setting nonsense; /set lists them"),
        ("/set nonsense", "no setting nonsense; /set lists them"),
        ("/focus", "/focus takes START:END in seconds, or off"),
        ("/focus 5:1", "focus must be a window with 0 <= start < end in seconds, not 5:1"),
        ("/save", "/save needs the name of a file, as /save talk.json"),
        ("/load", "/load needs the name of a file, as /load talk.json"),
        ("/load none.json", "no such file: none.json"),
    ],
)
def test_what_cannot_be_set(talk, clip, line, message):
    assert talk(line, files=[clip]) == ("", f"error: {message}\n")


def test_focus_behind_the_end(talk, clip):
    out, err = talk("/focus 3:4", "Q?", "/focus off", "Q?", files=[clip])
    assert out == "rain\n" and "error: focus 3:4 s holds no audio: the clip is heard up to 1.00 s\n" in err


def test_all_settings_are_listed(talk):
    assert talk("/set")[1] == (
        "temperature 0\ntop_k 40\ntop_p 0.95\nmin_p 0.05\nrepeat_penalty 1\nseed 0\nmax_tokens 256\n"
        "system the model's own\ncontrast off\nalpha 0.1\nlayers auto\nmode scale\nfocus off\n"
    )
    assert talk("/set top_k", "/set focus 1:2", "/set focus")[1].splitlines()[::2] == ["top_k 40", "focus 1:2 s"]


def test_show(talk, clip, fake_model):
    _, err = talk("Q?", f"/audio {clip}", "/set temperature 1", "/show", files=[clip])
    assert err.splitlines()[2:] == [
        "model     model: fake 1 K",
        f"          {fake_model}",
        "context   50 of 4096 tokens, 1 question",
        "MATA      on (alpha 0.1, layers 10:21 of 30, mode scale)",
        "          attention to the audio at the last answer: 8.3 % to 21.3 %",
        "system    the model's own",
        "sampling  temperature 1",
        "answer    at most 256 tokens",
        f"clips     1  {clip}  1.0 s, 5 tokens",
        f"          2  {clip}  1.0 s, 5 tokens, waiting",
    ]
    assert talk("/show")[1].endswith("clips     none; /audio PATH adds one\n")


def test_help_fits_a_terminal(talk):
    assert talk("/help")[1] == talk("/?")[1] == help_text() + "\n"
    assert max(map(len, help_text().splitlines())) < 80
    assert all(f"\n{name} " in "\n" + help_text() for name in COMMANDS)


@pytest.mark.parametrize("line", ["/exit", "/quit", "/bye"])
def test_leaving(run, line):
    assert run(input=f"{line}\nQ?\n")[:2] == (0, "")


# In a file ---------------------------------------------------------------------------------------


def test_save_and_load(talk, run, sounds, tmp_path):
    file = tmp_path / "talk.json"
    first, second, _ = sounds
    _, err = talk(
        "/set temperature 0.5", "/set alpha 0.2", "/focus 0.5:", "Q1?", second, f"/save {file}", files=[first]
    )
    assert err.endswith(f"saved in {file}: 1 question, 2 clips\n")
    record = json.loads(file.read_text())
    assert record["messages"][0]["clips"][0]["path"] == str(first) and record["waiting"][0]["path"] == str(second)
    assert record["settings"]["mata"]["focus"] == [0.5, None] and record["settings"]["temperature"] == 0.5

    out, err = talk(f"/load {file}", "Q2?", "/set", f"/save {file}", script=count)
    assert out == "2 clips, 2 questions\n"
    assert err.startswith(f"loaded {file}: 1 question, 2 clips\ntemperature 0.5\n")
    assert "alpha 0.2\n" in err and "focus 0.5:inf s\n" in err
    assert err.endswith(f"saved in {file}: 2 questions, 2 clips\n")


def test_a_folder_may_be_moved(talk, sounds, tmp_path):
    file = tmp_path / "talk.json"
    talk("Q1?", f"/save {file}", files=[sounds[0]])
    other = tmp_path / "elsewhere"
    other.mkdir()
    for path in (file, sounds[0]):
        path.rename(other / path.name)
    out, err = talk(f"/load {other / 'talk.json'}", "Q2?", script=count)
    assert out == "1 clips, 2 questions\n"


def test_a_conversation_replaces_no_other_file(talk, clip, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("mine")
    _, err = talk("Q?", f"/save {file}", f"/save {tmp_path / 'none' / 'a.json'}", files=[clip])
    assert file.read_text() == "mine"
    assert err == (
        f"error: {file} is there already: /save another name, or remove it\n"
        f"error: cannot write {tmp_path / 'none' / 'a.json'}: No such file or directory\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["clip.wav", "mine.txt", "model.gguf", "mmproj-model.gguf"]
    )


def test_a_recording_is_saved_beside(talk, monkeypatch, make_tone, tmp_path):
    from mata_cpp import Audio
    from mata_cpp.audio import microphone

    monkeypatch.setattr(microphone, "check", lambda: None)
    monkeypatch.setattr(
        microphone, "record", lambda seconds, **_: Audio((make_tone(1.0, 44100), 44100), name="<microphone>")
    )
    file = tmp_path / "talk.json"
    _, err = talk("/record 1", "Q?", "/record 1", f"/save {file}", f"/save {file}")
    assert f"saved in {file} (the recording in talk.clip1.wav): 1 question, 2 clips\n" in err
    assert err.endswith(f"saved in {file}: 1 question, 2 clips\n")
    out, err = talk(f"/load {file}", "Q?", script=count)
    assert out == "2 clips, 2 questions\n"


def change(record, *keys, value):
    *path, last = keys
    for key in path:
        record = record[key]
    record[last] = value


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("format",), "other", "FILE is no saved conversation: /save FILE writes one"),
        (("version",), 2, "FILE is of version 2 of the format, and this program reads 1"),
        (("messages",), {}, "FILE: messages must be a list, not {}"),
        (("messages", 0), 5, "FILE: message 1 must be an object, not 5"),
        (("messages", 0, "role"), "tool", "FILE: message 1: role must be one of system, user, assistant, not 'tool'"),
        (("messages", 0, "text"), None, "FILE: message 1: text must be a text, not None"),
        (("messages", 1, "role"), "user", "FILE: questions and answers must take turns: message 2 must be of role "),
        (("messages", 0, "clips", 0, "path"), "", "FILE: message 1: path must name a file, not ''"),
        (("messages", 0, "clips", 0, "path"), "/none.wav", "no such file: /none.wav, which the conversation is about"),
        (("messages", 0, "clips", 0, "channel"), 1.5, "FILE: message 1: channel must be a number or a text, not 1.5"),
        (("messages", 0, "clips", 0, "content_id"), "0", "CLIP is not the sound that the conversation is about"),
        (("settings",), [], "FILE: settings must be an object, not []"),
        (("settings", "temperature"), -1, "FILE: settings: temperature"),
        (("settings", "top_k"), "x", "FILE: settings: top_k must be a whole number"),
        (("settings", "secret"), 1, "FILE: settings: unknown setting 'secret'"),
        (("settings", "mata"), {"alpha": "x"}, "FILE: settings: alpha must be a number, not 'x'"),
        (("settings", "mata"), {"beta": 1}, "FILE: settings: mata must have alpha, layers, mode, focus"),
        (("settings", "mata", "layers"), "0:99", "FILE: settings: layers 0:99 reach outside this model"),
        (("settings", "mata", "layers"), {"a": 1}, "FILE: settings: "),
        (("settings", "system"), 5, "FILE: settings: system must be a text, not 5"),
        (("settings", "max_tokens"), 0, "FILE: settings: max_tokens must be a whole number"),
        (("settings", "json_schema"), "x", "FILE: settings: json_schema is not valid JSON"),
    ],
)
def test_what_is_wrong_with_a_saved_conversation(talk, clip, tmp_path, keys, value, message):
    file = tmp_path / "talk.json"
    talk("Q1?", f"/save {file}", files=[clip])
    record = json.loads(file.read_text())
    change(record, *keys, value=value)
    file.write_text(json.dumps(record))
    out, err = talk("Before?", f"/load {file}", "After?", "/set temperature", script=count)
    assert out == "0 clips, 1 questions\n0 clips, 2 questions\n"  # the conversation goes on as it was
    lines = err.splitlines()
    assert len(lines) == 2 and lines[1] == "temperature 0", err
    assert lines[0].startswith(f"error: {message.replace('FILE', str(file), 1).replace('CLIP', str(clip))}")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"5", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}'])
def test_what_is_no_saved_conversation(talk, tmp_path, data):
    file = tmp_path / "talk.json"
    file.write_bytes(data)
    out, err = talk(f"/load {file}", "Q?")
    assert out == "rain\n" and err.startswith(f"error: {file} is no saved conversation: ") and err.count("\n") == 1


def test_a_folder_is_no_saved_conversation(talk, tmp_path):
    assert talk(f"/load {tmp_path}")[1] == f"error: cannot read {tmp_path}: Is a directory\n"


def test_a_changed_file_is_noticed(talk, sounds, tmp_path):
    file = tmp_path / "talk.json"
    talk("Q1?", f"/save {file}", files=[sounds[0]])
    os.replace(sounds[1], sounds[0])
    message = f"error: {sounds[0]} is not the sound that the conversation is about: it was changed\n"
    assert talk(f"/load {file}")[1] == message


def test_facts_are_left_out_with_quiet(run, clip, tmp_path):
    lines = ["/set temperature 1", f"/save {tmp_path / 'a.json'}", "/drop", "/mata 0.2", "/set temperature", "/mata"]
    status, out, err = run("-q", clip, input="\n".join(lines))
    assert (status, out, err) == (
        0,
        "",
        "temperature 1\nMATA on (alpha 0.2, layers 10:21 of 30, mode scale)\n",
    )


def test_the_channel_holds_for_later_clips(talk, run, make_file, make_tone, tmp_path):
    path = tmp_path / "stereo.wav"
    path.write_bytes(make_file(make_tone(channels=2)))
    status, _, err = run("--channel", "3", input=f"/audio {path}\n")
    assert status == 0 and "error: " in err and "channel" in err
