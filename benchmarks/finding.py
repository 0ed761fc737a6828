"""Known sounds at known times in ten minutes: what --every and --find make of them.

    python -m benchmarks.finding [--model tiny] [--seconds 600] [--names 5] [--audio DIR]

The sounds are those of examples/, or of a folder of ESC-10 (DIR, dog-5-203128-A.flac, ...), one every 20 to 40 s, over
noise at -60 dB.  --every: of the windows of 30 s that hold sound, how many answers name it.  --find: for each name, how
many of its occurrences lie in a stretch that was found, and how many stretches lie where it is not.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from mata_cpp import Audio, AudioModel

ROOT = Path(__file__).resolve().parents[1]
RATE = 16000
QUESTION = "What sound is this?"
NAMES = {
    "dog": "dog barking",
    "rain": "rain",
    "sea": "sea waves",
    "sea_waves": "sea waves",
    "baby": "baby crying",
    "crying_baby": "baby crying",
    "clock": "clock ticking",
    "clock_tick": "clock ticking",
    "sneeze": "person sneezing",
    "sneezing": "person sneezing",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
    "rooster": "rooster crowing",
    "fire": "fire crackling",
    "crackling_fire": "fire crackling",
}

Event = tuple[float, float, str]


def recording(folder: Path, seconds: float) -> tuple[Audio, list[Event]]:
    """The sound, and (start, end, name) of what is in it."""
    rng = np.random.default_rng(0)
    files = [path for path in sorted(folder.glob("*.flac")) if path.stem.split("-")[0] in NAMES]
    samples = (1e-3 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)
    events: list[Event] = []
    at = 10.0
    while True:
        path = files[int(rng.integers(len(files)))] if len(files) > 20 else files[len(events) % len(files)]
        sound = Audio(path).samples(RATE)
        end = at + len(sound) / RATE
        if end > seconds - 5:
            break
        first = round(at * RATE)
        samples[first : first + len(sound)] += sound
        events.append((at, end, NAMES[path.stem.split("-")[0]]))
        at = end + float(rng.uniform(15, 35))
    return Audio((samples, RATE), name="recording"), events


@click.command(help=__doc__.split("\n")[0])
@click.option("--model", default="tiny", show_default=True)
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--names", default=5, show_default=True, help="So many names are looked for.")
@click.option("--audio", type=click.Path(exists=True, file_okay=False, path_type=Path), default=ROOT / "examples")
def main(model: str, seconds: float, names: int, audio: Path) -> None:
    clip, events = recording(audio, seconds)
    with AudioModel(model) as loaded:
        print(f"{seconds:g} s, {len(events)} sounds, {loaded!r}\n")
        named = heard = 0
        for window in loaded.ask_windows(clip, QUESTION, every=30, max_tokens=16):
            inside = [name for start, end, name in events if start < window.end - 1 and end > window.start + 1]
            if inside:
                heard += 1
                named += any(name in str(window) for name in inside)
        print(f"--every 30: {named} of {heard} windows with a sound name one that is in them\n")
        print("| --find | occurrences | found | missed | stretches where it is not |\n|---|---|---|---|---|")
        total = np.zeros(4, int)
        for name in sorted({event[2] for event in events})[:names]:
            where = [(start, end) for start, end, what in events if what == name]
            stretches = loaded.find(clip, name).stretches
            hits = sum(any(s.start < end and s.end > start for s in stretches) for start, end in where)
            wrong = sum(not any(s.start < end and s.end > start for start, end in where) for s in stretches)
            row = np.array([len(where), hits, len(where) - hits, wrong])
            total += row
            print(f"| {name} | {' | '.join(map(str, row))} |", flush=True)
        print(f"| all | {' | '.join(map(str, total))} |")


if __name__ == "__main__":
    main()
