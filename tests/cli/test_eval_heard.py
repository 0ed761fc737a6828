"""mata-eval on a tiny real model: what is in the files of a data set is what the model hears."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from mata_cpp import Audio, AudioModel, Mata
from mata_cpp.cli.eval import cli
from mata_cpp.evaluate import log as logs

CHOICES = ["the thing", "and", "something"]
LOAD = {"n_ctx": 2048, "n_threads": 1, "cache_type": "f32", "flash_attn": False}
WORDS = ["--ctx", "2048", "--threads", "1", "--cache-type", "f32", "--flash-attn", "off"]


def noise(seed, seconds=0.8, channels=1):
    samples = np.random.default_rng(seed).standard_normal((round(16000 * seconds), channels)) * 0.1
    return samples.astype(np.float32)


@pytest.fixture(params=["llama", "lfm2"])
def name(request):
    return request.param


@pytest.fixture
def sounds(tmp_path, make_file):
    """An MP3 that is called .wav, six channels, floats of 48 kHz, and FLAC."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "mp3.wav").write_bytes(make_file(noise(1), format="MP3"))
    (folder / "six.wav").write_bytes(make_file(noise(2, channels=6)))
    (folder / "float.wav").write_bytes(make_file(noise(3), rate=48000, subtype="FLOAT"))
    (folder / "lossless.wav").write_bytes(make_file(noise(4), format="FLAC"))
    return folder


@pytest.fixture
def run(tiny, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        model = ["--model", tiny.model(name), "--mmproj", tiny.projector(name), *WORDS] if words[0] == "run" else []
        result = CliRunner().invoke(cli, [*map(str, words), *map(str, model)], prog_name="mata-eval")
        return result.exit_code, result.stdout, result.stderr

    return call


def write_data(tmp_path, sounds):
    path = tmp_path / "q.jsonl"
    entries = [
        {"audio": file.name, "question": "Which?", "choices": CHOICES, "answer": CHOICES[number % 3], "id": file.stem}
        for number, file in enumerate(sorted(sounds.iterdir()))
    ]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_every_file_is_heard_as_it_is(tiny, name, run, tmp_path, sounds):
    data = write_data(tmp_path, sounds)
    settings = ["--setting", "off", "--setting", "alpha=1.5 layers=: mode=abs"]
    assert run("run", "table", "--data", data, "--audio", sounds, *settings)[0] == 0
    _, records = logs.read(tmp_path / "table.jsonl")
    assert len(records) == 8 and not any(record.error for record in records.values())
    with AudioModel(tiny.model(name), mmproj=tiny.projector(name), mata=None, **LOAD) as model:
        for record in records.values():
            mata = None if record.setting == "off" else Mata(1.5, layers=":", mode="abs")
            clip = Audio(sounds / f"{record.item}.wav")
            alone = model.choose(clip, "Which?", CHOICES, mata=mata)
            assert record.scores == pytest.approx(alone.scores, abs=1e-3)
            assert record.raw == alone.text and record.confidence == pytest.approx(alone.confidence, abs=1e-3)
            if mata is not None:
                effect = alone.mata_effect
                assert record.effect == pytest.approx((effect.before, effect.after), abs=2e-5)
    assert len({record.scores for record in records.values()}) == 8  # no two of them sound the same


def test_answers_in_words_and_baselines(tiny, name, run, tmp_path, sounds):
    data = write_data(tmp_path, sounds)
    words = ["--method", "generate", "--max-tokens", "5", "--setting", "off", "--setting", "alpha=1 layers=:"]
    baselines = [word for sound in ("none", "silence", "other") for word in ("--baseline", sound)]
    status, out, _ = run("run", "table", "--data", data, "--audio", sounds, *words, *baselines, "--parallel", "4")
    assert status == 0
    _, records = logs.read(tmp_path / "table.jsonl")
    assert len(records) == 4 * (2 + 3)
    prompt = next(iter(records.values())).prompt
    files = sorted(sounds.iterdir())
    with AudioModel(tiny.model(name), mmproj=tiny.projector(name), mata=None, **LOAD) as model:
        for record in records.values():
            number = [file.stem for file in files].index(record.item)
            mata = None if record.setting == "off" else Mata(1, layers=":")
            if record.sound == "none":
                with model.chat() as chat:
                    assert record.raw == chat.ask(None, prompt, max_tokens=5).text
            elif record.sound != "silence":
                heard = files[number] if record.sound == "clip" else files[(number + 2) % 4]
                assert record.raw == model.ask(heard, prompt, mata=mata, max_tokens=5).text
    assert [line.split("  ")[0].strip() for line in out.splitlines()[4:9]] == [
        *("off", "alpha=1 layers=:", "no audio", "silence instead", "another clip"),
    ]


def test_every_place_of_the_right_answer(name, run, tmp_path, sounds):
    data = write_data(tmp_path, sounds)
    assert run("run", "table", "--data", data, "--audio", sounds, "--setting", "off", "--positions", "0")[0] == 0
    _, records = logs.read(tmp_path / "table.jsonl")
    assert sorted(record.right for record in records.values()) == [0] * 4 + [1] * 4 + [2] * 4
    assert all(record.choices[record.right] == record.answer for record in records.values())
    assert all(sorted(record.choices) == sorted(CHOICES) for record in records.values())


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_and_the_rest(tiny, name, tmp_path, sounds):
    """Status 130 and one line; the same command goes on, to the report of a run that was left alone."""
    entries = [
        {"audio": file.name, "question": f"Which of {number}?", "choices": CHOICES, "answer": "and"}
        for number in range(6)
        for file in sorted(sounds.iterdir())
    ]
    data = tmp_path / "q.json"
    data.write_text(json.dumps(entries))
    command = [sys.executable, "-m", "mata_cpp.cli.eval", "run", "table", "--data", data, "--audio", sounds, *WORDS]
    command += ["--model", tiny.model(name), "--mmproj", tiny.projector(name), "--out"]
    command = [str(word) for word in command]
    log = tmp_path / "log.jsonl"
    with subprocess.Popen([*command, str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while (log.read_text().count("\n") if log.exists() else 0) < 4:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert err.strip() == f"interrupted: the same command goes on from here ({log})"
    kept = log.read_text().count("\n") - 1
    assert 4 <= kept < 2 * len(entries)
    ended = subprocess.run([*command, str(log)], capture_output=True, text=True, check=True)
    straight = subprocess.run([*command, str(tmp_path / "whole.jsonl")], capture_output=True, text=True, check=True)
    assert ended.stdout == straight.stdout
    lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert len(lines) == len({(line["item"], line["setting"]) for line in lines}) == 2 * len(entries)
