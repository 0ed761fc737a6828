"""What is heard of sound files of all kinds: here, by soundfile and by PyAV.

    python -m benchmarks.formats [--silence | --speed]

Prints a table.  Every file is made by code (benchmarks/sound_kinds.py).  --silence prints how loud recordings and
noises are at several levels, and which are heard.  --speed measures decoding: seconds of sound a second, this package
beside soundfile, both mixing down, in turns.
"""

from __future__ import annotations

import io
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import av
import click
import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.sound_files import bursts, by_soundfile
from benchmarks.sound_kinds import kinds
from mata_cpp import Audio, AudioError
from mata_cpp.audio.stderr import caught

ROUNDS = 7
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def here(data: bytes) -> str:
    """Seconds heard, or why none are; a star: with a warning."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            seconds = Audio(data, name="it").seconds
        except AudioError as error:
            return "silent" if "silent" in str(error) else "refused"
    return f"{seconds:.2f}{' *' if seen else ''}"


def by_soundfile_alone(data: bytes) -> str:
    with caught():
        try:
            with soundfile.SoundFile(io.BytesIO(data)) as sound:
                frames = sum(len(block) for block in sound.blocks(1 << 16, always_2d=True))
                return f"{frames / sound.samplerate:.2f}"
        except (soundfile.SoundFileError, OverflowError, ValueError):
            return "refused"


def by_pyav_alone(data: bytes) -> str:
    seconds = 0.0
    try:
        with av.open(io.BytesIO(data)) as container:
            track = container.streams.best("audio")
            if track is None or track.codec_context is None:
                return "refused"
            for packet in container.demux(track):
                try:
                    seconds += sum(frame.samples / frame.sample_rate for frame in packet.decode())
                except av.FFmpegError:
                    continue
    except (av.FFmpegError, ValueError):
        return f"{seconds:.2f}" if seconds else "refused"
    return f"{seconds:.2f}" if seconds else "refused"


def rate_of(decode: Callable[[], object], seconds: float) -> float:
    started = time.perf_counter()
    decode()
    return seconds / (time.perf_counter() - started)


def mean_of_channels(data: bytes) -> None:
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        for block in sound.blocks(1 << 18, dtype="float32", always_2d=True):
            block.mean(axis=1)


def speed() -> None:
    seconds = 120.0
    print("| file | soundfile, seconds of sound a second | here | ratio |\n|---|---|---|---|")
    for form, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")):
        data = by_soundfile(bursts(seconds, 44100, 2), 44100, form, subtype)
        pairs = []
        for _ in range(ROUNDS):
            pairs.append((rate_of(lambda: mean_of_channels(data), seconds), rate_of(lambda: Audio(data), seconds)))  # noqa: B023
        theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(own / other for other, own in pairs)
        print(f"| {form}, 44.1 kHz stereo | {theirs:,.0f} | {ours:,.0f} | {ratio:.2f} |")


def loudest(samples: NDArray[np.float32], rate: int) -> float:
    """RMS of the loudest 50 ms without their mean, in dB of full scale."""
    length = rate // 20
    windows = samples[: len(samples) // length * length].reshape(-1, length).astype(np.float64)
    power = windows.var(axis=1).max()
    return 10 * float(np.log10(power)) if power > 0 else float("-inf")


def silence() -> None:
    rng = np.random.default_rng(0)
    rate = 16000
    bit = 1 / 32768
    tries = {
        "zeros": np.zeros(rate),
        "a constant of 0.5": np.full(rate, 0.5),
        "the last of 16 bits, at random": rng.integers(-1, 2, rate) * bit,
        "dither of two bits (TPDF)": (rng.random(rate) - rng.random(rate)) * bit,
        "white noise, RMS -85 dB": rng.standard_normal(rate) * 10 ** (-85 / 20),
        "white noise, RMS -75 dB": rng.standard_normal(rate) * 10 ** (-75 / 20),
    }
    for name in ("dog", "rain", "clock", "message"):
        sound = Audio(EXAMPLES / f"{name}.flac").samples(rate)
        for level in (-40, -60, -65, -70, -80):
            tries[f"{name}.flac, its peak at {level} dB"] = sound / np.abs(sound).max() * 10 ** (level / 20)
    print("| sound | loudest 50 ms | |\n|---|---|---|")
    for name, samples in tries.items():
        array = samples.astype(np.float32)
        try:
            Audio((array, rate))
            verdict = "heard"
        except AudioError:
            verdict = "silent"
        print(f"| {name} | {loudest(array, rate):.0f} dB | {verdict} |")


@click.command(help=__doc__.split("\n")[0])
@click.option("--silence", "measure_silence", is_flag=True, help="Print how loud sounds are that are heard or not.")
@click.option("--speed", "measure_speed", is_flag=True, help="Measure how fast files are decoded.")
def main(measure_silence: bool, measure_speed: bool) -> None:
    if measure_silence:
        silence()
        return
    if measure_speed:
        speed()
        return
    print("| kind | seconds there | heard here | soundfile | PyAV |\n|---|---|---|---|---|")
    count = 0
    for kind in kinds():
        data = kind.make()
        there = "none" if kind.seconds is None else f"{kind.seconds:.2f}"
        print(f"| {kind.name} | {there} | {here(data)} | {by_soundfile_alone(data)} | {by_pyav_alone(data)} |")
        count += 1
    print(f"\n{count} kinds.  *: with a warning that says what is damaged, missing or done.")


if __name__ == "__main__":
    main()
