"""Ogg: the links of a chain, and what its pages promise (RFC 3533, RFC 7845)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from .headers import Stream
from .view import Span, read_at

_PAGE = struct.Struct("<4sBBqIIIB")
_MAX_PAGE = 27 + 255 + 255 * 255


@dataclass
class _Link:
    """One part of a chain; its first audio stream counts."""

    start: int
    serial: int | None = None
    rate: int = 0  # of granule positions
    skip: int = 0
    first: int | None = None
    last: int = 0
    lost: int = 0  # pages
    headers: set[int] = field(default_factory=set)


def ogg_streams(file: BinaryIO, start: int, size: int, name: str) -> list[Stream]:
    """A stream for each link of a chain, in order."""
    links: list[_Link] = []
    expected: dict[int, int] = {}
    position, data_seen, junk, cut = start, True, 0, False
    while position < size:
        head = read_at(file, position, _PAGE.size + 255)
        if len(head) < _PAGE.size or not head.startswith(b"OggS"):
            found = _next_page(file, position + 1, size)
            junk += (size if found is None else found) - position
            if found is None:
                break
            position = found
            continue
        _, _, flags, granule, serial, number, _, segments = _PAGE.unpack_from(head)
        table = head[_PAGE.size : _PAGE.size + segments]
        end = position + _PAGE.size + segments + sum(table)
        if end > size:
            cut = True
            break
        if flags & 2 and data_seen:  # the first page of a stream, after data: a new link
            links.append(_Link(position))
            data_seen = False
            expected.clear()
        if not links:  # begins in the middle
            links.append(_Link(position))
        link = links[-1]
        if flags & 2:
            _identify(link, serial, read_at(file, position + _PAGE.size + segments, min(64, sum(table))))
        elif granule != 0 or serial not in link.headers:
            data_seen = True
        if serial == link.serial:
            if expected.get(serial, number) != number:
                link.lost += max(1, number - expected[serial])
            if granule > 0:
                link.first = granule if link.first is None else link.first
                link.last = max(link.last, granule)
        expected[serial] = number + 1
        position = end
    if not links:
        return [Stream([Span(start, size)])]
    ends = [link.start for link in links[1:]] + [size]
    streams = [_stream(link, end) for link, end in zip(links, ends, strict=True)]
    if cut:
        streams[-1].notes.append("is cut short: its last Ogg page is incomplete")
    if junk:
        streams[-1].notes.append(f"holds {junk:,} bytes that belong to no Ogg page")
    return streams


def _identify(link: _Link, serial: int, packet: bytes) -> None:
    link.headers.add(serial)
    if link.serial is not None:
        return
    if packet.startswith(b"OpusHead") and len(packet) >= 19:
        link.serial, link.rate, link.skip = serial, 48000, struct.unpack_from("<H", packet, 10)[0]
    elif packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        link.serial, link.rate = serial, struct.unpack_from("<I", packet, 12)[0]
    elif packet.startswith(b"\x7fFLAC") and len(packet) >= 30:
        link.serial, link.rate = serial, int.from_bytes(packet[27:30], "big") >> 4
    elif packet.startswith(b"Speex") and len(packet) >= 40:
        link.serial, link.rate = serial, struct.unpack_from("<I", packet, 36)[0]


def _stream(link: _Link, end: int) -> Stream:
    seconds = None
    if link.rate and link.last:
        seconds = max(0, link.last - link.skip) / link.rate
    notes = [f"has lost {link.lost} Ogg page(s)"] if link.lost else []
    return Stream([Span(link.start, end)], seconds, notes)


def _next_page(file: BinaryIO, position: int, size: int) -> int | None:
    while position < size:
        data = read_at(file, position, 1 << 20)
        found = data.find(b"OggS")
        if found >= 0:
            return position + found
        if len(data) < 4:
            return None
        position += len(data) - 3
    return None
