"""--contrast of mata-chat, and /set contrast in a conversation, on the stand-in."""

import json

import pytest
from cli_fixtures import QUESTION

from mata_cpp.cli import config


def script(prompt, mata):
    """What the model says with a clip in its prompt, and without."""
    return "dog" if "[audio" in prompt else "cat"


def test_answer(run, clip):
    status, out, err = run(clip, QUESTION, "--contrast", "guidance:1", script=script)
    assert (status, out) == (0, "dog\n")


def test_json(run, clip):
    status, out, _ = run(clip, QUESTION, "--contrast", "silence:0.5", "--json", "-q", script=script)
    assert status == 0
    assert json.loads(out)["contrast"] == {"name": "silence", "strength": 0.5, "cut": 0.0}
    assert "contrast" not in json.loads(run(clip, QUESTION, "--json", "-q")[1])


def test_each(run, clip, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes(clip.read_bytes())
    status, out, _ = run(clip, other, QUESTION, "--each", "--contrast", "noise", "-q", script=script)
    assert (status, out) == (0, f"{clip}: dog\n{other}: dog\n")


def test_every(run, clip):
    status, out, _ = run(clip, QUESTION, "--every", 5, "--contrast", "yesno", "-q", script=script)
    assert (status, out) == (0, "[00:00-00:01] dog\n")


def test_choices(run, clip):
    words = [clip, QUESTION, "--choices", "cat|dog", "--contrast", "guidance:1"]
    status, out, err = run(*words, script=script)
    assert (status, out) == (0, "dog\n")
    assert "shares among the options, by contrast guidance:1:\n" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--contrast", "loud"], "contrast must be one of silence, noise, smooth, yesno, guidance, text, not 'loud'"),
        (["--contrast", "noise:x"], "the strength of contrast noise must be a number, as in noise:1, not 'x'"),
        (["--contrast", "noise:-1"], "strength must lie between 0 and 100, not -1"),
        (["--contrast", "text"], 'contrast text needs the words that mislead: Contrast("text", text="...")'),
        (["--contrast", "noise", "--compare"], "--contrast and --compare exclude each other"),
        (
            ["--contrast", "noise", "--choices", "a|b", "--no-contrast"],
            "--contrast and --no-contrast exclude each other",
        ),
    ],
)
def test_wrong_usage(run, clip, words, message):
    status, out, err = run(clip, QUESTION, *words)
    assert (status, out, err) == (2, "", f"error: {message} (see mata-chat --help)\n")


def test_off(run, clip):
    assert "contrast" not in json.loads(run(clip, QUESTION, "--contrast", "off", "--json", "-q")[1])


@pytest.fixture
def configured(tmp_path, monkeypatch):
    file = tmp_path / "config.toml"
    monkeypatch.delenv(config.IGNORE_VARIABLE)
    monkeypatch.setattr(config, "path", lambda: file)
    return file


def test_configuration_file(run, clip, configured):
    configured.write_text('contrast = "silence:0.5"\n')
    assert json.loads(run(clip, QUESTION, "--json", "-q")[1])["contrast"]["strength"] == 0.5
    assert "contrast" not in json.loads(run(clip, QUESTION, "--contrast", "off", "--json", "-q")[1])
    assert run(clip, QUESTION, "--compare", "-q")[0] == 0
    assert "by likelihood" in run(clip, QUESTION, "--choices", "a|b", "--no-contrast")[2]
    assert "by contrast silence:0.5" in run(clip, QUESTION, "--choices", "a|b")[2]
    configured.write_text('contrast = "loud"\n')
    assert run(clip, QUESTION)[2].endswith(
        "contrast: contrast must be one of silence, noise, smooth, yesno, guidance, text, not 'loud'\n"
    )


def test_in_a_conversation(run, clip, tmp_path):
    saved = tmp_path / "talk.json"
    lines = [
        f"/audio {clip}", "Q?", "/set contrast", "/set contrast guidance:1", "Q?", "/show", "/choices cat|dog Which?",
        "/compare Q?", f"/save {saved}", "/set contrast off", "/set contrast", f"/load {saved}", "/set contrast",
        "/set contrast loud", "/set contrast default", "Q?",
    ]  # fmt: skip
    status, out, err = run(input="\n".join(lines) + "\n", script=script)
    assert status == 0 and out.startswith("dog\ndog\ndog\n") and out.endswith("dog\n")
    assert json.loads(saved.read_text())["settings"]["contrast"] == "guidance:1"
    assert "sampling  greedy, contrast guidance:1\n" in err
    assert "shares among the options, by contrast guidance:1:\n" in err
    shown = [line for line in err.splitlines() if line.startswith("contrast ")]
    assert shown == ["contrast off", "contrast guidance:1", "contrast off", "contrast off", "contrast guidance:1",
                     "contrast off"]  # fmt: skip
    assert "contrast must be one of silence, noise," in err


def test_an_earlier_saved_conversation(run, clip, tmp_path):
    """One that says nothing of a contrast."""
    saved = tmp_path / "talk.json"
    run(input=f"/audio {clip}\nQ?\n/save {saved}\n")
    record = json.loads(saved.read_text())
    del record["settings"]["contrast"]
    saved.write_text(json.dumps(record))
    assert "contrast off\n" in run(input=f"/load {saved}\n/set contrast\n")[2]
