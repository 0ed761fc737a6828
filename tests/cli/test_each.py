"""mata-chat --each: a line for each file."""

import json

import pytest
from cli_fixtures import QUESTION

START = "model: 3 files, one by one; MATA on (alpha 0.1, layers 10:21 of 30, mode scale)\n"


@pytest.fixture
def files(clip, make_tone, make_file):
    """Three files, of which the second is no sound."""
    paths = [clip.with_name(name) for name in ("a.wav", "b.wav", "c.wav")]
    for path in paths:
        path.write_bytes(make_file(make_tone()))
    paths[1].write_bytes(b"")
    return paths


def test_a_line_for_each_file(run, files):
    status, out, err = run("--each", *files, QUESTION, script=lambda p, m: f"two\nlines {p.count('[audio')}")
    assert (status, out) == (1, f"{files[0]}: two lines 1\n{files[2]}: two lines 1\n")
    assert err == START + f"error: {files[1]} is empty (0 bytes)\n"
    assert run("--each", "-q", files[0], QUESTION) == (0, f"{files[0]}: two lines 1\n", "")


def test_json_lines(run, files):
    status, out, _ = run("--each", "--json", *files, QUESTION)
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and [record["file"] for record in records] == [str(files[0]), str(files[2])]
    assert list(records[0])[:3] == ["file", "answer", "model"] and records[0]["answer"] == "rain"


def test_choices_of_each_file(run, files):
    status, out, err = run("--each", "--choices", "cat|dog", *files, QUESTION, script=lambda p, m: "dog")
    assert (status, out) == (1, f"{files[0]}: dog\n{files[2]}: dog\n")
    assert err == START + f"error: {files[1]} is empty (0 bytes)\n"


def test_a_file_that_is_not_there(run, files):
    status, out, err = run("--each", "none.wav", files[0], files[2], QUESTION)
    assert (status, out) == (1, f"{files[0]}: rain\n{files[2]}: rain\n")
    assert err == START + "error: no such file: none.wav\n"


def test_a_failure_names_its_file(run, files, make_file, make_tone):
    files[1].write_bytes(make_file(make_tone(3.0)))
    status, out, err = run("--each", "--focus", "2:3", *files, QUESTION)
    assert (status, out) == (1, f"{files[1]}: rain\n")
    assert [line.split(": ")[:2] for line in err.splitlines()[1:]] == [
        ["error", str(files[0])],
        ["error", str(files[2])],
    ]


def test_a_cut_answer_names_its_file(run, files):
    _, out, err = run("--each", "--max-tokens", "2", files[0], QUESTION)
    assert out == f"{files[0]}: ra\n" and err.endswith(f"note: {files[0]}: cut off after 2 tokens\n")


def test_all_files_may_fail(run, files):
    assert run("-q", "--each", files[1], QUESTION) == (1, "", f"error: {files[1]} is empty (0 bytes)\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["FILE"], "--each needs audio files and a question"),
        (["none.wav"], "--each needs audio files and a question"),
        ([QUESTION], "--each needs audio files and a question"),
        (["-", QUESTION], "--each takes files, not standard input (-) or --mic"),
        (["FILE", "--compare", QUESTION], "--each and --compare exclude each other"),
        (["FILE", "--every", "5", QUESTION], "--each and --every exclude each other"),
    ],
)
def test_usage(run, files, words, message):
    words = [files[0] if word == "FILE" else word for word in words]
    assert run("--each", *words) == (2, "", f"error: {message} (see mata-chat --help)\n")
