"""How often the default model listens at the right time: a recorded sound at a known place in faint noise.

    python -m benchmarks.listening FOLDER [--fold 5] [--skip 3] [--clips 3]

FOLDER as for benchmarks.clips.  Of each recording of a short sound the loudest 0.8 s are put at 0.7 s and at 3.1 s into
5 s of noise, 54 dB below.  A hit: the audio token with the greatest weight, in the row that predicts the answer's first
token, has its middle between 0.1 s before the sound and 0.1 s after it.  Chance is about 0.2.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from benchmarks.clips import NAMES
from mata_cpp import Audio, AudioChat, Reading

RATE, SECONDS, SOUND = 16000, 5.0, 0.8
PLACES = (0.7, 3.1)
LABELS = ("dog", "rooster", "sneezing", "crying_baby")


def placed(path: Path) -> Iterator[tuple[float, Audio]]:
    """(start of the sound in seconds, clip)."""
    samples = Audio(path).samples(RATE)
    n = round(SOUND * RATE)
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    at = int(np.argmax(energy[n:] - energy[:-n]))
    sound = samples[at : at + n]
    sound = 0.5 * sound / np.abs(sound).max()
    for start in PLACES:
        clip = np.random.default_rng(0).normal(0, 0.001, round(SECONDS * RATE)).astype(np.float32)
        first = round(start * RATE)
        clip[first : first + n] += sound
        yield start, Audio((clip, RATE), name=path.name)


@click.command(help=__doc__.split("\n")[0])
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--fold", default="5", show_default=True)
@click.option("--clips", default=3, show_default=True, help="Of each label.")
@click.option(
    "--skip", default=3, show_default=True, help="The first ones of each label: the layers were chosen on them."
)
@click.option("--layers", multiple=True, default=["auto", "10:21", ":"], show_default=True, help="Averaged layers.")
def main(folder: Path, fold: str, clips: int, skip: int, layers: tuple[str, ...]) -> None:
    with (folder / "clips.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == fold]
    hits = {choice: 0 for choice in layers}
    hits_named = dict(hits)
    total = named = 0
    with AudioChat() as chat:
        for label in LABELS:
            for row in [row for row in rows if row["label"] == label][skip : skip + clips]:
                for start, clip in placed(folder / row["file"]):
                    total += 1
                    right = False
                    for choice in layers:
                        chat.reset()
                        answer = chat.ask(clip, "What sound is this?", max_tokens=8, attention=Reading(average=choice))
                        assert answer.attention is not None
                        peak = answer.attention.clips[0].peak(0)
                        hit = start - 0.1 <= peak <= start + SOUND + 0.1
                        right = answer.text.strip() == NAMES[label]
                        hits[choice] += hit
                        hits_named[choice] += hit and right
                    named += right
    for choice, count in hits.items():
        click.echo(f"layers {choice:6} {count}/{total}, of those named right {hits_named[choice]}/{named}")


if __name__ == "__main__":
    main()
