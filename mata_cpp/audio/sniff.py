"""What a file is, told by its first bytes: which kind of sound, or why it is none."""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import BinaryIO

from .view import read_at

NOT_SOUND = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"Rar!": "a RAR archive",
    b"GGUF": "a GGUF model file",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\xca\xfe\xba\xbe": "a program",
    b"SQLite format 3\0": "a database",
    b"MThd": "a MIDI file, which holds notes and no sound",
    b"\x93NUMPY": "a NumPy array: load it and pass (samples, sample_rate)",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself (git lfs pull)",
    b"#EXTM3U": "a playlist: name the sound files in it",
    b"[playlist]": "a playlist: name the sound files in it",
}
"""Magic bytes of files that people pass by mistake."""

TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
"""What tags between and after MPEG frames begin with."""

HEAD = 4096
PADDING = 1 << 20
_WEB_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_XML = re.compile(rb"\s*<(\?xml|svg|\w+[ >])", re.IGNORECASE)


def id3_end(file: BinaryIO, start: int = 0) -> int:
    """Where the ID3v2 tags that begin at start end."""
    position = start
    while (head := read_at(file, position, 10))[:3] == b"ID3" and len(head) == 10:
        if head[3] > 4 or any(byte > 127 for byte in head[6:10]):
            break
        a, b, c, d = head[6:10]
        position += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
    return position


def zeros_end(file: BinaryIO, start: int) -> int:
    """Where the zeros that some files are padded with end; start if there are many."""
    data = read_at(file, start, PADDING)
    rest = data.lstrip(b"\0")
    return start + len(data) - len(rest) if len(data) - len(rest) >= 16 and rest else start


def not_sound(head: bytes) -> str | None:
    """What a file that begins with head is ("a PNG picture"), if that is no sound."""
    for magic, what in NOT_SOUND.items():
        if head.startswith(magic):
            return what
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _WEB_PAGE.match(text):
        return "a web page: the download gave a page in place of the file"
    if text.lstrip()[:1] in (b"{", b"[") and _is_text(text):
        return "JSON text"
    if _XML.match(text) and _is_text(text):
        return "XML text"
    if _is_text(text):
        return "text"
    if len(head) >= HEAD and not any(head):
        return "only zeros where sound should begin"
    return None


def kind_of(head: bytes) -> str:
    """The kind of container that head begins; "" if it is none of those that are told apart here."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:16] == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00":
        return "w64"
    if head[:4] in (b".snd", b"dns."):
        return "au"
    if head[:4] == b"caff":
        return "caf"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"fLaC":
        return "flac"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "mp4"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if mpeg_frame(head[:4]) is not None:
        return "mpeg"
    return ""


def encrypted(head: bytes) -> bool:
    """Whether an MP4 file begins as those of Audible do, which only its owner's key opens."""
    return head[4:8] == b"ftyp" and head[8:12] in (b"aax ", b"aaxc")


def _is_text(data: bytes) -> bool:
    """Whether all of data is printable text in UTF-8, perhaps cut within a character."""
    if not data:
        return False
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(data) - 3:
            return False
        text = data[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\r\n\t\f\x1b" for char in text)


# MPEG audio, ISO/IEC 11172-3 and 13818-3 ---------------------------------------------------------

_BITRATES = {  # kbit/s by (version 1?, layer), index 1..14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


@lru_cache(4096)
def mpeg_frame(header: bytes) -> tuple[int, int] | None:
    """(bytes, samples) of the MPEG audio frame that these four bytes begin, or None."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    bitrate, rate = header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    kbits = _BITRATES[version == 3, layer][bitrate - 1]
    hertz, padding = _RATES[version][rate], (header[2] >> 1) & 1
    if layer == 1:
        return (12000 * kbits // hertz + padding) * 4, 384
    samples = 1152 if layer == 2 or version == 3 else 576
    return samples * 125 * kbits // hertz + padding, samples


def before_frame(data: bytes) -> bytes:
    """What stands in data before the MPEG frame that ends with it; nothing if no frame does."""
    start = 0
    while (start := data.find(b"\xff", start)) >= 0:
        frame = mpeg_frame(data[start : start + 4])
        if frame is not None and start + frame[0] == len(data):
            return data[:start]
        start += 1
    return b""


def xing(frame: bytes) -> tuple[int, float] | None:
    """(bytes, seconds) that the Xing or Info header in an MPEG frame promises."""
    at = max(frame[:64].find(b"Xing"), frame[:64].find(b"Info"))
    found = mpeg_frame(frame[:4])
    if at < 0 or len(frame) < at + 16 or found is None:
        return None
    flags, count, size = struct.unpack(">III", frame[at + 4 : at + 16])
    rate = _RATES[(frame[1] >> 3) & 3][(frame[2] >> 2) & 3]
    return (size, count * found[1] / rate) if flags & 3 == 3 and size else None
