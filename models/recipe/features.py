"""Step 4: many variants of every recording, and scenes made of several, as mel spectrograms.

    python features.py --work WORK [--per-label 80] [--seed 0]

Writes WORK/features-train.npy (log10 of the mel powers of all frames, float16), features-train-events.npy (YAMNet's
rows for all patches, float16) and features-train.json (what each variant is), and features-dev* of the development
recordings as they are and of scenes made of them.  For phrases also when each word begins.  Needs the command flite.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alike
import augment
import labels
import numpy as np
import packages
import phrases
import render
import sources
import timing
import torch
import yamnet
from clips import RATE, Clip, Store, everything
from numpy.random import Generator
from silence import events_between, silences
from whisper import Encoder, log_mel

LONGEST = 14.0
QUANTUM = 0.16
"""Lengths of variants are multiples of this, seconds, so that batches have little padding."""

Made = tuple[np.ndarray, dict]
"""Samples, and what they are."""
Described = tuple[np.ndarray, np.ndarray, dict]
"""Log-mel frames [L, 80], YAMNet's rows [N, 1024], and what the clip is with their numbers, for phrases with the first
frame of each word.
"""


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
    x = augment.crop(x, rng.uniform(1.5, 6.0) if rng.random() < 0.9 else rng.uniform(6.0, 13.0), rng)
    if len(x) < 1.2 * RATE and rng.random() < 0.4:
        x = augment.repeat(x, rng)
    if labels.KIND[clip.what["sound"]] == "musical instrument" and rng.random() < 0.5:
        x = augment.speed(x, rng.uniform(0.72, 1.4))  # as small soundfonts play one sample at many heights
    x = place(x, rng)
    if rng.random() < 0.12:
        x = augment.mix(x, ambience(), rng.uniform(14, 28))
    return augment.vary(x, rng), {"sound": clip.what["sound"], "source": clip.source}


def spliced(clips: list[Clip], audio: Callable[[Clip], np.ndarray], rng: Generator) -> Made | None:
    """Parts of up to four recorded prompts of one speaker in a row, cut between words: texts that nobody spoke."""
    timer = timing_model()
    parts, texts = [], []
    for clip in clips[: int(rng.integers(2, 5))]:
        x, words = audio(clip), clip.what["text"].split()
        starts = timer.word_starts(log_mel(x), clip.what["text"]) if len(x) < LONGEST * RATE else None
        if starts is None:
            continue
        first, last = sorted(int(i) for i in rng.integers(0, len(words) + 1, 2))
        if first == last:
            first, last = 0, len(words)
        edges = [quietest(x, start * RATE // 100) if i else 0 for i, start in enumerate(starts)] + [len(x)]
        piece = x[edges[first] : edges[last]].copy()
        if len(piece) < RATE // 10:
            continue
        fade = np.linspace(0, 1, RATE // 200, dtype=np.float32)
        piece[: len(fade)] *= fade
        piece[-len(fade) :] *= fade[::-1]
        parts += [piece, np.zeros(int(rng.uniform(0, 0.15) * RATE), np.float32)]
        texts += words[first:last]
    if not texts:
        return None
    x = augment.vary(place(np.concatenate(parts), rng), rng, voice=True)
    return whole(x, {"language": "English", "text": " ".join(texts)})


def whole(x: np.ndarray, what: dict) -> Made | None:
    """None for a phrase whose end would be cut off."""
    return (x, what) if len(x) <= LONGEST * RATE else None


def quietest(x: np.ndarray, at: int) -> int:
    """The quietest 10 ms within 60 ms of a place."""
    hop = RATE // 100
    places = range(max(0, at - 6 * hop), max(1, min(len(x) - hop, at + 6 * hop)), hop // 2)
    return hop // 2 + min(places, key=lambda i: float(np.square(x[i : i + hop]).sum()), default=at)


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


COUNTABLE = [
    "dog barking",
    "cow mooing",
    "sheep bleating",
    "goat bleating",
    "rooster crowing",
    "duck quacking",
    "goose honking",
    "crow cawing",
    "cat meowing",
    "person sneezing",
    "person coughing",
    "gunshot",
    "door",
    "hammering",
    "chopping wood",
    "swords clashing",
    "glass breaking",
    "coins",
    "piano",
    "guitar",
    "drums",
    "xylophone",
    "bells",
    "trumpet",
    "cymbal",
    "explosion",
    "snapping fingers",
    "screaming",
    "frog croaking",
    "mining",
]
DISTINCT = [
    "dog barking",
    "cow mooing",
    "sheep bleating",
    "rooster crowing",
    "duck quacking",
    "cat meowing",
    "horse neighing",
    "wolf howling",
    "elephant trumpeting",
    "birds chirping",
    "crickets",
    "baby crying",
    "person sneezing",
    "laughing",
    "footsteps",
    "applause",
    "chainsaw",
    "helicopter",
    "car engine",
    "train",
    "rain",
    "thunder",
    "sea waves",
    "fire crackling",
    "clock ticking",
    "telephone ringing",
    "church bells",
    "glass breaking",
    "explosion",
    "gunshot",
    "swords clashing",
    "piano",
    "guitar",
    "violin",
    "trumpet",
    "flute",
    "drums",
    "organ",
    "speech",
]


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
            x = augment.crop(
                self.audio(self.pool[name][int(rng.integers(len(self.pool[name])))]), rng.uniform(1, 2.2), rng
            )
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
        return augment.vary(np.concatenate(parts), rng, gentle=True, changes_speed=False), {
            "pitch": "up" if up else "down"
        }

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
        gaps = (
            np.geomspace(slow, slow / rng.uniform(3, 5), n) if up else np.geomspace(slow / rng.uniform(3, 5), slow, n)
        )
        x = np.zeros(int((gaps.sum() + 0.4) * RATE), np.float32)
        for at in np.concatenate([[0], np.cumsum(gaps)[:-1]]):
            start = int(at * RATE)
            x[start : start + len(one)] += one[: len(x) - start]
        return augment.vary(x, rng, gentle=True, changes_speed=False), {"tempo": "up" if up else "down"}


TOLD = 60
"""Of the texts, so many first ones tell what the synthetic voice is like."""
MORE = 1.4
"""How often phrases in the recorded voice are drawn, others once."""


class Alike:
    """Phrases in the voice of the recorded prompts.  level: whisper.log_mel, [80, L]."""

    def __init__(
        self, encoder: Encoder, network: yamnet.Yamnet, recordings: list[np.ndarray], common: set[str], some: list[str]
    ) -> None:
        """recordings: samples at RATE; common: as phrases.weight has it; some: texts, to hear what the synthetic voice
        is like.
        """
        clips = [rounded(heard(x)) for x in recordings]
        self.voice = alike.Voice(encoder, [log_mel(x) for x in clips])
        self.rows = np.concatenate([network(yamnet.log_mel(x)) for x in clips])
        self.silence = np.asarray(network(yamnet.log_mel(np.zeros(RATE, np.float32)))[0])
        said = [self.said(text, np.random.default_rng(i)) for i, text in enumerate(some)]
        self.mean = self.voice.mean([level for level in said if level is not None])
        self.common = common

    @staticmethod
    def said(text: str, rng: Generator) -> torch.Tensor | None:
        """A text in the synthetic voice; None for what is no usable sound or too long."""
        x = render.say(text, alike.SOURCE, random.Random(int(rng.integers(1 << 30))))
        return log_mel(rounded(x)) if x is not None and len(x) <= LONGEST * RATE else None

    def alike(self, level: torch.Tensor, rng: Generator) -> torch.Tensor:
        """The same in the recorded voice."""
        return self.voice.say(level, self.mean, float(rng.choice(alike.JUMPS)))

    def make(self, text: str, rng: Generator) -> Described | None:
        """None where the text cannot be spoken, or its words not be found in it."""
        level = self.said(text, rng)
        starts = timing_model().word_starts(level, text) if level is not None else None
        if level is None or starts is None:
            return None
        made = self.alike(level, rng)
        before, after = silences(made.shape[1], rng)
        rows = events_between(self.rows, self.silence, before, made.shape[1], after, rng)
        made = torch.nn.functional.pad(made, (before, after), value=-10.0)
        what = {
            "language": "English",
            "text": text,
            "weight": MORE * phrases.weight(text, self.common),
            "frames": made.shape[1],
            "patches": len(rows),
            "word_starts": [starts[0], *(start + before for start in starts[1:])],
        }
        return made.T.to(torch.float16).numpy(), rows.astype(np.float16), what


Job = Callable[[Generator], Made | Described | None]


class Plan:
    """What is to be made of a set of clips: jobs, each with a random generator of its own, in any order."""

    def __init__(self, items: list[tuple[Store, Clip]], uses: tuple[str, ...]) -> None:
        self._where = {id(clip): store for store, clip in items}
        self.clips = [clip for _, clip in items if clip.use in uses and clip.source not in sources.DOUBLES]
        self.held = {clip.what.get("text") for _, clip in items if clip.use not in uses}
        self.pool: dict[str, list[Clip]] = collections.defaultdict(list)
        for clip in self.clips:
            if "sound" in clip.what:
                self.pool[clip.what["sound"]].append(clip)
            elif "language" in clip.what:
                self.pool["speech"].append(clip)
        self.jobs: list[Job] = []

    def audio(self, clip: Clip) -> np.ndarray:
        return self._where[id(clip)].audio(clip)

    def scenes(self, counts: dict[str, int]) -> None:
        for name, n in counts.items():
            self.jobs += [lambda rng, name=name: getattr(Scenes(self.audio, self.pool, rng), name)()] * n

    def training(self, per_label: int, rng: Generator) -> None:
        """All training variants.  Rare labels get more of each recording, at most 30."""
        by_label = {label: [clip for clip in group if "sound" in clip.what] for label, group in self.pool.items()}
        ambient = [
            clip for name in ("wind", "rain", "birds chirping", "traffic", "crowd") for clip in by_label.get(name, [])
        ]

        def ambience(rng: Generator) -> np.ndarray:
            return augment.crop(self.audio(ambient[int(rng.integers(len(ambient)))]), 6, rng)

        def one_sound(rng: Generator, clip: Clip) -> Made:
            return sound(clip, self.audio(clip), lambda: ambience(rng), rng)

        def one_word(rng: Generator, clip: Clip) -> Made | None:
            x = self.audio(clip)
            if "digit" in clip.what:
                return augment.vary(place(x, rng), rng), {"digit": clip.what["digit"], "language": "English"}
            if clip.what["text"] is None:
                x = augment.crop(x, 4, rng)
                return augment.vary(place(x, rng), rng), dict(clip.what)
            return whole(augment.vary(place(x, rng), rng, voice=True), dict(clip.what))

        def add(maker: Callable[[Generator, Clip], Made | None], clips: list[Clip], times: int = 1) -> None:
            for clip in clips:
                self.jobs += [lambda rng, clip=clip: maker(rng, clip)] * times

        for label, group in by_label.items():
            if not group:
                continue
            instrument = labels.KIND[label] == "musical instrument"
            want = per_label * (1 if len(group) < 30 else 4 if instrument else 2)
            chosen = [group[int(i)] for i in rng.permutation(len(group))]
            if not instrument:
                chosen.sort(key=lambda clip: "soundfont" in clip.source)  # recordings first
            add(one_sound, chosen[:want], min(30, max(1, round(want / len(chosen)))))
        words = [clip for clip in self.clips if "sound" not in clip.what]
        words = [words[int(i)] for i in rng.permutation(len(words))]
        digits = [clip for clip in words if "digit" in clip.what]
        digits.sort(key=lambda clip: clip.source.startswith("speech:"))  # recordings first
        add(one_word, digits[: per_label * 32])
        add(
            one_word,
            [clip for clip in words if "language" in clip.what and clip.what["text"] is None][: per_label * 14],
        )
        texts = [clip for clip in words if clip.what.get("text")]
        recorded = [clip for clip in texts if not clip.source.startswith("speech:")]
        neural = [clip for clip in texts if clip.source == "speech:kokoro"]
        rest = [clip for clip in texts if clip.source.startswith("speech:") and clip.source != "speech:kokoro"]
        add(one_word, rest[: per_label * 102])
        for group, share in ((neural, 28), (recorded, 20)):
            add(one_word, group, max(1, round(per_label * share / max(1, len(group)))))

        def joined(rng: Generator) -> Made | None:
            made = spliced([recorded[int(i)] for i in rng.permutation(len(recorded))[:4]], self.audio, rng)
            return None if made is None or made[1]["text"] in self.held else made

        if recorded:
            self.jobs += [joined] * (per_label * 45)
        counts = {"count": 45, "order": 40, "pitch": 25, "loudness": 20, "tempo": 20}
        self.scenes({name: n * per_label for name, n in counts.items()})

    def prompts(self) -> list[Clip]:
        """Of the recorded voice."""
        return [clip for clip in self.clips if clip.source.split(":")[0] == VOICE]

    def voice(
        self, per_label: int, wheels: Path, debs: Path, network: yamnet.Yamnet, common: set[str]
    ) -> tuple[Alike, list[str]]:
        """The recorded voice, and what it is to say: examples of WordNet, prompts with other words, a few words."""
        prompts = self.prompts()
        rng = random.Random(0)
        known = [clip.what["text"] for clip in prompts if clip.what.get("text")]
        words = phrases.vocabulary(wheels, debs)
        texts = phrases.examples(debs)[: 100 * per_label]
        texts += phrases.replaced(known, words, rng, 22 * per_label) + phrases.few(known, words, rng, 27 * per_label)
        texts = [text for text in texts if text not in self.held]
        rng.shuffle(texts)
        encoder = Encoder(packages.whisper_file(wheels))
        return Alike(encoder, network, [self.audio(clip) for clip in prompts], common, texts[:TOLD]), texts

    def alike(self, per_label: int, wheels: Path, debs: Path, network: yamnet.Yamnet, common: set[str]) -> None:
        """Phrases in the recorded voice, where there are recordings of it."""
        if self.prompts():
            voice, texts = self.voice(per_label, wheels, debs, network, common)
            self.jobs += [functools.partial(voice.make, text) for text in texts]

    def common(self, wheels: Path, debs: Path) -> set[str]:
        """The words that phrases are mostly made of."""
        known = [clip.what["text"] for clip in self.prompts() if clip.what.get("text")]
        return phrases.common(known, phrases.vocabulary(wheels, debs))


VOICE = "asterisk-core-sounds-en-wav"
"""The package of one voice's prompts."""

