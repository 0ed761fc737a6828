"""mata-chat --every, on the stand-in."""

import json

import pytest
from cli_fixtures import QUESTION


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
