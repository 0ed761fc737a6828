"""Step 3: many variants of every recording, and scenes made of several, through the frozen part of the encoder.

    python features.py --work WORK [--per-label 80] [--seed 0]

Writes WORK/features-train.npy (all frames, float16) and .json (what each variant is), and the development and test
clips as they are: WORK/features-dev, WORK/features-test.
"""

from __future__ import annotations

import argparse
import collections
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import augment
import labels
import numpy as np
import packages
import torch
from clips import RATE, Clip, Store
from numpy.random import Generator
from whisper import Encoder, log_mel

BATCH = 24
LONGEST = 8.0
QUANTUM = 0.16
"""Lengths of variants are multiples of this, seconds: clips of one length are encoded together."""

Made = tuple[np.ndarray, dict]


def rounded(x: np.ndarray) -> np.ndarray:
    """Cut or padded to a multiple of QUANTUM (mostly cut; the padding is digital silence)."""
    step = int(QUANTUM * RATE)
    n = max(2 * step, round(len(x) / step) * step)
    return x[:n] if len(x) >= n else np.pad(x, (0, n - len(x)))


def place(x: np.ndarray, rng: Generator) -> np.ndarray:
    """The clip as someone may have cut it: with silence or noise before and after, or neither."""
    if rng.random() < 0.5 or len(x) > 6 * RATE:
        return x
    before, after = (int(rng.uniform(0, limit) * RATE) for limit in (0.6, 2.0))
    return np.pad(x, (before, after))


def sound(clip: Clip, x: np.ndarray, ambience: Callable[[], np.ndarray], rng: Generator) -> Made:
    x = augment.crop(x, rng.uniform(1.5, 6.0), rng)
    if len(x) < 1.2 * RATE and rng.random() < 0.4:
        x = augment.repeat(x, rng)
    x = place(x, rng)
    if rng.random() < 0.12:
        x = augment.mix(x, ambience(), rng.uniform(14, 28))
    return augment.vary(x, rng), {"sound": clip.what["sound"]}


