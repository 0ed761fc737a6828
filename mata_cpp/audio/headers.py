"""Containers of plain samples: where the sound lies, whatever their headers say of its length.

Writers into pipes do not know a length, recorders that are cut off leave the first one standing, 32 bits wrap at 4 GiB.
So the sound is taken to reach to the end of the file unless other chunks follow, and the decoder is given a header that
says so.  What a header promises and what is there are compared; a difference is a note.

Sources: Microsoft's RIFF and multiple-channel specifications, EBU Tech 3306 (RF64), Sony's Wave64, Apple's AIFF-C and
CAF specifications, Sun's .au header.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from ..errors import AudioError
from .view import Part, Span, read_at

STREAMED_SIZE = 0x7EFF0000
"""32-bit sizes from here on stand for "unknown": SoX writes 0x7FFFF000 or 0x7F000000 less a part of a block, FFmpeg
0xFFFFFFFF."""

SLACK_S = 0.1
"""Differences of length below this are nobody's loss."""

MAX_CHANNELS = 64
MIN_RATE, MAX_RATE = 1000, 768000

TAIL = 1 << 20
"""Where tags at the end of a streamed file are looked for, in bytes."""

UNKNOWN = (1 << 64) - 1


@dataclass
class Stream:
    """One stream of sound in a file: what a decoder is to be given, and what is to be said of it.

    seconds: what the container promises, if it does.
    """

    parts: Sequence[Part]
    seconds: float | None = None
    notes: list[str] = field(default_factory=list)


class Chunk(NamedTuple):
    """id, where its content begins, and its size as written."""

    id: bytes
    start: int
    size: int


def check_rate(rate: int, what: str) -> None:
    """Raises AudioError for a rate that no recorder has."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{what} is {rate} Hz: it must lie between {MIN_RATE} and {MAX_RATE}")


def check_channels(count: int, name: str) -> None:
    """Raises AudioError for more channels than any recorder has: they are a damaged field, and take memory."""
    if count > MAX_CHANNELS:
        raise AudioError(f"{name} has {count:,} channels: at most {MAX_CHANNELS} can be heard")


# RIFF, RF64, BW64 ------------------------------------------------------------------------------------


def wav_streams(file: BinaryIO, start: int, size: int, name: str) -> list[Stream]:
    """The streams of a WAV file; several where files were joined.  Raises AudioError where no sound follows."""
    found: list[Stream] = []
    position: int | None = start
    while position is not None:
        try:
            stream, position = _wav(file, position, size, name)
        except AudioError:
            if not found:
                raise
            break
        found.append(stream)
    return found


def _wav(file: BinaryIO, start: int, size: int, name: str) -> tuple[Stream, int | None]:
    """The stream that begins at start, and where the next file does, if another was joined to this one."""
    order = ">" if read_at(file, start, 4) == b"RIFX" else "<"
    fmt = fact = b""
    long_size: int | None = None
    for chunk in _chunks(file, start + 12, size, order):
        if chunk.id == b"fmt ":
            fmt = read_at(file, chunk.start, min(chunk.size, 4096))
        elif chunk.id == b"fact":
            fact = read_at(file, chunk.start, min(chunk.size, 64))
        elif chunk.id == b"ds64":
            long_size = struct.unpack("<Q", read_at(file, chunk.start + 8, 8).ljust(8, b"\0"))[0]
        elif chunk.id == b"data":
            break
    else:
        raise AudioError(f"{name} is cut short: the WAV file ends before any sound; copy or download it again")
    if len(fmt) < 16:
        raise AudioError(f"{name} is damaged: the WAV file has no format chunk before its sound")
    check_channels(struct.unpack(order + "H", fmt[2:4])[0], name)
    fmt = _plain_format(order, fmt)
    rate, per_second, align = struct.unpack(order + "4xIIH", fmt[:14])
    plain = struct.unpack(order + "H", fmt[:2])[0] in (1, 3, 6, 7)
    per_second = rate * align if plain else per_second
    present = size - chunk.start
    promised = chunk.size if long_size is None or chunk.size != 0xFFFFFFFF else long_size
    if long_size is not None and (promised in (0, UNKNOWN) or promised >= 1 << 62):
        promised = UNKNOWN
    if long_size is None and (promised == 0 or promised >= STREAMED_SIZE) and promised != present:
        promised = UNKNOWN if promised or not _only_chunks(file, chunk.start, size, order) else 0
    length, following, notes = _extent(file, chunk.start, size, promised, per_second, order)
    next_file = (
        following if following is not None and read_at(file, following, 4) in (b"RIFF", b"RIFX", b"RF64") else None
    )
    spans = [Span(chunk.start, chunk.start + length)]
    if following is not None and next_file is None:
        more = [c for c in _chunks(file, following, size, order) if c.id == b"data" and 0 < c.size <= size - c.start]
        spans += [Span(c.start, c.start + c.size) for c in more]
    length = sum(span.size for span in spans)
    parts: list[Part] = [_wav_header(order, fmt, fact, length), *spans]
    seconds = None if promised == UNKNOWN or not per_second else length / per_second
    return Stream(parts, seconds, notes), next_file


_GUID = bytes.fromhex("000000001000800000aa00389b71")
"""What stands behind the codec's number in an extensible format, from its third byte on."""


