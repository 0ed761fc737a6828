"""mata-eval on the stand-in: runs, reports, and runs that are killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from mata_cpp.cli.eval import cli

TESTS = Path(__file__).parent.parent
WORDS = ("rain", "dog", "cat", "bell")
ON_THE_STAND_IN = """
import sys, time
sys.path[:0] = sys.argv.pop(1).split(":")
delay = float(sys.argv.pop(1))
import chat_fixtures, mata_cpp
core = mata_cpp._core = sys.modules["mata_cpp._core"] = chat_fixtures._load_fake()
core.OPTIONS["slow"] = lambda: time.sleep(delay)
from mata_cpp.cli.eval import main
main()
"""


@pytest.fixture
def table(tmp_path, make_tone, make_file):
    """make(count) -> a table of questions about different tones."""

    def make(count):
        path = tmp_path / "questions.csv"
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "audio", "question", "choices", "answer", "room"])
            for number in range(count):
                name = f"{number:03}.wav"
                (tmp_path / name).write_bytes(make_file(make_tone(0.2, hertz=200 + 10 * number)))
                answer = WORDS[number % 3]
                writer.writerow(
                    [f"q{number:03}", name, "What sound is this?", "|".join(WORDS), answer, "ab"[number % 2]]
                )
        return path

    return make


@pytest.fixture
def run(fake, fake_model, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)

    def call(*words, **options):
        fake.OPTIONS.update(options)
        model = ["--model", str(fake_model)] if words[0] in ("run", "calibrate") else []
        result = CliRunner().invoke(cli, [*map(str, words), *model], prog_name="mata-eval")
        return result.exit_code, result.stdout, result.stderr

    return call


def test_a_run_and_its_report(run, table, tmp_path):
    path = table(6)
    status, out, err = run(
        "run", "table", "--data", path, "--method", "generate", "--setting", "off", "--setting", "alpha=0.2"
    )
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "table: model, generate"
    rows = {line.split()[0]: line.split() for line in out.splitlines()[4:]}
    assert rows["off"][1:3] == ["6", "33.3"] and rows["alpha=0.2"][1:3] == ["6", "33.3"]  # it always says rain
    log = tmp_path / "table.jsonl"
    assert run("report", log)[1] == out
    again = run("run", "table", "--data", path, "--method", "generate", "--setting", "off", "--setting", "alpha=0.2")
    assert again == (0, out, "")
    by = run("report", log, "--by", "room")[1]
    assert "off, plain, by room" in by
    found = json.loads(run("report", log, "--json")[1])
    assert found["rows"][0]["right"] == 2 and found["rows"][0]["by"]["room"]["a"]["n"] == 3
    assert found["rows"][1]["compared"]["with"] == "off"


def test_the_page(run, table, tmp_path):
    pytest.importorskip("matplotlib")
    words = [
        "run",
        "table",
        "--data",
        table(4),
        "--setting",
        "off",
        "--grid",
        "alpha=0.1,0.2",
        "--grid",
        "layers=0:10,10:20",
    ]
    assert run(*words)[0] == 0
    page = tmp_path / "report.html"
    assert run("report", tmp_path / "table.jsonl", "--html", page)[0] == 0
    text = page.read_text()
    assert text.count("<svg") == 3 and "alpha=0.2 layers=10:20" in text
    for elsewhere in ("http://", "https://", "<script", "<link"):
        assert elsewhere not in text.replace("http://www.w3.org", "")  # the names of SVG's dialects


def test_predictions(run, tmp_path, make_tone, make_file):
    (tmp_path / "a.wav").write_bytes(make_file(make_tone()))
    entry = {"id": "1", "audio_id": "./a.wav", "question": "?", "choices": ["rain", "dog"], "answer": "rain"}
    entry |= {"task": "sound", "difficulty": "easy", "sub-category": "Counting"}
    data = tmp_path / "mmau.json"
    data.write_text(json.dumps([entry]))
    assert run("run", "mmau", "--data", data, "--method", "generate")[0] == 0
    status, out, _ = run("predictions", "mmau.jsonl", "--data", data, "--out", "said.json")
    assert status == 0 and "Total Accuracy: 100.00% over 1 samples" in out
    assert json.loads((tmp_path / "said.json").read_text())[0]["model_output"] == "rain"


def test_shards(run, table, tmp_path):
    path = table(7)
    whole = run("run", "table", "--data", path, "--out", "whole.jsonl")[1]
    for shard in ("1/2", "2/2"):
        assert run("run", "table", "--data", path, "--out", f"{shard[0]}.jsonl", "--shard", shard)[0] == 0
    assert run("merge", "1.jsonl", "2.jsonl", "--out", "both.jsonl") == (0, "both.jsonl: 14 answers\n", "")
    assert run("report", "both.jsonl")[1] == whole


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (["run", "tabel", "--data", "q.csv"], 2, "there is no data set 'tabel'"),
        (["run", "table", "--data", "none.csv"], 1, "cannot read none.csv: No such file"),
        (["run", "table", "--data", "q.csv", "--setting", "loud"], 2, "not 'loud'"),
        (["run", "table", "--data", "q.csv", "--form", "mmau"], 2, "a prompt form of choose is one of listed"),
        (["run", "table", "--data", "q.csv", "--shard", "9"], 2, "a shard is NUMBER/OF"),
        (["run", "table", "--data", "q.csv", "--column", "x"], 2, "--column takes NAME=COLUMN"),
        (["run", "table", "--data", "q.csv", "--server", "http://127.0.0.1:1"], 2, "needs --method generate"),
        (["report", "none.jsonl"], 1, "cannot read none.jsonl"),
        (["report", "q.csv"], 1, "not a line of a log"),
    ],
)
def test_what_is_wrong_is_one_line(run, table, tmp_path, words, status, problem):
    table(2).rename(tmp_path / "q.csv")
    found, out, err = run(*words)
    assert (found, out) == (status, "") and problem in err and err.count("\n") == 1


def test_a_clip_that_is_broken_is_an_answer_that_is_missing(run, table, tmp_path):
    path = table(6)
    (tmp_path / "002.wav").write_bytes(b"no sound at all")
    status, out, err = run("run", "table", "--data", path)
    assert status == 0 and "2 without an answer; --retry asks again" in err
    line = next(line for line in out.splitlines() if line.startswith("off"))
    assert line.split()[1] == "6" and line.split()[7] == "1"


def test_calibrate(run, table, tmp_path):
    table(4)
    status, out, err = run("calibrate", "--audio", tmp_path, "--question", "What?", "--alpha", "0.1", "--out", "m.json")
    assert status == 0 and out.splitlines()[-1].startswith("raises attention most surely: alpha=0.1")
    assert set(json.loads((tmp_path / "m.json").read_text())) == {"alpha", "layers", "mode", "focus"}
    labels = tmp_path / "labels.csv"
    labels.write_text("audio,label\n" + "".join(f"{n:03}.wav,{WORDS[n % 2]}\n" for n in range(4)))
    status, out, _ = run("calibrate", "--audio", tmp_path, "--question", "What?", "--labels", labels, "--alpha", "0.1")
    assert status == 0 and "on the other half: " in out


def test_misleading(run, table, tmp_path):
    table(8)
    labels = tmp_path / "labels.csv"
    halves = ("development", "test")
    lines = "".join(f"{n:03}.wav,{WORDS[n % 4]},{halves[n % 2]}\n" for n in range(8))
    labels.write_text("audio,label,half\n" + lines)
    assert run("misleading", labels, "--out", "made", "--noise", "clean", "--noise", "0") == (
        *(0, "made/questions.csv: 32 questions about 8 clips\n", ""),
    )
    with open(tmp_path / "made" / "questions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["lure"] != row["answer"] and row["lure"] in row["choices"].split("|") for row in rows)
    assert all((row["kind"] == "misleading") == (row["lure"] in row["question"]) for row in rows)
    before = (tmp_path / "made" / "questions.csv").read_bytes()
    run("misleading", labels, "--out", "again", "--noise", "clean", "--noise", "0")
    assert (tmp_path / "again" / "questions.csv").read_bytes() == before
    status, out, _ = run(
        "run", "table", "--data", "made/questions.csv", "--setting", "off", "--setting", "contrast=text"
    )
    assert status == 0 and "off contrast=text" in out


def test_what_is_known_is_not_asked_again(run, table, tmp_path, fake):
    path = table(4)
    words = ["run", "table", "--data", path, "--method", "generate", "--cache", "known.sqlite", "--setting", "off"]
    first = run(*words, "--out", "1.jsonl")
    assert first[2] == "0 answers were known (known.sqlite)\n"
    other = tmp_path / "other.csv"
    other.write_text(path.read_text().replace("q00", "name"))  # the same questions under other names
    words[3] = other
    second = run(*words, "--out", "2.jsonl", "--setting", "alpha=0.1")
    assert second[2] == "4 answers were known (known.sqlite)\n"
    row = first[1].splitlines()[4].split()[:4]
    assert second[1].splitlines()[4].split()[:4] == row
    (tmp_path / "bad.sqlite").write_text("no database " * 100)
    assert "cannot be used as a cache" in run(*words, "--out", "3.jsonl", "--cache", "bad.sqlite")[2]


# Killed ----------------------------------------------------------------------------------------


def killed(table, fake_model, tmp_path, count, moments, delay):
    """The report of a run that was killed at these seconds after its first line, and of one that was not."""
    path = table(count)
    words = [
        "run",
        "table",
        "--data",
        str(path),
        "--method",
        "generate",
        "--model",
        str(fake_model),
        "--setting",
        "off",
    ]
    words += ["--setting", "alpha=0.2", "--max-tokens", "4"]
    python = [sys.executable, "-c", ON_THE_STAND_IN, f"{TESTS}:{TESTS.parent}"]
    log = tmp_path / "killed.jsonl"
    for moment in moments:
        before = log.stat().st_size if log.exists() else 0
        with subprocess.Popen([*python, str(delay), *words, "--out", str(log)], stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while (log.stat().st_size if log.exists() else 0) <= before and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(moment)
            os.kill(process.pid, signal.SIGKILL)
    ended = subprocess.run([*python, "0", *words, "--out", str(log)], capture_output=True, text=True, check=True)
    whole = tmp_path / "whole.jsonl"
    straight = subprocess.run([*python, "0", *words, "--out", str(whole)], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    places = [(record["item"], record["setting"]) for record in records]
    assert len(places) == len(set(places)) == 2 * count
    return ended.stdout, straight.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_and_gone_on(table, fake_model, tmp_path):
    ended, straight = killed(table, fake_model, tmp_path, 24, (0.0, 0.03, 0.11), 0.004)
    assert ended == straight


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_twenty_times(table, fake_model, tmp_path):
    moments = [0.013 * number % 0.4 for number in range(20)]
    ended, straight = killed(table, fake_model, tmp_path, 300, moments, 0.002)
    assert ended == straight