_work: dict[str, Any] = {}
"""What the worker processes inherit."""


def timing_model() -> timing.Timing:
    """One for each process: its threads do not outlive a fork."""
    if "timing" not in _work:
        _work["timing"] = timing.Timing(_work["wheels"])
    return _work["timing"]


def described(samples: np.ndarray, what: dict) -> Described:
    mel, rows = log_mel(samples).T, _work["events"](yamnet.log_mel(samples))
    about = {**what, "frames": len(mel), "patches": len(rows)}
    if what.get("text"):
        about["weight"] = phrases.weight(what["text"], _work["common"])
        about["word_starts"] = timing_model().word_starts(mel.T, what["text"])
    return mel.to(torch.float16).numpy(), rows.to(torch.float16).numpy(), about


def _make(index: int) -> Described | None:
    made = _work["plan"].jobs[index](np.random.default_rng((_work["seed"], index)))
    if made is None or len(made) == 3:
        return made
    samples, what = made
    return described(rounded(samples[: int(LONGEST * RATE)]), what)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--per-label", type=int, default=80, help="variants of each label, about")
    parser.add_argument("--debs", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    work: Path = arguments.work
    items = everything(work)
    plan = Plan(items, ("train",))
    plan.training(arguments.per_label, np.random.default_rng(arguments.seed))
    wheels, debs = work / "wheels", arguments.debs or work / "deb"
    network, common = yamnet.Yamnet(wheels), plan.common(wheels, debs)
    _work.update(plan=plan, seed=arguments.seed, events=network, wheels=wheels, common=common)
    plan.alike(arguments.per_label, wheels, debs, network, common)
    variants: list[Described] = []
    begun = time.monotonic()
    print(len(plan.jobs), "variants", flush=True)
    with multiprocessing.get_context("fork").Pool(arguments.processes) as pool:
        for made in pool.imap(_make, range(len(plan.jobs)), chunksize=16):
            if made is not None:
                variants.append(made)
                if len(variants) % 500 == 0:
                    print(len(variants), f"{time.monotonic() - begun:.0f} s", flush=True)
    write(work / "features-train", variants)
    held = [
        (store, clip)
        for store, clip in items
        if clip.use == "dev"
        and ("sound" in clip.what or "digit" in clip.what or clip.what.get("text"))
        and clip.source not in sources.DOUBLES
        and not (clip.what.get("text") and clip.length > LONGEST * RATE)
    ]
    made = [(heard(store.audio(clip)), clip.what) for store, clip in held]
    scenes = Plan(items, ("dev",))
    scenes.scenes({name: 60 for name in ("count", "order", "pitch", "loudness", "tempo")})
    made += [job(np.random.default_rng((8, i))) for i, job in enumerate(scenes.jobs)]
    write(work / "features-dev", [described(rounded(x), what) for x, what in made])


def heard(x: np.ndarray) -> np.ndarray:
    """A clip as it is tested: at most LONGEST, at least a fifth of a second."""
    x = x[: int(LONGEST * RATE)]
    return np.pad(x, (0, max(0, RATE // 5 - len(x))))


def write(path: Path, variants: list[Described]) -> None:
    levels, rows, about = zip(*variants, strict=True)
    np.save(path.with_suffix(".npy"), np.concatenate(levels))
    np.save(path.with_name(path.name + "-events.npy"), np.concatenate(rows))
    path.with_suffix(".json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