def short(x: np.ndarray, seconds: float) -> np.ndarray:
    """The loudest beginning of an event, faded out, level 1."""
    n = int(seconds * RATE)
    if len(x) > n:
        hop = RATE // 50
        power = np.array([float(np.square(x[i : i + hop]).mean()) for i in range(0, len(x) - hop, hop)])
        onset = int(np.argmax(power)) * hop
        x = x[max(0, onset - RATE // 20) :][:n]
    x = x.copy()
    fade = min(len(x), RATE // 50)
    x[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return x / max(1e-4, float(np.abs(x).max()))


def beep(rng: Generator, hertz: float, seconds: float) -> np.ndarray:
    """A synthetic tone: a sine, a buzz or a struck bar."""
    t = np.arange(int(seconds * RATE)) / RATE
    shape = rng.integers(0, 4)
    partials = {0: [1], 1: [1, 0.5, 0.3, 0.2], 2: [1, 0, 0.4, 0, 0.2], 3: [1, 0.3]}[int(shape)]
    x = sum(level * np.sin(2 * np.pi * hertz * (i + 1) * t) for i, level in enumerate(partials))
    x = x * (np.exp(-t * rng.uniform(3, 9)) if shape == 3 else 1)
    edge = min(len(t) // 4, RATE // 100)
    x[:edge] *= np.linspace(0, 1, edge)
    x[-edge:] *= np.linspace(1, 0, edge)
    return (x / np.abs(x).max()).astype(np.float32)


COUNTABLE = (
    "dog barking|cow mooing|sheep bleating|goat bleating|rooster crowing|duck quacking|goose honking|crow cawing|cat meowing|"
    "person sneezing|person coughing|gunshot|door|hammering|chopping wood|swords clashing|glass breaking|coins|"
    "piano|guitar|drums|xylophone|bells|trumpet|cymbal|explosion|snapping fingers|screaming|frog croaking|mining"
).split("|")
DISTINCT = (
    "dog barking|cow mooing|sheep bleating|rooster crowing|duck quacking|cat meowing|horse neighing|wolf howling|elephant trumpeting|"
    "birds chirping|crickets|baby crying|person sneezing|laughing|footsteps|applause|chainsaw|helicopter|car engine|train|rain|"
    "thunder|sea waves|fire crackling|clock ticking|telephone ringing|church bells|glass breaking|explosion|gunshot|swords clashing|"
    "piano|guitar|violin|trumpet|flute|drums|organ|speech"
).split("|")


class Scenes:
    """Scenes made of several events; pool: label -> clips that may be used."""

    def __init__(self, store: Callable[[Clip], np.ndarray], pool: dict[str, list[Clip]], rng: Generator) -> None:
        self.audio, self.pool, self.rng = store, pool, rng

    def event(self, label: str, seconds: float) -> np.ndarray:
        clips = self.pool[label]
        return short(self.audio(clips[int(self.rng.integers(len(clips)))]), seconds)

    def count(self) -> Made:
        rng, n = self.rng, int(self.rng.integers(1, 6))
        if rng.random() < 0.35:
            label, one = "beep", beep(rng, float(rng.uniform(250, 1800)), float(rng.uniform(0.12, 0.4)))
        else:
            label = str(rng.choice([name for name in COUNTABLE if self.pool.get(name)]))
            one = self.event(label, float(rng.uniform(0.25, 0.55)))
        gap, jitter = rng.uniform(0.28, 0.6), rng.uniform(0, 0.12)
        parts = [np.zeros(int(rng.uniform(0.05, 0.5) * RATE), np.float32)]
        for i in range(n):
            parts.append(one * rng.uniform(0.8, 1))
            if i + 1 < n:
                parts.append(np.zeros(int((gap + rng.uniform(-jitter, jitter)) * RATE), np.float32))
        parts.append(np.zeros(int(rng.uniform(0.1, 0.9) * RATE), np.float32))
        return augment.vary(np.concatenate(parts), rng, gentle=True), {"count": n, "of": label}

    def order(self) -> Made:
        rng = self.rng
        names = [name for name in DISTINCT if self.pool.get(name)]
        while True:
            first, second = (str(name) for name in rng.choice(names, 2, replace=False))
            if second not in labels.close(first):
                break
        pause = np.zeros(int(rng.uniform(0.05, 0.5) * RATE), np.float32)
        parts = []
        for name in (first, second):
            x = augment.crop(self.audio(self.pool[name][int(rng.integers(len(self.pool[name])))]), rng.uniform(1, 2.2), rng)
            parts.append(x / max(1e-4, float(np.sqrt(np.square(x).mean()))) * 0.1)
        x = np.clip(np.concatenate([parts[0], pause, parts[1]]), -1, 1)
        return augment.vary(x, rng, gentle=True), {"first": first, "second": second}

    def pitch(self) -> Made:
        rng, up = self.rng, bool(self.rng.integers(2))
        low = float(rng.uniform(180, 700))
        high = low * 2 ** (rng.uniform(4, 16) / 12)
        shape = np.random.default_rng(int(rng.integers(1 << 30)))
        state, seconds = shape.bit_generator.state, float(rng.uniform(0.35, 0.8))
        parts = []
        for hertz in (low, high) if up else (high, low):
            shape.bit_generator.state = state
            parts += [beep(shape, hertz, seconds), np.zeros(int(rng.uniform(0.05, 0.25) * RATE), np.float32)]
        return augment.vary(np.concatenate(parts), rng, gentle=True, changes_speed=False), {"pitch": "up" if up else "down"}

    def loudness(self) -> Made:
        rng, up = self.rng, bool(self.rng.integers(2))
        label = str(rng.choice([name for name in COUNTABLE if self.pool.get(name)]))
        one, pause = self.event(label, 0.6), np.zeros(int(rng.uniform(0.2, 0.5) * RATE), np.float32)
        n, levels = int(rng.integers(2, 5)), 10 ** (-rng.uniform(10, 20) / 20)
        steps = np.geomspace(levels, 1, n) if up else np.geomspace(1, levels, n)
        x = np.concatenate([part for step in steps for part in (one * step, pause)])
        return augment.vary(x, rng, gentle=True), {"loudness": "up" if up else "down"}

    def tempo(self) -> Made:
        rng, up = self.rng, bool(self.rng.integers(2))
        label = str(rng.choice([name for name in COUNTABLE if self.pool.get(name)]))
        one = self.event(label, 0.15) if rng.random() < 0.6 else beep(rng, float(rng.uniform(300, 1500)), 0.1)
        n, slow = int(rng.integers(6, 10)), float(rng.uniform(0.5, 0.8))
        gaps = np.geomspace(slow, slow / rng.uniform(3, 5), n) if up else np.geomspace(slow / rng.uniform(3, 5), slow, n)
        x = np.zeros(int((gaps.sum() + 0.4) * RATE), np.float32)
        for at in np.concatenate([[0], np.cumsum(gaps)[:-1]]):
            start = int(at * RATE)
            x[start : start + len(one)] += one[: len(x) - start]
        return augment.vary(x, rng, gentle=True, changes_speed=False), {"tempo": "up" if up else "down"}


def scenes(store: Callable[[Clip], np.ndarray], clips: list[Clip], counts: dict[str, int], rng: Generator) -> Iterator[Made]:
    pool = collections.defaultdict(list)
    for clip in clips:
        if "sound" in clip.what:
            pool[clip.what["sound"]].append(clip)
        elif "language" in clip.what:
            pool["speech"].append(clip)
    maker = Scenes(store, pool, rng)
    for name, n in counts.items():
        for _ in range(n):
            yield getattr(maker, name)()


def training(items: list[tuple[Store, Clip]], per_label: int, rng: Generator) -> Iterator[Made]:
    """All training variants.  Rare labels get more variants of each recording, at most 30."""
    where = {id(clip): store for store, clip in items}

    def audio(clip: Clip) -> np.ndarray:
        return where[id(clip)].audio(clip)

    clips = [clip for _, clip in items if clip.use == "train"]
    by_label = collections.defaultdict(list)
    for clip in clips:
        if "sound" in clip.what:
            by_label[clip.what["sound"]].append(clip)
    ambient = [clip for name in ("wind", "rain", "birds chirping", "traffic", "crowd") for clip in by_label[name]]

    def ambience() -> np.ndarray:
        return augment.crop(audio(ambient[int(rng.integers(len(ambient)))]), 6, rng)

    for label, group in by_label.items():
        want = per_label * (2 if len(group) >= 30 else 1)
        chosen = [group[int(i)] for i in rng.permutation(len(group))]
        if labels.KIND[label] != "musical instrument":
            chosen.sort(key=lambda clip: "soundfont" in clip.source)  # recordings first
        each = min(30, max(1, round(want / len(chosen))))
        for clip in chosen[:want]:
            for _ in range(each):
                yield sound(clip, audio(clip), ambience, rng)
    digits = [clip for clip in clips if "digit" in clip.what]
    for i in rng.permutation(len(digits))[: per_label * 16]:
        clip = digits[int(i)]
        yield augment.vary(place(audio(clip), rng), rng), {"digit": clip.what["digit"], "language": "English"}
    spoken = [clip for clip in clips if "language" in clip.what]
    foreign = [clip for clip in spoken if clip.what["text"] is None]
    phrases = [clip for clip in spoken if clip.what["text"] is not None]
    for group, n in ((foreign, per_label * 14), (phrases, per_label * 24)):
        for i in rng.permutation(len(group))[:n]:
            clip = group[int(i)]
            x = audio(clip)
            if clip.what["text"] is None:
                x = augment.crop(x, 4, rng)
            elif len(x) > LONGEST * RATE:
                continue
            yield augment.vary(place(x, rng), rng), dict(clip.what)
    counts = {"count": 16, "order": 16, "pitch": 9, "loudness": 6, "tempo": 6}
    yield from scenes(audio, clips, {name: n * per_label for name, n in counts.items()}, rng)


def holding(items: list[tuple[Store, Clip]], use: str, rng: Generator) -> Iterator[Made]:
    """The held-out clips as they are (at most LONGEST s), and scenes made of them."""
    where = {id(clip): store for store, clip in items}
    clips = [clip for _, clip in items if clip.use == use]
    for clip in clips:
        yield where[id(clip)].audio(clip)[: int(LONGEST * RATE)], {**clip.what, "source": clip.source}
    counts = {"count": 100, "order": 100, "pitch": 60, "loudness": 40, "tempo": 40}
    yield from scenes(lambda clip: where[id(clip)].audio(clip), clips, counts, rng)


def write(path: Path, made: Iterator[Made], encoder: Encoder) -> None:
    frames: list[np.ndarray] = []
    about: list[dict] = []
    waiting: dict[int, list[tuple[torch.Tensor, dict]]] = collections.defaultdict(list)
    begun = time.monotonic()

    def flush(group: list[tuple[torch.Tensor, dict]]) -> None:
        for features, (_, what) in zip(encoder.before_last([mel for mel, _ in group]), group, strict=True):
            frames.append(features.to(torch.float16).numpy())
            about.append({**what, "frames": len(features)})
            if len(about) % 1000 == 0:
                print(path.name, len(about), f"{time.monotonic() - begun:.0f} s", flush=True)
        group.clear()

    for samples, what in made:
        x = samples if "source" in what else rounded(samples[: int(LONGEST * RATE)])
        mel = log_mel(x)
        group = waiting[mel.shape[1]]
        group.append((mel, what))
        if len(group) * mel.shape[1] >= BATCH * 200:
            flush(group)
    for group in waiting.values():
        if group:
            flush(group)
    np.save(path.with_suffix(".npy"), np.concatenate(frames))
    path.with_suffix(".json").write_text(json.dumps(about))
    print(path.name, len(about), f"{time.monotonic() - begun:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--per-label", type=int, default=80, help="variants of each label, about")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("train", "dev", "test"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work: Path = arguments.work
    stores = [Store.load(work / name) for name in ("recordings", "rendered", "spoken")]
    items = [(store, clip) for store in stores for clip in store.clips]
    encoder = Encoder(packages.whisper_file(work / "wheels")).eval()
    makers = {
        "dev": lambda rng: holding(items, "dev", rng),
        "test": lambda rng: holding(items, "test", rng),
        "train": lambda rng: training(items, arguments.per_label, rng),
    }
    for index, (use, maker) in enumerate(makers.items()):
        if arguments.only in (None, use):
            write(work / f"features-{use}", maker(np.random.default_rng((arguments.seed, index))), encoder)


if __name__ == "__main__":
    main()
