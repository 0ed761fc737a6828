"""Sound files, made by code: good ones, and ones with odd or wrong headers.

Encoders are those of FFmpeg's libraries (PyAV) and of libsndfile.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float32]
RATE = 16000


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


def with_count(data: bytes, factor: float) -> bytes:
    """The number of frames in the Xing header times factor."""
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    count = struct.unpack(">I", data[at : at + 4])[0]
    return data[:at] + struct.pack(">I", int(count * factor)) + data[at + 4 :]


def zeroed_header(data: bytes, number: int) -> bytes:
    frames = frames_of(data)
    frames[number] = bytes(4) + frames[number][4:]
    return b"".join(frames)


def between(data: bytes, foreign: bytes) -> bytes:
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


def aiff(size: int | None = None, frames: int | None = None) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="AIFF", subtype="PCM_16"))
    at = data.index(b"SSND") + 4
    if size is not None:
        struct.pack_into(">I", data, at, size)
    if frames is not None:
        struct.pack_into(">I", data, data.index(b"COMM") + 10, frames)
    return bytes(data)


def au(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="AU", subtype="PCM_16"))
    struct.pack_into(">I", data, 8, size)
    return bytes(data)


def caf(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="CAF", subtype="PCM_16"))
    struct.pack_into(">q", data, data.index(b"data") + 4, size)
    return bytes(data)


def _w64(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="W64", subtype="PCM_16"))
    struct.pack_into("<Q", data, data.index(b"data\xf3\xac") + 16, size)
    return bytes(data)


def rf64(size: int) -> bytes:
    data = bytearray(by_soundfile(bursts(5.0), form="RF64", subtype="PCM_16"))
    struct.pack_into("<Q", data, data.index(b"ds64") + 16, size)
    return bytes(data)


def ogg(codec: str, seconds: float = 2.0, hertz: float = 440.0) -> bytes:
    if codec == "vorbis":
        return by_soundfile(bursts(seconds, hertz=hertz), form="OGG", subtype="VORBIS")
    rate = 48000 if codec == "libopus" else RATE
    return by_ffmpeg(bursts(seconds, rate, hertz=hertz), rate, "ogg", codec, serial_offset=str(int(hertz)))


def flac(seconds: float = 5.0, frames: int | None = None) -> bytes:
    data = bytearray(by_soundfile(bursts(seconds), form="FLAC"))
    if frames is not None:
        data[21] = data[21] & 0xF0 | frames >> 32
        struct.pack_into(">I", data, 22, frames & 0xFFFFFFFF)
    return bytes(data)


def tail(data: bytes, keep: float) -> bytes:
    return data[: int(len(data) * keep)]


def speaker(codec: str, form: str, rate: int = RATE, channels: int = 1, **options: str) -> Callable[[], bytes]:
    return lambda: by_ffmpeg(bursts(5.0, rate, channels), rate, form, codec, **options)


def adjust(sound: Sound, *, left: float, right: float, noise: float = 0.0) -> Sound:
    rng = np.random.default_rng(1)
    pair = np.stack([left * sound, right * sound], axis=1)
    return (pair + noise * rng.standard_normal(pair.shape)).astype(np.float32)


def data_chunk(seconds: float) -> bytes:
    return chunk(b"data", (bursts(seconds) * 32767).round().astype("<i2").tobytes())


def extensible(valid: int, width: int, *, extensible: bool = True) -> bytes:
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


def tracks(*seconds: float, levels: Sequence[float] = ()) -> bytes:
    """Matroska with several tracks of sound.  levels: factors, 1 unless given."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        tracks = [container.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in seconds]
        for track, length, level in zip(tracks, seconds, levels or [1.0] * len(seconds), strict=True):
            array = (bursts(length) * 32767 * level).astype(np.int16)[None, :]
            frame = av.AudioFrame.from_ndarray(array, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return buffer.getvalue()


def big_endian(subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, bursts(5.0), RATE, format="WAV", subtype=subtype, endian="BIG")
    return buffer.getvalue()


def aifc(kind: bytes) -> bytes:
    """AIFF-C of 32-bit floats whose COMM says 16 bits, as some writers do."""
    data = bytearray(by_soundfile(bursts(5.0), form="AIFF", subtype="FLOAT"))
    at = data.index(b"COMM") + 8
    struct.pack_into(">H", data, at + 6, 16)
    assert kind.upper() in data
    return bytes(data)


def rng_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def mute() -> bytes:
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