def _plain_format(order: str, fmt: bytes) -> bytes:
    """Samples of 24 bits in 32 are samples of 32 bits, and an extensible format of plain samples is a plain one: the
    number of valid bits misleads decoders."""
    tag, channels, rate, _, align, bits = struct.unpack(order + "HHIIHH", fmt[:16])
    if tag == 0xFFFE and fmt[26:40] == _GUID:
        tag = struct.unpack(order + "H", fmt[24:26])[0]
    if tag not in (1, 3) or not channels or align % channels or not 1 <= align // channels <= 8:
        return fmt
    width = align // channels
    if tag == 3 and width not in (4, 8):
        return fmt
    return struct.pack(order + "HHIIHH", tag, channels, rate, min(rate * align, 0xFFFFFFFF), align, 8 * width)


def _wav_header(order: str, fmt: bytes, fact: bytes, length: int) -> bytes:
    """Everything up to the first byte of sound."""
    chunks = struct.pack(order + "4sI", b"fmt ", len(fmt)) + fmt + bytes(len(fmt) & 1)
    if fact:
        chunks += struct.pack(order + "4sI", b"fact", len(fact)) + fact + bytes(len(fact) & 1)
    total = 4 + len(chunks) + 8 + length
    if total < 0xFFFFFFFF:
        riff = b"RIFF" if order == "<" else b"RIFX"
        return struct.pack(order + "4sI4s", riff, total, b"WAVE") + chunks + struct.pack(order + "4sI", b"data", length)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, total + 36, length, 0, 0)
    head = struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE")
    return head + sizes + chunks + struct.pack("<4sI", b"data", 0xFFFFFFFF)


_W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""What the ids of Wave64's chunks have behind their four letters."""


def w64_streams(file: BinaryIO, start: int, size: int, name: str) -> list[Stream]:
    """The stream of a Wave64 file, as WAV.  Raises AudioError where no sound follows."""
    fmt, position = b"", start + 40
    while len(head := read_at(file, position, 24)) == 24:
        kind, length = head[:4], struct.unpack("<Q", head[16:])[0]
        if head[4:16] != _W64_GUID or length < 24:
            break
        if kind == b"fmt ":
            fmt = read_at(file, position + 24, min(length - 24, 4096))
        if kind == b"data" and len(fmt) >= 16:
            check_channels(struct.unpack("<H", fmt[2:4])[0], name)
            begin, per_second = position + 24, struct.unpack("<I", fmt[8:12])[0]
            promised = length - 24 if 24 < length < 1 << 62 else UNKNOWN
            found, _, notes = _extent(file, begin, size, promised, per_second, "w64")
            seconds = None if promised == UNKNOWN or not per_second else found / per_second
            return [Stream([_wav_header("<", fmt, b"", found), Span(begin, begin + found)], seconds, notes)]
        position += (length + 7) // 8 * 8
    raise AudioError(f"{name} is cut short: the W64 file ends before any sound; copy or download it again")


# AIFF --------------------------------------------------------------------------------------------------


