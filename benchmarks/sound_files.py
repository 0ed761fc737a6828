"""Sound files of all kinds, made by code: ordinary ones, those of joined, cut and streamed files, and damaged ones.

    kinds() -> name, bytes, and what is in it.

Encoders are those of FFmpeg's libraries (PyAV) and of libsndfile.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float32]
RATE = 16000


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    seconds: what is in it, give or take slack; None: nothing can be heard.  warns: part of the message that must come;
    "": none may.  why: part of the refusal.
    """

    name: str
    make: Callable[[], bytes]
    seconds: float | None
    warns: str = ""
    why: str = ""
    slack: float = 0.1


def bursts(seconds: float, rate: int = RATE, channels: int = 1, hertz: float = 440.0) -> Sound:
    """Four bursts of a tone and noise a second: [frames], or [frames, channels], each channel at its own level."""
    at = np.arange(round(seconds * rate)) / rate
    rng = np.random.default_rng(0)
    mono = np.sin(2 * np.pi * hertz * at) * (at * 4 % 1 < 0.7) * 0.3 + 0.02 * rng.standard_normal(len(at))
    mono = mono.astype(np.float32)
    if channels == 1:
        return mono
    return np.stack([mono * (1 - 0.1 * number) for number in range(channels)], axis=1)


def by_soundfile(samples: Sound, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    """A file as libsndfile writes it."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, 1 if samples.ndim == 1 else samples.shape[1], subtype, None, form
    ) as out:
        for first in range(0, len(samples), 4096):  # its Vorbis encoder cannot take much at once
            out.write(samples[first : first + 4096])
    return buffer.getvalue()


def by_ffmpeg(
    samples: Sound,
    rate: int,
    form: str,
    codec: str,
    *,
    bit_rate: int | None = None,
    video: bool = False,
    **options: str,
) -> bytes:
    """A file as FFmpeg writes it; options are of the container."""
    buffer = io.BytesIO()
    flat = samples.reshape(len(samples), -1)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[flat.shape[1]]
    with av.open(buffer, "w", format=form, options=options) as container:
        picture = container.add_stream("mpeg4", rate=10) if video else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        track = container.add_stream(codec, rate=rate, layout=layout)
        if bit_rate is not None:
            track.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(flat.reshape(1, -1)), format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(track.codec_context.format, layout, rate, frame_size=_frame_size(track, rate))
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(track.encode(piece))
        container.mux(track.encode(None))
        if picture is not None:
            for number in range(int(10 * len(flat) / rate)):
                image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 255, np.uint8), format="rgb24")
                image.pts, image.time_base = number, Fraction(1, 10)
                container.mux(picture.encode(image))
            container.mux(picture.encode(None))
    return buffer.getvalue()


def _frame_size(track: av.AudioStream, rate: int) -> int:
    context = track.codec_context
    context.open(strict=False)
    return context.frame_size or rate // 10


# MPEG frames -------------------------------------------------------------------------------------------


@cache
def mp3(seconds: float = 5.0, rate: int = RATE, variable: bool = False) -> bytes:
    """An MP3 file of libmp3lame, with its Xing or Info frame."""
    buffer = io.BytesIO()
    mode = "VARIABLE" if variable else "CONSTANT"
    soundfile.write(buffer, bursts(seconds, rate), rate, format="MP3", bitrate_mode=mode)
    return buffer.getvalue()


def frames_of(data: bytes) -> list[bytes]:
    """The MPEG frames of data, its first one (Xing, Info) included."""
    from mata_cpp.audio.sniff import mpeg_frame

    found, at = [], data.index(b"\xff")
    while (frame := mpeg_frame(data[at : at + 4])) is not None:
        found.append(data[at : at + frame[0]])
        at += frame[0]
    return found


def bare(data: bytes) -> bytes:
    """MP3 without its Xing or Info frame."""
    return b"".join(frames_of(data)[1:])


def _with_count(data: bytes, factor: float) -> bytes:
    """The number of frames in the Xing header times factor."""
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    count = struct.unpack(">I", data[at : at + 4])[0]
    return data[:at] + struct.pack(">I", int(count * factor)) + data[at + 4 :]


def _zeroed_header(data: bytes, number: int) -> bytes:
    frames = frames_of(data)
    frames[number] = bytes(4) + frames[number][4:]
    return b"".join(frames)


def _between(data: bytes, foreign: bytes) -> bytes:
    frames = frames_of(data)
    middle = len(frames) // 2
    return b"".join(frames[:middle]) + foreign + b"".join(frames[middle:])


def id3(size: int = 2000) -> bytes:
    """An ID3v2 tag with size bytes in it."""
    return b"ID3\x04\0\0" + bytes((size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127)) + b"\x01" * size


ID3V1 = b"TAG" + b"joined".ljust(125, b"\0")


# RIFF and others -----------------------------------------------------------------------------------------


def wav(
    samples: Sound,
    rate: int = RATE,
    *,
    data_size: int | None = None,
    riff_size: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    fmt: bytes | None = None,
) -> bytes:
    """16-bit WAV with whatever sizes, chunks and bytes around its sound."""
    flat = samples[:, None] if samples.ndim == 1 else samples
    sound = (flat * 32767).round().astype("<i2").tobytes()
    channels = flat.shape[1]
    fmt = fmt or struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    size = len(sound) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + before + b"data" + struct.pack("<I", size) + sound + after
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def chunk(name: bytes, content: bytes, *, pad: bool = True) -> bytes:
    """A RIFF chunk; pad: with the padding byte that odd sizes want."""
    return name + struct.pack("<I", len(content)) + content + (b"\0" if pad and len(content) % 2 else b"")


def _aiff(size: int | None = None, frames: int | None = None) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="AIFF", subtype="PCM_16"))
    at = data.index(b"SSND") + 4
    if size is not None:
        struct.pack_into(">I", data, at, size)
    if frames is not None:
        struct.pack_into(">I", data, data.index(b"COMM") + 10, frames)
    return bytes(data)


def _au(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="AU", subtype="PCM_16"))
    struct.pack_into(">I", data, 8, size)
    return bytes(data)


def _caf(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="CAF", subtype="PCM_16"))
    struct.pack_into(">q", data, data.index(b"data") + 4, size)
    return bytes(data)


def _w64(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="W64", subtype="PCM_16"))
    struct.pack_into("<Q", data, data.index(b"data\xf3\xac") + 16, size)
    return bytes(data)


def _rf64(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="RF64", subtype="PCM_16"))
    struct.pack_into("<Q", data, data.index(b"ds64") + 16, size)
    return bytes(data)


def _ogg(codec: str, seconds: float = 2.0, hertz: float = 440.0) -> bytes:
    if codec == "vorbis":
        return by_soundfile(bursts(seconds, hertz=hertz), form="OGG", subtype="VORBIS")
    rate = 48000 if codec == "libopus" else RATE
    return by_ffmpeg(bursts(seconds, rate, hertz=hertz), rate, "ogg", codec, serial_offset=str(int(hertz)))


def _flac(seconds: float = 5.0, frames: int | None = None) -> bytes:
    data = bytearray(by_soundfile(bursts(seconds), form="FLAC"))
    if frames is not None:
        data[21] = data[21] & 0xF0 | frames >> 32
        struct.pack_into(">I", data, 22, frames & 0xFFFFFFFF)
    return bytes(data)


def _tail(data: bytes, keep: float) -> bytes:
    return data[: int(len(data) * keep)]


def _speaker(codec: str, form: str, rate: int = RATE, channels: int = 1, **options: str) -> Callable[[], bytes]:
    return lambda: by_ffmpeg(bursts(5.0, rate, channels), rate, form, codec, **options)


def _adjust(sound: Sound, *, left: float, right: float, noise: float = 0.0) -> Sound:
    rng = np.random.default_rng(1)
    pair = np.stack([left * sound, right * sound], axis=1)
    return (pair + noise * rng.standard_normal(pair.shape)).astype(np.float32)


def _data(seconds: float) -> bytes:
    return chunk(b"data", (bursts(seconds) * 32767).round().astype("<i2").tobytes())


HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 160044\n"


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield from _ordinary()
    yield from _streamed()
    yield from _joined()
    yield from _damaged()
    yield from _silent()
    yield from _none()


def _ordinary() -> Iterator[Kind]:
    for form, subtype in (
        *(
            ("WAV", "PCM_U8"),
            ("WAV", "PCM_16"),
            ("WAV", "PCM_24"),
            ("WAV", "PCM_32"),
            ("WAV", "FLOAT"),
            ("WAV", "DOUBLE"),
        ),
        *(("WAV", "ULAW"), ("WAV", "ALAW"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610")),
        *(("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT")),
        *(("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")),
        *(
            ("OGG", "VORBIS"),
            ("NIST", "PCM_16"),
            ("VOC", "PCM_16"),
            ("SVX", "PCM_16"),
            ("PAF", "PCM_24"),
            ("MAT5", "PCM_16"),
        ),
        *(("HTK", "PCM_16"), ("IRCAM", "PCM_16"), ("PVF", "PCM_16"), ("AVR", "PCM_16"), ("WVE", "ALAW")),
    ):
        rate = 8000 if form in ("WVE",) or subtype == "GSM610" else RATE
        yield Kind(
            f"{form} {subtype}",
            lambda form=form, subtype=subtype, rate=rate: by_soundfile(bursts(5.0, rate), rate, form, subtype),  # type: ignore[misc]
            5.0,
        )
    yield Kind("MP3, constant rate", mp3, 5.0)
    yield Kind("MP3, variable rate", lambda: mp3(variable=True), 5.0)
    yield Kind("MP3, 44.1 kHz", lambda: mp3(rate=44100), 5.0)
    yield Kind("MP2", _speaker("mp2", "mp2"), 5.0)
    yield Kind("m4a of a phone (AAC)", _speaker("aac", "ipod", 44100), 5.0)
    yield Kind("m4a (ALAC)", _speaker("alac", "ipod", 44100, 2), 5.0)
    yield Kind("MP4, sound of a video", lambda: by_ffmpeg(bursts(5.0, 44100), 44100, "mp4", "aac", video=True), 5.0)
    yield Kind("MP4, fragmented", _speaker("aac", "mp4", 44100, movflags="frag_keyframe+empty_moov"), 5.0)
    yield Kind("MOV (PCM)", _speaker("pcm_s16le", "mov", 48000, 2), 5.0)
    yield Kind("3GP (AMR)", _speaker("libopencore_amrnb", "3gp", 8000), 5.0)
    yield Kind("AMR", _speaker("libopencore_amrnb", "amr", 8000), 5.0)
    yield Kind("AAC (ADTS)", _speaker("aac", "adts", 44100), 5.0)
    yield Kind("webm (Opus)", _speaker("libopus", "webm", 48000), 5.0)
    yield Kind("webm of a browser: no length", _speaker("libopus", "webm", 48000, live="1"), 5.0)
    yield Kind("Matroska (FLAC)", _speaker("flac", "matroska", 48000, 2), 5.0)
    yield Kind(
        "Matroska, sound of a video",
        lambda: by_ffmpeg(bursts(5.0, 48000), 48000, "matroska", "libopus", video=True),
        5.0,
    )
    yield Kind("Ogg (Opus)", lambda: _ogg("libopus", 5.0), 5.0)
    yield Kind("Ogg (FLAC)", lambda: _ogg("flac", 5.0), 5.0)
    yield Kind("WMA", lambda: by_ffmpeg(bursts(5.0, 44100), 44100, "asf", "wmav2", bit_rate=64000), 5.0)
    yield Kind("AC-3, 5.1", _speaker("ac3", "ac3", 48000, 6), 5.0)
    yield Kind("E-AC-3", _speaker("eac3", "eac3", 48000, 2), 5.0)
    yield Kind("WavPack", _speaker("wavpack", "wv", 44100, 2), 5.0)
    yield Kind("TTA", _speaker("tta", "tta", 44100, 2), 5.0)
    yield Kind("AVI (MP3)", lambda: by_ffmpeg(bursts(5.0, 44100), 44100, "avi", "mp3", video=True), 5.0)
    yield Kind("MPEG-TS (AAC)", _speaker("aac", "mpegts", 48000), 5.0)
    yield Kind("FLV (AAC)", _speaker("aac", "flv", 44100), 5.0)
    yield Kind("WAV with AC-3 in it", _speaker("ac3", "wav", 48000, 2), 5.0)
    yield Kind("WAV with MP3 in it", _speaker("mp3", "wav", 44100), 5.0)
    yield Kind("WAV, 8 channels", lambda: wav(bursts(5.0, channels=8)), 5.0)
    yield Kind("WAV, 192 kHz", lambda: wav(bursts(5.0, 192000), 192000), 5.0)
    yield Kind(
        "WAV, LIST of zeros before the sound", lambda: wav(bursts(5.0), before=chunk(b"LIST", bytes(100_000))), 5.0
    )
    yield Kind("WAV, chunks after the sound", lambda: wav(bursts(5.0), after=chunk(b"LIST", b"INFO" * 30)), 5.0)
    for valid, width in ((24, 4), (20, 4), (16, 4), (16, 3), (20, 3), (12, 2)):
        yield Kind(
            f"WAV, {valid} bits in {8 * width}, extensible",
            lambda valid=valid, width=width: _extensible(valid, width),  # type: ignore[misc]
            5.0,
        )
    yield Kind("WAV, 24 bits in 32", lambda: _extensible(24, 4, extensible=False), 5.0)
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        yield Kind(f"RIFX {subtype}", lambda subtype=subtype: _big_endian(subtype), 5.0)  # type: ignore[misc]
    yield Kind("AIFF-C, fl32 with 16 bits", lambda: _aifc(b"fl32"), 5.0)
    yield Kind("FLAC, tag at the end", lambda: _flac() + ID3V1, 5.0)
    yield Kind("MP3, cover of 900 kB", lambda: id3(900_000) + mp3(), 5.0)


def _extensible(valid: int, width: int, *, extensible: bool = True) -> bytes:
    """WAV whose samples have fewer valid bits than they take."""
    sound = bursts(5.0)
    top = (sound * 2 ** (valid - 1)).round().astype(np.int64) << (8 * width - valid)
    data = b"".join(int(x).to_bytes(width, "little", signed=True) for x in top.tolist())
    fmt = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else 1, 1, RATE, RATE * width, width, 8 * width if extensible else valid
    )
    if extensible:
        fmt += struct.pack("<HHI", 22, valid, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
    return b"RIFF" + struct.pack("<I", len(data) + len(fmt) + 20) + b"WAVE" + chunk(b"fmt ", fmt) + chunk(b"data", data)


def _tracks(*seconds: float) -> bytes:
    """Matroska with several tracks of sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        tracks = [container.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in seconds]
        for track, length in zip(tracks, seconds, strict=True):
            array = (bursts(length) * 32767).astype(np.int16)[None, :]
            frame = av.AudioFrame.from_ndarray(array, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return buffer.getvalue()


def _big_endian(subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, bursts(5.0), RATE, format="WAV", subtype=subtype, endian="BIG")
    return buffer.getvalue()


def _aifc(kind: bytes) -> bytes:
    """AIFF-C of 32-bit floats whose COMM says 16 bits, as some writers do."""
    data = bytearray(by_soundfile(bursts(5.0), form="AIFF", subtype="FLOAT"))
    at = data.index(b"COMM") + 8
    struct.pack_into(">H", data, at + 6, 16)
    assert kind.upper() in data
    return bytes(data)


def _streamed() -> Iterator[Kind]:
    """Of writers that did not know the length."""
    unknown = {"0xFFFFFFFF": 0xFFFFFFFF, "0x7FFFF000": 0x7FFFF000, "a part of a block less": 0x7FFFEFFF, "0": 0}
    for words, size in unknown.items():
        yield Kind(
            f"WAV into a pipe, size {words}",
            lambda size=size: wav(bursts(5.0), data_size=size, riff_size=min(size + 36, 0xFFFFFFFF)),  # type: ignore[misc]
            5.0,
        )
    yield Kind(
        "WAV into a pipe, odd LIST before",
        lambda: wav(bursts(5.0), data_size=0xFFFFFFFF, before=chunk(b"LIST", b"x" * 25)),
        5.0,
    )
    yield Kind(
        "WAV into a pipe, LIST after",
        lambda: wav(bursts(5.0), data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF, after=chunk(b"LIST", b"INFO" * 4000)),
        5.0,
    )
    yield Kind("RF64 that was never closed", lambda: _rf64(0), 5.0)
    yield Kind("RF64, size unknown", lambda: _rf64((1 << 64) - 1), 5.0)
    yield Kind("AIFF into a pipe", lambda: _aiff(0x7F000008, 0x3F800000), 5.0)
    yield Kind("AU into a pipe", lambda: _au(0xFFFFFFFF), 5.0)
    yield Kind("CAF of unknown length", lambda: _caf(-1), 5.0)
    yield Kind("FLAC without a length", lambda: _flac(frames=0), 5.0)
    yield Kind("MP3 without a Xing frame", lambda: bare(mp3()), 5.0)
    yield Kind("MP3, variable rate, no Xing frame", lambda: bare(mp3(variable=True)), 5.0)
    yield Kind("MP3, begins within a frame", lambda: bare(mp3())[100:], 5.0)
    yield Kind("MP3, last frame incomplete", lambda: bare(mp3())[:-20], 5.0)


def _joined() -> Iterator[Kind]:
    """Of several files."""
    yield Kind("MP3 + MP3", lambda: mp3(3.0) + mp3(4.0, variable=True), 7.0, slack=0.2)
    yield Kind("MP3 + ID3v1 + MP3", lambda: bare(mp3(3.0)) + ID3V1 + bare(mp3(4.0)), 7.0, slack=0.2)
    yield Kind("MP3 + ID3v2 + MP3", lambda: bare(mp3(3.0)) + id3() + bare(mp3(4.0)), 7.0, slack=0.2)
    yield Kind("Ogg: two links of Vorbis", lambda: _ogg("vorbis") + _ogg("vorbis", 3.0, 700.0), 5.0)
    yield Kind(
        "Ogg: three links of Opus",
        lambda: _ogg("libopus") + _ogg("libopus", 3.0, 700.0) + _ogg("libopus", 4.0, 900.0),
        9.0,
    )
    yield Kind("FLAC + FLAC", lambda: _flac(2.0) + _flac(4.0), 6.0)
    yield Kind("WAV, two chunks of sound", lambda: wav(bursts(2.0), after=chunk(b"LIST", b"x" * 90) + _data(3.0)), 5.0)
    yield Kind("MP3 after 5,000 zeros", lambda: bytes(5000) + mp3(), 5.0)
    yield Kind("Matroska, tracks of 1 and 5 s", lambda: _tracks(1.0, 5.0), 5.0, "has 2 tracks of sound; only number 2")
    yield Kind("WAV + WAV", lambda: wav(bursts(2.0)) + wav(bursts(4.0)), 6.0)
    yield Kind("WAV + WAV at another rate", lambda: wav(bursts(2.0)) + wav(bursts(4.0, 8000), 8000), 6.0)
    yield Kind("AAC + AAC", lambda: 2 * by_ffmpeg(bursts(3.0, 44100), 44100, "adts", "aac"), 6.0)
    yield Kind("ID3 before FLAC", lambda: id3() + _flac(), 5.0)
    yield Kind("ID3 before WAV", lambda: id3() + wav(bursts(5.0)), 5.0)
    yield Kind("ID3 before AIFF", lambda: id3() + _aiff(), 5.0)
    yield Kind("ID3 before Ogg", lambda: id3() + _ogg("vorbis", 5.0), 5.0)


def _damaged() -> Iterator[Kind]:
    """Of which a part is gone, or whose header says less than is there."""
    yield Kind("MP3, header of a frame zeroed", lambda: _zeroed_header(bare(mp3()), 40), 5.0, "damaged")
    yield Kind("MP3, 33 bytes between frames", lambda: _between(bare(mp3()), bytes(range(33))), 5.0, "damaged")
    yield Kind("MP3, Xing counts too few", lambda: _with_count(mp3(variable=True), 0.3), 5.0)
    yield Kind("MP3, Xing counts too many", lambda: _with_count(mp3(variable=True), 2.5), 5.0)
    yield Kind("MP3, cut", lambda: _tail(mp3(), 0.5), 2.5, "cut short")
    yield Kind("WAV, size of the first flush", lambda: wav(bursts(5.0), data_size=RATE), 5.0, "tells of 0.50 s")
    yield Kind(
        "WAV, odd LIST without its padding", lambda: wav(bursts(5.0), before=chunk(b"LIST", b"x" * 25, pad=False)), 5.0
    )
    yield Kind("WAV, cut", lambda: _tail(wav(bursts(5.0)), 0.5), 2.5, "cut short: 2.50 s of 5.00 s")
    yield Kind("AIFF, size of the first flush", lambda: _aiff(RATE + 8, RATE // 2), 5.0, "tells of 0.50 s")
    yield Kind("AIFF, cut", lambda: _tail(_aiff(), 0.5), 2.5, "cut short")
    yield Kind("AU, size of the first flush", lambda: _au(RATE), 5.0, "tells of 0.50 s")
    yield Kind("CAF, size of the first flush", lambda: _caf(RATE), 5.0, "tells of 0.50 s")
    yield Kind("W64, cut", lambda: _tail(by_soundfile(bursts(5.0), form="W64"), 0.5), 2.5, "cut short")
    yield Kind("FLAC, length of the first flush", lambda: _flac(frames=8000), 5.0)
    yield Kind("FLAC, cut", lambda: _tail(_flac(), 0.5), 2.5, "cut short or damaged", slack=0.3)
    yield Kind("Ogg (Vorbis), cut", lambda: _tail(_ogg("vorbis", 10.0), 0.5), 5.0, "cut short", slack=1.5)
    yield Kind("Ogg (Opus), cut", lambda: _tail(_ogg("libopus", 10.0), 0.5), 5.0, "cut short", slack=1.1)
    yield Kind("webm, cut", lambda: _tail(_speaker("libopus", "webm", 48000)(), 0.5), 2.5, "cut short", slack=0.3)
    yield Kind(
        "MP4, fragmented, cut",
        lambda: _tail(_speaker("aac", "mp4", 44100, movflags="frag_every_frame+empty_moov")(), 0.5),
        2.5,
        "damaged",
        slack=0.3,
    )
    yield Kind(
        "WAV, channels that cancel out",
        lambda: wav(_adjust(bursts(5.0), left=1, right=-1, noise=2e-5)),
        5.0,
        "cancels out",
    )
    yield Kind(
        "Opus, channels that cancel out",
        lambda: by_ffmpeg(_adjust(bursts(5.0, 48000), left=1, right=-1), 48000, "ogg", "libopus"),
        5.0,
        "cancels out",
    )


def _silent() -> Iterator[Kind]:
    rng = np.random.default_rng(0)
    yield Kind("WAV of zeros", lambda: wav(np.zeros(3 * RATE, np.float32)), None, why="silent: every sample is 0")
    yield Kind(
        "WAV, constant 0.5",
        lambda: wav(np.full(3 * RATE, 0.5, np.float32)),
        None,
        why="silent: its signal never changes",
    )
    yield Kind(
        "A-law, silent line",
        lambda: by_soundfile(np.zeros(3 * RATE, np.float32), 8000, "WAV", "ALAW"),
        None,
        why="silent",
    )
    yield Kind(
        "WAV, dither of one bit",
        lambda: wav(rng.integers(-1, 2, 3 * RATE).astype(np.float32) / 32767),
        None,
        why="silent: it never gets louder",
    )
    yield Kind("WAV, bursts at -60 dB", lambda: by_soundfile(bursts(5.0) * np.float32(0.003), subtype="PCM_24"), 5.0)


def _none() -> Iterator[Kind]:
    yield Kind("a web page", lambda: HTML, None, why="a web page")
    yield Kind("a Git LFS pointer", lambda: LFS, None, why="a Git LFS pointer")
    yield Kind("text", lambda: b"What is said here?\n" * 50, None, why="text, not audio")
    yield Kind("JSON", lambda: b'{"error": "not found"}', None, why="JSON text")
    yield Kind("a playlist", lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", None, why="a playlist")
    yield Kind("a PNG picture", lambda: b"\x89PNG\r\n\x1a\n" + bytes(500), None, why="a PNG picture")
    yield Kind("a MIDI file", lambda: b"MThd\0\0\0\6\0\1\0\1\0\x60" + bytes(90), None, why="MIDI")
    yield Kind("MP4 of Audible", lambda: b"\0\0\0\x18ftypaax \0\0\0\1" + bytes(500), None, why="protected (DRM)")
    yield Kind("a video without sound", lambda: _mute(), None, why="holds no sound")
    yield Kind("random bytes", lambda: rng_bytes(20_000), None, why="no sound file")
    yield Kind("nothing", lambda: b"", None, why="empty (0 bytes)")


def rng_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def _mute() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        for number in range(10):
            image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, 10)
            container.mux(picture.encode(image))
        container.mux(picture.encode(None))
    return buffer.getvalue()
