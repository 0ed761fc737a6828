"""From whatever holds sound to mono float32 samples.

Channels are mixed down first and the mono signal is resampled afterwards (soxr, HQ), so that no axis
can be mistaken for another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from ..warn import warn
from . import arrays, headers, ogg, sniff
from .decoders import Block, Tracks, check_length, decode
from .headers import Stream
from .mono import CancelsOut, Channel, Collector, SilentError, check_channel
from .sources import describe_source, opened
from .view import ReadError, Span, read_at

MIN_SECONDS = 0.01
LONG_S = 60.0
MIN_BITS_PER_S = 400
"""FLAC of silence has 1,000 bits a second; fewer are made to fill memory."""


READERS: Mapping[str, Callable[[BinaryIO, int, int, str], list[Stream]]] = {
    "wav": headers.wav_streams,
    "w64": headers.w64_streams,
    "aiff": headers.aiff_streams,
    "au": headers.au_streams,
    "caf": headers.caf_streams,
    "ogg": ogg.ogg_streams,
}
"""What finds the streams of a container, by sniff.kind_of."""


@dataclass(frozen=True)
class Decoded:
    """samples: mono float32 [frames] at sample_rate (Hz); for clips that are too long to keep whole that is less than
    source_rate.  channels: how many there were; seconds: of the source; notes: what was wrong, or done about it."""

    samples: NDArray[np.float32]
    sample_rate: int
    source_rate: int
    channels: int
    seconds: float
    notes: tuple[str, ...] = ()


def decode_audio(source: Any, sample_rate: int) -> NDArray[np.float32]:
    """Decode source (see Audio), mix it down and resample: mono float32 [frames] at sample_rate Hz."""
    decoded = read_audio(source)
    return resample(decoded.samples, decoded.sample_rate, sample_rate)


def resample(samples: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Mono float32 [frames] at rate_in -> the same at rate_out (Hz), by soxr's HQ recipe."""
    headers.check_rate(rate_out, "the target sample rate")
    if rate_in == rate_out:
        return samples
    import soxr

    return np.ascontiguousarray(soxr.resample(samples, rate_in, rate_out, quality="HQ"), dtype=np.float32)


def read_audio(source: Any, name: str | None = None, channel: Channel = None, at: int | None = None) -> Decoded:
    """Decode source (see Audio).  What is damaged or missing is a RuntimeWarning.  Raises AudioError.

    at: the rate (Hz) to keep, whatever the length; None: the source's own, and KEPT_RATE of long clips.
    """
    channel = check_channel(channel)
    name = describe_source(source) if name is None else name
    if isinstance(source, Mapping):
        source = arrays.pair_of_mapping(source)
    if isinstance(source, tuple | list):
        block, rate = arrays.samples_of(*arrays.pair_of(source))
        return _heard(lambda notes: iter([(block, rate)]), name, channel, at)
    if isinstance(source, np.ndarray):
        raise AudioError("an array needs its sample rate: pass (samples, sample_rate)")
    if not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) and not hasattr(source, "read"):
        raise AudioError(
            f"audio cannot be of type {type(source).__name__}: "
            "pass a path, bytes, a binary file object or (samples, sample_rate)"
        )
    try:
        with opened(source, name) as (file, size):
            start = _check_head(file, size, name)
            tracks = Tracks()

            def blocks(notes: list[str]) -> Iterator[Block]:
                return _blocks(file, start, size, name, notes, tracks)

            while True:
                try:
                    return _heard(blocks, name, channel, at)
                except SilentError:
                    if not tracks.another():
                        raise
    except ReadError as error:
        raise AudioError(f"cannot read {name}: {error}") from None