def aiff_streams(file: BinaryIO, start: int, size: int, name: str) -> list[Stream]:
    """The stream of an AIFF or AIFF-C file.  Raises AudioError where no sound follows."""
    form = read_at(file, start + 8, 4)
    comm, sound = b"", None
    for chunk in _chunks(file, start + 12, size, ">"):
        if chunk.id == b"COMM":
            comm = read_at(file, chunk.start, min(chunk.size, 4096))
        elif chunk.id == b"SSND":
            sound = chunk
        if comm and sound:
            break
    if len(comm) < 18 or sound is None:
        raise AudioError(f"{name} is cut short: the AIFF file ends before any sound; copy or download it again")
    channels, frames, bits = struct.unpack(">HIH", comm[:8])
    check_channels(channels, name)
    width = _aiff_width(comm[18:22] if form == b"AIFC" else b"NONE", bits)
    rate = _extended(comm[8:18])
    offset = struct.unpack(">I", read_at(file, sound.start, 4).ljust(4, b"\0"))[0]
    begin = sound.start + 8 + offset
    if width is None or not channels or not math.isfinite(rate) or rate < 1 or begin > size:
        return [Stream([Span(start, size)])]
    promised = sound.size - 8 - offset if 8 + offset <= sound.size < STREAMED_SIZE else UNKNOWN
    length, _, notes = _extent(file, begin, size, promised, rate * channels * width, ">")
    frames = min(length // (channels * width), 0xFFFFFFFF)
    chunks = struct.pack(">4sI", b"COMM", len(comm)) + comm[:2] + struct.pack(">I", frames) + comm[6:]
    chunks += bytes(len(comm) & 1) + struct.pack(">4sIII", b"SSND", min(length + 8, 0xFFFFFFFF), 0, 0)
    head = struct.pack(">4sI4s", b"FORM", min(4 + len(chunks) + length, 0xFFFFFFFF), form) + chunks
    seconds = None if promised == UNKNOWN else length / (rate * channels * width)
    return [Stream([head, Span(begin, begin + length)], seconds, notes)]


_AIFF_WIDTHS = {b"ulaw": 1, b"alaw": 1, b"in24": 3, b"42ni": 3, b"in32": 4, b"23ni": 4, b"fl32": 4, b"fl64": 8}


def _aiff_width(kind: bytes, bits: int) -> int | None:
    """Bytes of a sample; None for what is not stored sample by sample."""
    if kind in (b"NONE", b"twos", b"sowt", b"raw "):
        return (bits + 7) // 8 or None
    return _AIFF_WIDTHS.get(kind.lower())


def _extended(data: bytes) -> float:
    """An 80-bit IEEE 754 number."""
    exponent, mantissa = struct.unpack(">HQ", data)
    try:
        return math.ldexp(float(mantissa), (exponent & 0x7FFF) - 16383 - 63)
    except OverflowError:
        return math.inf


# AU --------------------------------------------------------------------------------------------------------

_AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


def au_streams(file: BinaryIO, start: int, size: int, name: str) -> list[Stream]:
    """The stream of an .au file.  Raises AudioError where no sound follows."""
    header = read_at(file, start, 24)
    order = ">" if header[:4] == b".snd" else "<"
    if len(header) < 24:
        raise AudioError(f"{name} is cut short: the AU file ends before any sound; copy or download it again")
    offset, promised, encoding, rate, channels = struct.unpack(order + "5I", header[4:])
    check_channels(channels, name)
    per_second = rate * channels * _AU_WIDTHS.get(encoding, 0)
    if offset < 24 or not per_second or start + offset >= size:
        return [Stream([Span(start, size)])]
    begin = start + offset
    known = 0 < promised < STREAMED_SIZE
    length, _, notes = _extent(file, begin, size, promised if known else UNKNOWN, per_second, None)
    head = header[:4] + struct.pack(order + "5I", 24, min(length, 0xFFFFFFFF), encoding, rate, channels)
    return [Stream([head, Span(begin, begin + length)], length / per_second if known else None, notes)]


# CAF -------------------------------------------------------------------------------------------------------


def caf_streams(file: BinaryIO, start: int, size: int, name: str) -> list[Stream]:
    """The stream of a CAF file.  Raises AudioError where no sound follows."""
    position, per_second = start + 8, 0.0
    while len(head := read_at(file, position, 12)) == 12:
        kind, length = struct.unpack(">4sq", head)
        if kind == b"desc":
            rate, codec, _, block, frames, _, _ = struct.unpack(
                ">d4s5I", read_at(file, position + 12, 32).ljust(32, b"\0")
            )
            if codec in (b"lpcm", b"ulaw", b"alaw") and frames and 0 < rate < 1e7:
                per_second = rate * block / frames
        if kind == b"data":
            break
        position = position + 12 + length if length >= 0 else size
    else:
        raise AudioError(f"{name} is cut short: the CAF file ends before any sound; copy or download it again")
    if not per_second:
        return [Stream([Span(start, size)])]
    begin = position + 12
    promised = length if length > 0 else UNKNOWN
    found, _, notes = _extent(file, begin, size, promised, per_second, "caf")
    parts: list[Part] = [Span(start, position + 4), struct.pack(">q", found), Span(begin, begin + found)]
    return [Stream(parts, None if promised == UNKNOWN else max(0, found - 4) / per_second, notes)]


# Chunks ------------------------------------------------------------------------------------------------------


def _extent(
    file: BinaryIO, begin: int, size: int, promised: int, per_second: float, order: str | None
) -> tuple[int, int | None, list[str]]:
    """(bytes of sound from begin on, where a chunk follows them, notes)."""
    present = max(0, size - begin)
    slack = SLACK_S * per_second
    if promised == UNKNOWN:
        return present - _tail(file, begin, size, order), None, []
    if promised > present:
        if promised - present <= slack or not per_second:  # per_second: of a codec that does not say
            return present, None, []
        missing, there = (promised - present) / per_second, present / per_second
        return present, None, [f"is cut short: {missing:.2f} s of {missing + there:.2f} s are missing at its end"]
    following = begin + promised + (promised & 1 if order in ("<", ">") else 0)
    if not per_second:
        return promised, None, []
    rest = present - promised
    if rest <= max(slack, 8) or _only_tail(file, begin + promised, size, order):
        return promised, following if rest >= 8 else None, []
    if promised == present % (1 << 32):
        return present, None, []  # a size that has wrapped
    if not any(read_at(file, begin + promised, 1 << 16)):  # padding
        return promised, None, []
    told, heard = promised / per_second, present / per_second
    return (
        present,
        None,
        [f"has a header that tells of {told:.2f} s; the {heard - told:.2f} s after them are heard too"],
    )


def _tail(file: BinaryIO, begin: int, size: int, order: str | None) -> int:
    """Bytes of tags that a streamed RIFF file ends with: chunks that reach to its end exactly."""
    if order not in ("<", ">"):
        return 0
    first = max(begin, size - TAIL)
    data = read_at(file, first, size - first)
    for name in (b"LIST", b"id3 ", b"ID3 ", b"bext", b"_PMX"):
        at = data.find(name)
        while at >= 0:
            if len(data) >= at + 8 and _only_chunks(file, first + at, size, order):
                return len(data) - at
            at = data.find(name, at + 1)
    return 0


def _only_tail(file: BinaryIO, position: int, size: int, order: str | None) -> bool:
    """Whether what follows the sound is chunks, tags, or another file."""
    head = read_at(file, position, 128)
    if head[:3] in (b"ID3", b"TAG") or head[:8] == b"APETAGEX":
        return True
    if order is None:
        return False
    if order == "w64":
        return head[8 - position % 8 & 7 :][4:16] == _W64_GUID
    return any(_only_chunks(file, position + pad, size, order) for pad in ((0,) if order == "caf" else (0, 1)))


def _only_chunks(file: BinaryIO, position: int, size: int, order: str) -> bool:
    """Whether chunks lie side by side from position to the end."""
    length = 12 if order == "caf" else 8
    form = ">4sq" if order == "caf" else order + "4sI"
    first = True
    while position + length <= size:
        kind, extent = struct.unpack(form, read_at(file, position, length))
        if first and kind in (b"RIFF", b"RIFX", b"RF64") and order != "caf":
            return True  # another file
        if not _is_id(kind) or extent < 0 or position + length + extent > size + 1:
            return False
        position += length + extent + (0 if order == "caf" else extent & 1)
        first = False
    return not first


def _chunks(file: BinaryIO, position: int, size: int, order: str) -> Iterator[Chunk]:
    """The chunks from position on.  A chunk of odd size whose padding byte is missing is noticed."""
    while position + 8 <= size:
        kind, length = struct.unpack(order + "4sI", read_at(file, position, 8))
        yield Chunk(kind, position + 8, length)
        position += 8 + length
        if length & 1 and not _is_unpadded(read_at(file, position, 5)):
            position += 1


_COMMON = frozenset((b"data", b"fmt ", b"LIST", b"fact", b"SSND", b"COMM", b"bext", b"id3 ", b"cue ", b"smpl", b"PEAK"))


def _is_unpadded(data: bytes) -> bool:
    """Whether a chunk begins with the first of these five bytes, and not with the second."""
    here, later = data[:4], data[1:5]
    if here in _COMMON or later in _COMMON:
        return here in _COMMON
    return _is_id(here) and not _is_id(later)


def _is_id(data: bytes) -> bool:
    """Whether these four bytes can name a chunk."""
    return len(data) == 4 and all(32 <= byte < 127 for byte in data) and data[:1] != b" "
