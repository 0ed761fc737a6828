"""Questions that mislead, over sounds in noise: does a model believe what it hears, or what it is told?

From clips with labels it makes questions with four options, asked plainly and with a wrong option named as if it were
heard, each over the clip as it is and with white noise.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import soundfile

from ..audio.clip import Audio
from ..checks import short_name
from ..decoding.contrast.noise import noised
from ..errors import MataError
from .datasets.source import Source

PLAIN = "What sound is this?"
CONTEXT = "The {} in this clip is loud."
MISLEADING = CONTEXT + " What sound is it?"
OPTIONS = 4
RATE = 16000
"""Hz, of the files that are written."""


@dataclass(frozen=True)
class Labelled:
    """A clip and what it holds.  half: "development" or "test"; sources of the two must differ."""

    audio: Path
    label: str
    half: str


@dataclass(frozen=True)
class Question:
    """A row of the table.  lure: the wrong option that a misleading question names; of the plain one over the same clip
    it is the same.  context: the words that mislead.  noise: "clean", or the signal-to-noise ratio, "10 dB"."""

    id: str
    audio: str
    question: str
    choices: str
    answer: str
    kind: str
    noise: str
    half: str
    lure: str
    context: str


def read_labels(table: Path, audio: Path | None) -> list[Labelled]:
    """From a table with the columns audio, label and half; underscores in labels are spaces.

    Raises MataError for a row that cannot be used.
    """
    found = []
    for row in Source(table, audio).rows():
        half = row.text("half")
        if half not in ("development", "test"):
            raise row.fail(f'half must be "development" or "test", not {half!r}')
        (path,) = row.sounds("audio")
        if not isinstance(path, Path):
            raise row.fail("audio must name a file")
        found.append(Labelled(path, row.text("label").replace("_", " "), half))
    labels = {one.label for one in found}
    if len(labels) < OPTIONS:
        raise MataError(f"{short_name(table)} has {len(labels)} labels; {OPTIONS} are needed for {OPTIONS} options")
    return found


def write_set(clips: Sequence[Labelled], folder: Path, noises: Sequence[float | None], seed: int = 0) -> Path:
    """The sounds and questions.csv in folder; the path of the table.  noises: in dB, None for no noise.

    Raises AudioError, MataError.
    """
    table = folder / "questions.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(table, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [one.name for one in fields(Question)], lineterminator="\n")
            writer.writeheader()
            for number, clip in enumerate(clips):
                for question in _questions(number, clip, clips, folder, noises, seed):
                    writer.writerow(asdict(question))
    except OSError as error:
        raise MataError(f"cannot write in {short_name(folder)}: {error.strerror or error}") from None
    return table


def _questions(
    number: int,
    clip: Labelled,
    clips: Sequence[Labelled],
    folder: Path,
    noises: Sequence[float | None],
    seed: int,
) -> Iterator[Question]:
    draw = random.Random(f"{seed} {number}")
    labels = sorted({one.label for one in clips})
    wrong = draw.sample([label for label in labels if label != clip.label], OPTIONS - 1)
    options = [clip.label, *wrong]
    draw.shuffle(options)
    samples = Audio(clip.audio).samples(RATE)
    for noise in noises:
        name = "clean" if noise is None else f"{noise:g} dB"
        file = f"{number:04}-{name.replace(' ', '')}.flac"
        heard = samples if noise is None else noised(samples, noise, seed + number)
        soundfile.write(folder / file, heard, RATE)
        for kind, question in (("plain", PLAIN), ("misleading", MISLEADING.format(wrong[0]))):
            yield Question(
                id=f"{number:04} {name} {kind}",
                audio=file,
                question=question,
                choices="|".join(options),
                answer=clip.label,
                kind=kind,
                noise=name,
                half=clip.half,
                lure=wrong[0],
                context=CONTEXT.format(wrong[0]) if kind == "misleading" else "",
            )