def _heard(blocks: Callable[[list[str]], Iterator[Block]], name: str, channel: Channel, at: int | None) -> Decoded:
    """What comes of blocks(notes); read again where the channels cancel each other out."""
    notes: list[str] = []
    collector = Collector(name, channel, at)
    try:
        _collect(collector, blocks(notes), name)
        notes += collector.notes
    except CancelsOut as found:
        notes = []
        collector = Collector(name, found.channel, at)
        _collect(collector, blocks(notes), name)
        which = {1: "left", 2: "right"}[found.channel] if collector.channels == 2 else str(found.channel)
        notes.append(f"cancels out when its channels are mixed; the {which} channel is heard alone")
    if at is None:
        for note in notes:
            warn(f"{name} {note}")
    seconds = collector.frames / collector.rate
    samples = collector.samples()
    return Decoded(samples, collector.kept_rate, collector.rate, collector.channels, seconds, tuple(notes))


def _collect(collector: Collector, blocks: Iterator[Block], name: str) -> None:
    for block, rate in blocks:
        headers.check_rate(rate, f"the sample rate of {name}")
        collector.add(block, rate)
    if collector.frames and collector.frames < MIN_SECONDS * collector.rate:
        length = 1000 * collector.frames / collector.rate
        raise AudioError(f"{name} is too short: {length:.2f} ms")
    collector.finish()


# Files -----------------------------------------------------------------------------------------


def _check_head(file: BinaryIO, size: int, name: str) -> int:
    """Where the sound file begins, after tags.  Raises AudioError for what is none."""
    if not size:
        raise AudioError(f"{name} is empty (0 bytes)")
    start = sniff.id3_end(file)
    if start >= size:
        raise AudioError(f"{name} is cut short: it ends within its ID3 tag; copy or download it again")
    start = sniff.zeros_end(file, start)
    head = read_at(file, start, sniff.HEAD)
    what = sniff.not_sound(head)
    if what is not None:
        raise AudioError(f"{name} is {what}" if "sound" in what or ":" in what else f"{name} is {what}, not audio")
    if sniff.encrypted(head):
        raise AudioError(f"{name} is protected (DRM): only its seller's programs can play it")
    return start


def _blocks(file: BinaryIO, start: int, size: int, name: str, notes: list[str], tracks: Tracks) -> Iterator[Block]:
    """The sound of a file; what is to be said of it is in notes at the end."""
    head = read_at(file, start, sniff.HEAD)
    kind = sniff.kind_of(head)
    heard = 0
    for stream in _streams(file, start, size, kind, head, name):
        try:
            for block in decode(file, stream, kind, name, tracks):
                heard += 1
                yield block
        except AudioError as error:
            if not heard:
                raise
            heard += 1
            stream.notes.append(f"goes on after this, but not as sound that can be heard ({error})")
        if not kind:
            check_length(file, stream)
        notes += stream.notes


def _streams(file: BinaryIO, start: int, size: int, kind: str, head: bytes, name: str) -> list[Stream]:
    if kind in READERS:
        return READERS[kind](file, start, size, name)
    if kind == "flac":
        _check_plausible(head, size - start, name)
    stream = Stream([Span(start, size)])
    if kind == "mpeg":
        promised = sniff.xing(head)
        if promised is not None:
            length, seconds = promised
            missing = seconds * (1 - (size - start) / length)
            if missing > headers.SLACK_S:
                stream.notes.append(f"is cut short: {missing:.2f} s of {seconds:.2f} s are missing at its end")
    return [stream]


def _check_plausible(head: bytes, size: int, name: str) -> None:
    """A small FLAC file can claim hours of sound, all of it constant."""
    if len(head) < 26:
        return
    packed = int.from_bytes(head[18:26], "big")
    rate, frames = packed >> 44, packed & ((1 << 36) - 1)
    seconds = frames / rate if rate else 0.0
    if seconds > LONG_S and 8 * size < MIN_BITS_PER_S * seconds:
        raise AudioError(
            f"{name} is silent or damaged: {size:,} bytes cannot hold the {seconds:,.0f} s that it promises"
        )
