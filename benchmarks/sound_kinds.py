"""Kinds of sound files, all made by code: ordinary ones, those of joined, cut and streamed files, and damaged ones.

kinds() -> name, bytes, and what is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.sound_files import (
    ID3V1,
    RATE,
    adjust,
    aifc,
    aiff,
    au,
    bare,
    between,
    big_endian,
    bursts,
    by_ffmpeg,
    by_soundfile,
    caf,
    chunk,
    data_chunk,
    extensible,
    flac,
    id3,
    mp3,
    mute,
    ogg,
    rf64,
    rng_bytes,
    speaker,
    tail,
    tracks,
    wav,
    with_count,
    zeroed_header,
)

HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 160044\n"


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
    yield Kind("MP2", speaker("mp2", "mp2"), 5.0)
    yield Kind("m4a of a phone (AAC)", speaker("aac", "ipod", 44100), 5.0)
    yield Kind("m4a (ALAC)", speaker("alac", "ipod", 44100, 2), 5.0)
    yield Kind("MP4, sound of a video", lambda: by_ffmpeg(bursts(5.0, 44100), 44100, "mp4", "aac", video=True), 5.0)
    yield Kind("MP4, fragmented", speaker("aac", "mp4", 44100, movflags="frag_keyframe+empty_moov"), 5.0)
    yield Kind("MOV (PCM)", speaker("pcm_s16le", "mov", 48000, 2), 5.0)
    yield Kind("3GP (AMR)", speaker("libopencore_amrnb", "3gp", 8000), 5.0)
    yield Kind("AMR", speaker("libopencore_amrnb", "amr", 8000), 5.0)
    yield Kind("AAC (ADTS)", speaker("aac", "adts", 44100), 5.0)
    yield Kind("webm (Opus)", speaker("libopus", "webm", 48000), 5.0)
    yield Kind("webm of a browser: no length", speaker("libopus", "webm", 48000, live="1"), 5.0)
    yield Kind("Matroska (FLAC)", speaker("flac", "matroska", 48000, 2), 5.0)
    yield Kind(
        "Matroska, sound of a video",
        lambda: by_ffmpeg(bursts(5.0, 48000), 48000, "matroska", "libopus", video=True),
        5.0,
    )
    yield Kind("Ogg (Opus)", lambda: ogg("libopus", 5.0), 5.0)
    yield Kind("Ogg (FLAC)", lambda: ogg("flac", 5.0), 5.0)
    yield Kind("WMA", lambda: by_ffmpeg(bursts(5.0, 44100), 44100, "asf", "wmav2", bit_rate=64000), 5.0)
    yield Kind("AC-3, 5.1", speaker("ac3", "ac3", 48000, 6), 5.0)
    yield Kind("E-AC-3", speaker("eac3", "eac3", 48000, 2), 5.0)
    yield Kind("WavPack", speaker("wavpack", "wv", 44100, 2), 5.0)
    yield Kind("TTA", speaker("tta", "tta", 44100, 2), 5.0)
    yield Kind("AVI (MP3)", lambda: by_ffmpeg(bursts(5.0, 44100), 44100, "avi", "mp3", video=True), 5.0)
    yield Kind("MPEG-TS (AAC)", speaker("aac", "mpegts", 48000), 5.0)
    yield Kind("FLV (AAC)", speaker("aac", "flv", 44100), 5.0)
    yield Kind("WAV with AC-3 in it", speaker("ac3", "wav", 48000, 2), 5.0)
    yield Kind("WAV with MP3 in it", speaker("mp3", "wav", 44100), 5.0)
    yield Kind("WAV, 8 channels", lambda: wav(bursts(5.0, channels=8)), 5.0)
    yield Kind("WAV, 192 kHz", lambda: wav(bursts(5.0, 192000), 192000), 5.0)
    yield Kind(
        "WAV, LIST of zeros before the sound", lambda: wav(bursts(5.0), before=chunk(b"LIST", bytes(100_000))), 5.0
    )
    yield Kind("WAV, chunks after the sound", lambda: wav(bursts(5.0), after=chunk(b"LIST", b"INFO" * 30)), 5.0)
    for valid, width in ((24, 4), (20, 4), (16, 4), (16, 3), (20, 3), (12, 2)):
        yield Kind(
            f"WAV, {valid} bits in {8 * width}, extensible",
            lambda valid=valid, width=width: extensible(valid, width),  # type: ignore[misc]
            5.0,
        )
    yield Kind("WAV, 24 bits in 32", lambda: extensible(24, 4, extensible=False), 5.0)
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        yield Kind(f"RIFX {subtype}", lambda subtype=subtype: big_endian(subtype), 5.0)  # type: ignore[misc]
    yield Kind("AIFF-C, fl32 with 16 bits", lambda: aifc(b"fl32"), 5.0)
    yield Kind("FLAC, tag at the end", lambda: flac() + ID3V1, 5.0)
    yield Kind("MP3, cover of 900 kB", lambda: id3(900_000) + mp3(), 5.0)


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
    yield Kind("RF64 that was never closed", lambda: rf64(0), 5.0)
    yield Kind("RF64, size unknown", lambda: rf64((1 << 64) - 1), 5.0)
    yield Kind("AIFF into a pipe", lambda: aiff(0x7F000008, 0x3F800000), 5.0)
    yield Kind("AU into a pipe", lambda: au(0xFFFFFFFF), 5.0)
    yield Kind("CAF of unknown length", lambda: caf(-1), 5.0)
    yield Kind("FLAC without a length", lambda: flac(frames=0), 5.0)
    yield Kind("MP3 without a Xing frame", lambda: bare(mp3()), 5.0)
    yield Kind("MP3, variable rate, no Xing frame", lambda: bare(mp3(variable=True)), 5.0)
    yield Kind("MP3, begins within a frame", lambda: bare(mp3())[100:], 5.0)
    yield Kind("MP3, last frame incomplete", lambda: bare(mp3())[:-20], 5.0)


def _joined() -> Iterator[Kind]:
    """Of several files."""
    yield Kind("MP3 + MP3", lambda: mp3(3.0) + mp3(4.0, variable=True), 7.0, slack=0.2)
    yield Kind("MP3 + ID3v1 + MP3", lambda: bare(mp3(3.0)) + ID3V1 + bare(mp3(4.0)), 7.0, slack=0.2)
    yield Kind("MP3 + ID3v2 + MP3", lambda: bare(mp3(3.0)) + id3() + bare(mp3(4.0)), 7.0, slack=0.2)
    yield Kind("Ogg: two links of Vorbis", lambda: ogg("vorbis") + ogg("vorbis", 3.0, 700.0), 5.0)
    yield Kind(
        "Ogg: three links of Opus",
        lambda: ogg("libopus") + ogg("libopus", 3.0, 700.0) + ogg("libopus", 4.0, 900.0),
        9.0,
    )
    yield Kind("FLAC + FLAC", lambda: flac(2.0) + flac(4.0), 6.0)
    yield Kind(
        "WAV, two chunks of sound", lambda: wav(bursts(2.0), after=chunk(b"LIST", b"x" * 90) + data_chunk(3.0)), 5.0
    )
    yield Kind("MP3 after 5,000 zeros", lambda: bytes(5000) + mp3(), 5.0)
    yield Kind("Matroska, tracks of 1 and 5 s", lambda: tracks(1.0, 5.0), 5.0, "has 2 tracks of sound; only number 2")
    yield Kind(
        "Matroska, a silent track, and one with sound",
        lambda: tracks(5.0, 5.0, levels=(0.0, 1.0)),
        5.0,
        "has 2 tracks of sound; only number 2",
    )
    yield Kind("WAV + WAV", lambda: wav(bursts(2.0)) + wav(bursts(4.0)), 6.0)
    yield Kind("WAV + WAV at another rate", lambda: wav(bursts(2.0)) + wav(bursts(4.0, 8000), 8000), 6.0)
    yield Kind("AAC + AAC", lambda: 2 * by_ffmpeg(bursts(3.0, 44100), 44100, "adts", "aac"), 6.0)
    yield Kind("ID3 before FLAC", lambda: id3() + flac(), 5.0)
    yield Kind("ID3 before WAV", lambda: id3() + wav(bursts(5.0)), 5.0)
    yield Kind("ID3 before AIFF", lambda: id3() + aiff(), 5.0)
    yield Kind("ID3 before Ogg", lambda: id3() + ogg("vorbis", 5.0), 5.0)


def _damaged() -> Iterator[Kind]:
    """Of which a part is gone, or whose header says less than is there."""
    yield Kind("MP3, header of a frame zeroed", lambda: zeroed_header(bare(mp3()), 40), 5.0, "damaged")
    yield Kind("MP3, 33 bytes between frames", lambda: between(bare(mp3()), bytes(range(33))), 5.0, "damaged")
    yield Kind("MP3, Xing counts too few", lambda: with_count(mp3(variable=True), 0.3), 5.0)
    yield Kind("MP3, Xing counts too many", lambda: with_count(mp3(variable=True), 2.5), 5.0)
    yield Kind("MP3, cut", lambda: tail(mp3(), 0.5), 2.5, "cut short")
    yield Kind("WAV, size of the first flush", lambda: wav(bursts(5.0), data_size=RATE), 5.0, "tells of 0.50 s")
    yield Kind(
        "WAV, odd LIST without its padding", lambda: wav(bursts(5.0), before=chunk(b"LIST", b"x" * 25, pad=False)), 5.0
    )
    yield Kind("WAV, cut", lambda: tail(wav(bursts(5.0)), 0.5), 2.5, "cut short: 2.50 s of 5.00 s")
    yield Kind("AIFF, size of the first flush", lambda: aiff(RATE + 8, RATE // 2), 5.0, "tells of 0.50 s")
    yield Kind("AIFF, cut", lambda: tail(aiff(), 0.5), 2.5, "cut short")
    yield Kind("AU, size of the first flush", lambda: au(RATE), 5.0, "tells of 0.50 s")
    yield Kind("CAF, size of the first flush", lambda: caf(RATE), 5.0, "tells of 0.50 s")
    yield Kind("W64, cut", lambda: tail(by_soundfile(bursts(5.0), form="W64"), 0.5), 2.5, "cut short")
    yield Kind("FLAC, length of the first flush", lambda: flac(frames=8000), 5.0)
    yield Kind("FLAC, cut", lambda: tail(flac(), 0.5), 2.5, "cut short or damaged", slack=0.3)
    yield Kind("Ogg (Vorbis), cut", lambda: tail(ogg("vorbis", 10.0), 0.5), 5.0, "cut short", slack=1.5)
    yield Kind("Ogg (Opus), cut", lambda: tail(ogg("libopus", 10.0), 0.5), 5.0, "cut short", slack=1.1)
    yield Kind("webm, cut", lambda: tail(speaker("libopus", "webm", 48000)(), 0.5), 2.5, "cut short", slack=0.3)
    yield Kind(
        "MP4, fragmented, cut",
        lambda: tail(speaker("aac", "mp4", 44100, movflags="frag_every_frame+empty_moov")(), 0.5),
        2.5,
        "damaged",
        slack=0.3,
    )
    yield Kind(
        "WAV, channels that cancel out",
        lambda: wav(adjust(bursts(5.0), left=1, right=-1, noise=2e-5)),
        5.0,
        "cancels out",
    )
    yield Kind(
        "Opus, channels that cancel out",
        lambda: by_ffmpeg(adjust(bursts(5.0, 48000), left=1, right=-1), 48000, "ogg", "libopus"),
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
    yield Kind("Matroska, two silent tracks", lambda: tracks(3.0, 3.0, levels=(0.0, 0.0)), None, why="silent")
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
    yield Kind("a video without sound", lambda: mute(), None, why="holds no sound")
    yield Kind("random bytes", lambda: rng_bytes(20_000), None, why="no sound file")
    yield Kind("nothing", lambda: b"", None, why="empty (0 bytes)")
