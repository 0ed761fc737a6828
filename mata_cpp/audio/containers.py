"""What must be known about an audio file before libsndfile reads it.

libsndfile shortens some damaged files in silence and stops early on some sound ones, so the few
container fields that tell how much a file promises are read here:

- RIFF/WAVE: the size of the ``data`` chunk (placeholders written by pipes are legitimate),
- MPEG audio: the Xing/Info header, or the frames counted one by one where there is none,
- Ogg: whether the last page is whole.

Sources: the RIFF specification; ISO/IEC 11172-3 table of bit rates; RFC 3533 (Ogg pages).
"""

from __future__ import annotations

import io
import shlex
import struct
from typing import BinaryIO

from ..errors import AudioError

NOT_AUDIO = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"GGUF": "a GGUF model file",
    b"\x7fELF": "a program",
}
"""Magic bytes of files that people pass by mistake, for a clearer message."""

MPEG_BITRATES = {  # kbit/s by (version 1?, layer), index 1..14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

STREAMED_SIZE = 0x7FFFF000
"""Sizes from here on are what a writer into a pipe puts for "unknown" (sox 0x7FFFF000, ffmpeg 0xFFFFFFFF)."""

SLOPPY_BYTES = 64
"""Writers that miscount a header by this much are forgiven."""


def ffmpeg_hint(name: str) -> str:
    """What to do with a format that libsndfile cannot read."""
    source = shlex.quote(name) if name and not name.startswith("<") else "INPUT"
    return f"convert it first: ffmpeg -i {source} -ar 16000 -ac 1 clip.wav"


class SteadyFile:
    """What libsndfile reads through: a seek that a damaged file leads astray stays where it was."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (ValueError, OSError):
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def prepare(file: BinaryIO, name: str) -> tuple[BinaryIO, int | None]:
    """Check the container of a seekable file and mend what libsndfile would misread.

    Returns the file to decode (positioned at 0) and the number of frames it promises, or None where
    the container does not say.  Raises AudioError for files that are cut short or are no audio.
    """
    file.seek(0, io.SEEK_END)
    size = file.tell()
    file.seek(0)
    head = file.read(64)
    file.seek(0)
    if not size:
        raise AudioError(f"{name} is empty (0 bytes)")
    for magic, what in NOT_AUDIO.items():
        if head.startswith(magic):
            raise AudioError(f"{name} is {what}, not audio")
    if head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3") or head.startswith(b"0&\xb2u"):
        kind = "MP4/M4A" if head[4:8] == b"ftyp" else "WebM/Matroska" if head[0] == 0x1A else "WMA"
        raise AudioError(f"{name} is in a format that libsndfile cannot read ({kind}); {ffmpeg_hint(name)}")
    if head[0] == 0xFF and len(head) > 1 and head[1] & 0xF6 == 0xF0:
        raise AudioError(f"{name} is in a format that libsndfile cannot read (AAC); {ffmpeg_hint(name)}")
    if head.startswith((b"RIFF", b"RIFX")) and head[8:12] == b"WAVE":
        return _prepare_riff(file, size, name), None
    if head.startswith(b"OggS"):
        _check_ogg(file, size, name)
    elif head.startswith(b"ID3") or (head[0] == 0xFF and len(head) > 1 and head[1] & 0xE0 == 0xE0):
        return _prepare_mpeg(file, size, name)
    file.seek(0)
    return file, None


def is_mpeg(file: BinaryIO) -> bool:
    """Whether libsndfile will hand the file, positioned at 0, to its MPEG decoder."""
    head = file.read(64)
    file.seek(0)
    if head.startswith(b"RIFF"):
        return head[20:22] in (b"\x50\0", b"\x55\0")  # WAVE with MPEG audio in it
    return head.startswith((b"ID3", b"\xff"))


def log_says_truncated(log: str) -> bool:
    """Whether libsndfile's parse log (``SoundFile.extra_info``) tells of missing data (AIFF, AU, W64, RF64, VOC)."""
    for line in log.splitlines():
        if "truncated file" in line or ("Calculated frame count" in line and "does not match" in line):
            return True
        key, _, rest = line.partition(":")
        if "(should be" in rest and key.strip() in ("SSND", "Data Size", "riff"):
            promised, _, present = rest.partition("(should be")
            try:
                if int(present.strip(" )")) + SLOPPY_BYTES < int(promised) < STREAMED_SIZE:
                    return True
            except ValueError:
                continue
    return False


def truncated(name: str, detail: str) -> AudioError:
    return AudioError(f"{name} is cut short: {detail}; copy or download it again")


# RIFF/WAVE -------------------------------------------------------------------------------------


def _prepare_riff(file: BinaryIO, size: int, name: str) -> BinaryIO:
    """Compare the data chunk's size with what is there; a size of 0 left by a pipe is filled in."""
    order = "<" if file.read(4) == b"RIFF" else ">"
    riff_size = struct.unpack(order + "I", file.read(4))[0]
    position = 12
    while position + 8 <= size:
        file.seek(position)
        chunk, length = struct.unpack(order + "4sI", file.read(8))
        if chunk == b"data":
            present = size - position - 8
            streamed_riff = riff_size == 0 or riff_size >= STREAMED_SIZE or riff_size + 8 <= position + 8
            if length == 0 and present and streamed_riff:
                file.seek(0)
                mended = bytearray(file.read())
                struct.pack_into(order + "I", mended, position + 4, present)
                struct.pack_into(order + "I", mended, 4, size - 8)
                return io.BytesIO(bytes(mended))
            if present + SLOPPY_BYTES < length < STREAMED_SIZE:
                raise truncated(name, f"its header promises {length:,} bytes of sound, {present:,} are there")
            break
        position += 8 + length + (length & 1)
    else:
        raise truncated(name, "the WAV file ends before any sound")
    file.seek(0)
    return file


# Ogg -------------------------------------------------------------------------------------------


def _check_ogg(file: BinaryIO, size: int, name: str) -> None:
    """The last page must be whole (RFC 3533: 27 bytes, a table of segment lengths, the segments)."""
    start = max(0, size - 2 * 65307)
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS")
    body = tail[page:] if page >= 0 else b""
    segments = body[27 : 27 + body[26]] if len(body) >= 27 else None
    if segments is None or len(body) < 27 + body[26] or len(body) < 27 + body[26] + sum(segments):
        raise truncated(name, "its last Ogg page is incomplete")


# MPEG audio ------------------------------------------------------------------------------------


def mpeg_frame(header: bytes) -> tuple[int, int] | None:
    """(bytes, samples) of the MPEG audio frame that these four bytes begin, or None."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    bitrate, rate = header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    kbits = MPEG_BITRATES[version == 3, layer][bitrate - 1]
    hertz, padding = MPEG_RATES[version][rate], (header[2] >> 1) & 1
    if layer == 1:
        return (12000 * kbits // hertz + padding) * 4, 384
    samples = 1152 if layer == 2 or version == 3 else 576
    return samples * 125 * kbits // hertz + padding, samples


def _prepare_mpeg(file: BinaryIO, size: int, name: str) -> tuple[BinaryIO, int | None]:
    """Frames promised by a Xing/Info header; where there is none, one is put in front.

    Without it libsndfile guesses the length from the first bit rate and drops the rest of a variable
    bit rate file in silence.
    """
    data = file.read()
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:
        a, b, c, d = data[start + 6 : start + 10]
        start += 10 + ((a & 127) << 21 | (b & 127) << 14 | (c & 127) << 7 | (d & 127))
    while start < size and data[start] == 0:  # padding after a tag
        start += 1
    first = _first_frame(data, start)
    if first is None:
        if start >= size:
            raise truncated(name, "it ends within its ID3 tag")
        raise AudioError(f"{name} holds no MPEG audio that can be decoded; {ffmpeg_hint(name)}")
    length, samples = mpeg_frame(data[first : first + 4]) or (0, 0)
    frame = data[first : first + length]
    tag = max(frame[:64].find(b"Xing"), frame[:64].find(b"Info"))
    if tag >= 0:
        return _xing(file, data, first, tag, samples, name)
    count, end = _count_frames(data, first)
    if end > size:
        raise truncated(name, "its last MPEG frame is incomplete")
    return io.BytesIO(_xing_frame(data, first, count) + data[first:]), None


def _xing(file: BinaryIO, data: bytes, first: int, tag: int, samples: int, name: str) -> tuple[BinaryIO, int | None]:
    at = first + tag
    if at + 16 > len(data):
        raise truncated(name, "it ends within its first frame")
    flags = struct.unpack(">I", data[at + 4 : at + 8])[0]
    fields = [struct.unpack(">I", data[at + 8 + 4 * i : at + 12 + 4 * i])[0] for i in range(2)]
    count = fields[0] if flags & 1 else None
    if flags & 3 == 3:
        present = len(data) - first
        if present + 1500 < fields[1]:
            raise truncated(name, f"its header promises {fields[1]:,} bytes of sound, {present:,} are there")
    file.seek(0)
    return file, None if count is None else max(0, count - 4) * samples


def _first_frame(data: bytes, start: int) -> int | None:
    """Offset of the first frame that another one (or the end) follows, within 64 KiB of start."""
    position = start
    while (position := data.find(b"\xff", position, start + 65536)) >= 0:
        frame = mpeg_frame(data[position : position + 4])
        if frame is not None:
            follows = position + frame[0]
            if follows >= len(data) or mpeg_frame(data[follows : follows + 4]) is not None:
                return position
        position += 1
    return None


def _count_frames(data: bytes, first: int) -> tuple[int, int]:
    """(frames, where the last one ends), walking from header to header; tags at the end stop the walk."""
    count, position = 0, first
    while (frame := mpeg_frame(data[position : position + 4])) is not None:
        count += 1
        position += frame[0]
    return count, position


def _xing_frame(data: bytes, first: int, count: int) -> bytes:
    """A frame of silence whose Xing header says how many frames follow it."""
    header = bytearray(data[first : first + 4])
    header[1] |= 1  # no checksum
    mono, version1 = header[3] >> 6 == 3, (header[1] >> 3) & 3 == 3
    layer3 = (header[1] >> 1) & 3 == 1
    if not layer3:
        return b""
    side = (17 if mono else 32) if version1 else (9 if mono else 17)
    for bitrate in range(header[2] >> 4, 15):  # a frame large enough for the tag
        header[2] = bitrate << 4 | header[2] & 0x0F
        length = (mpeg_frame(bytes(header)) or (0, 0))[0]
        if length >= 4 + side + 12:
            body = bytes(header) + bytes(side) + b"Xing" + struct.pack(">II", 1, count)
            return body + bytes(length - len(body))
    return b""
