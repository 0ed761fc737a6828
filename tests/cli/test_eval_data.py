"""mata-eval over data as it is published, on the stand-in."""

import json

import pytest
from click.testing import CliRunner

from mata_cpp.cli.eval import cli
from mata_cpp.evaluate import log as logs

FACTS = {"task": "sound", "difficulty": "easy", "sub-category": "Counting"}


@pytest.fixture
def run(fake, fake_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        model = ["--model", str(fake_model)] if words[0] == "run" else []
        result = CliRunner().invoke(cli, [*map(str, words), *model], prog_name="mata-eval")
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def sound(make_tone, make_file):
    return make_file(make_tone(0.3))


def test_the_hubs_mmau(run, tmp_path, sound):
    """Letters on the choices are none of the prompt's, and are there again for the official scorer."""
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = [
        {
            "instruction": "What?",
            "choices": ["(A) dog", "(B) rain"],
            "answer": ("(B) rain", "(A) dog")[number],
            "context": {"bytes": sound, "path": "x.wav"},
            "other_attributes": json.dumps({"id": f"x{number}", **FACTS}),
        }
        for number in range(2)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "m.parquet")
    assert run("run", "mmau", "--data", "m.parquet", "--setting", "off")[0] == 0
    _, records = logs.read(tmp_path / "mmau.jsonl")
    assert [record.prompt for record in records.values()] == ["What? Choose one: dog, rain."] * 2
    status, out, _ = run("predictions", "mmau.jsonl", "--data", "m.parquet", "--out", "p.json")
    assert status == 0 and out.startswith("p.json: 2 answers\n") and "Total Accuracy: 50.00% over 2 samples" in out
    written = json.loads((tmp_path / "p.json").read_text())
    assert [entry["model_output"] for entry in written] == ["(B) rain"] * 2


def test_choices_that_are_the_same_and_blank_ones(run, tmp_path, sound):
    (tmp_path / "a.wav").write_bytes(sound)
    entry = {"id": "1", "audio_path": "a.wav", "question": "What?", "answer": "rain"}
    sets = [["rain", "dog", "dog"], ["dog", "", "rain"], ["rain", "dog", "rain"]]
    data = tmp_path / "m.jsonl"
    lines = [json.dumps({**entry, "id": str(n), "choices": choices}) for n, choices in enumerate(sets)]
    data.write_text("\n".join(lines))
    for method in ("choose", "likelihood", "generate"):
        status, out, err = run("run", "mmar", "--data", data, "--setting", "off", "--method", method, "--out", method)
        assert (status, err) == (0, "")
        assert next(line for line in out.splitlines() if line.startswith("off")).split()[1:3] == ["3", "100.0"]
    assert run("predictions", "choose", "--data", data, "--out", "p.json")[0] == 0
    assert [entry["choices"] for entry in json.loads((tmp_path / "p.json").read_text())] == sets


def table(tmp_path, sound, count=4):
    (tmp_path / "a.wav").write_bytes(sound)
    data = tmp_path / "q.csv"
    rows = "".join(f"{n},a.wav,What is {n}?,dog|rain,rain\n" for n in range(count))
    data.write_text("id,audio,question,choices,answer\n" + rows)
    return data


def test_retry(run, tmp_path, sound):
    data = table(tmp_path, sound)
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    (sounds / "a.wav").write_bytes(b"nothing")
    words = ["run", "table", "--data", data, "--setting", "off", "--audio", sounds]
    status, out, err = run(*words)
    assert (status, err) == (0, "4 without an answer; --retry asks again, table.jsonl says why\n")
    (sounds / "a.wav").write_bytes(sound)
    assert run(*words) == (0, out, "")
    status, out, err = run(*words, "--retry")
    assert (status, err) == (0, "") and out.splitlines()[4].split()[1:3] == ["4", "100.0"]
    lines = (tmp_path / "table.jsonl").read_text().splitlines()
    assert len(lines) == 9 and sum('"error"' in line for line in lines) == 4  # nothing that was written is changed


def test_where_everything_fails(run, tmp_path, sound):
    data = table(tmp_path, sound, 9)
    (tmp_path / "a.wav").write_bytes(b"nothing")
    status, out, err = run("run", "table", "--data", data)
    assert (status, out) == (1, "") and err.startswith("error: the first 5 questions all failed: ")
    assert err.count("\n") == 1


def test_another_base_and_columns(run, tmp_path, sound):
    data = table(tmp_path, sound)
    assert run("run", "table", "--data", data, "--setting", "off", "--setting", "alpha=0.3")[0] == 0
    status, out, _ = run("report", "table.jsonl", "--base", "alpha=0.3")
    assert status == 0 and "  against alpha=0.3\n" in out
    assert "0 won, 0 lost, p 1.000" in out.splitlines()[4] and "won" not in out.splitlines()[5]
    status, out, err = run("report", "table.jsonl", "--base", "alpha=0.4")
    assert (status, out) == (2, "") and "the log has no setting 'alpha=0.4'" in err
    status, out, err = run("report", "table.jsonl", "--by", "room")
    assert (status, out) == (2, "") and "there is no column room; there are none" in err


def test_a_log_of_another_run(run, tmp_path, sound):
    data = table(tmp_path, sound)
    assert run("run", "table", "--data", data, "--out", "log")[0] == 0
    before = (tmp_path / "log").read_bytes()
    for words, named in (
        (["--method", "likelihood"], "its method is 'choose', not 'likelihood'"),
        (["--column", "question=id"], "its questions_sha256 is '"),
    ):
        status, out, err = run("run", "table", "--data", data, "--out", "log", *words)
        assert (status, out) == (1, "") and named in err and err.count("\n") == 1
    (tmp_path / "model.gguf").write_bytes(b"GGUF another")
    status, _, err = run("run", "table", "--data", data, "--out", "log")
    assert status == 1 and "its model_sha256 is '" in err
    assert (tmp_path / "log").read_bytes() == before
    status, _, err = run("merge", "log", "log", "--out", "log")
    assert status == 1 and err == "error: log is there already\n"


def test_more_of_a_log_that_is_there(run, tmp_path, sound):
    """More questions, settings and forms go into the same log; fewer are shown as they are."""
    data = table(tmp_path, sound, 6)
    for words, count in ((["--limit", "2"], 2), (["--limit", "4"], 4), ([], 6), (["--form", "letters"], 12)):
        assert run("run", "table", "--data", data, "--setting", "off", *words)[0] == 0
        assert len((tmp_path / "table.jsonl").read_text().splitlines()) == 1 + count
    out = run("run", "table", "--data", data, "--setting", "alpha=0.2")[1]
    assert len((tmp_path / "table.jsonl").read_text().splitlines()) == 1 + 18
    assert out.count("prompt: ") == 2 and out.count("\nalpha=0.2 ") == 1


def test_where_the_log_cannot_be(run, tmp_path, sound):
    data = table(tmp_path, sound)
    (tmp_path / "folder").mkdir()
    status, out, err = run("run", "table", "--data", data, "--out", "folder")
    assert (status, out) == (1, "") and err == "error: cannot write folder: Is a directory\n"
    status, out, err = run("predictions", "q.csv", "--data", data, "--out", "folder")
    assert status == 1 and "not a line of a log" in err
