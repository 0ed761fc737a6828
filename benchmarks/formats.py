"""What is heard of sound files of all kinds: here, by soundfile and by PyAV.

    python -m benchmarks.formats [--speed]

Prints a table.  Every file is made by code (benchmarks/sound_files.py).  --speed measures decoding instead: seconds of
sound a second, this package beside soundfile, both mixing down, in turns.
"""

from __future__ import annotations

import io
import statistics
import time
import warnings
from collections.abc import Callable

import av
import click
import soundfile

from benchmarks.sound_files import bursts, by_soundfile, kinds
from mata_cpp import Audio, AudioError
from mata_cpp.audio.stderr import caught

ROUNDS = 7


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


@click.command(help=__doc__.split("\n")[0])
@click.option("--speed", "measure_speed", is_flag=True, help="Measure how fast files are decoded.")
def main(measure_speed: bool) -> None:
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
