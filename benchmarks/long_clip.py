"""The memory that a long recording takes above the loaded model, and what happens to a question about it.

    python -m benchmarks.long_clip [--minutes 60] [--rate 48000] [--model NAME]

Makes a WAV file of noise, decodes it, asks about the whole of it, and about its first windows of 30 s.  Prints peak
memory (RSS) above that of the model after a first question.
"""

from __future__ import annotations

import itertools
import resource
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import soundfile

from mata_cpp import Audio, AudioModel, ContextFullError

QUESTION = "What is it?"


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def write_noise(path: Path, minutes: int, rate: int) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write((0.1 * rng.standard_normal(60 * rate)).astype(np.float32))


@click.command(context_settings={"show_default": True})
@click.option("--minutes", default=60)
@click.option("--rate", default=48000, help="Of the file, in Hz.")
@click.option("--model", default="tiny")
def main(minutes: int, rate: int, model: str) -> None:
    with tempfile.TemporaryDirectory() as folder, AudioModel(model) as loaded:
        path = Path(folder) / "long.wav"
        write_noise(path, minutes, rate)
        loaded.ask((0.1 * np.random.default_rng(0).standard_normal(16000), 16000), QUESTION, max_tokens=2)
        before = peak_mb()

        def tell(what: str, started: float) -> None:
            print(f"{what}: {time.perf_counter() - started:.2f} s, peak {peak_mb() - before:.0f} MB above the model")

        started = time.perf_counter()
        clip = Audio(path)
        tell(f"decoded {clip.seconds:.0f} s", started)
        started = time.perf_counter()
        try:
            loaded.ask(clip, QUESTION)
        except ContextFullError as error:
            print(error)
        tell("asked about all of it", started)
        started = time.perf_counter()
        for _ in itertools.islice(loaded.ask_windows(clip, QUESTION, max_tokens=3), 4):
            pass
        tell("four windows", started)


if __name__ == "__main__":
    main()
