"""A file put together from bytes and from parts of another file, without copying them."""

from __future__ import annotations

import bisect
import io
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple


class Span(NamedTuple):
    """Bytes start to end (not included) of a file."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


Part = bytes | Span


class ReadError(Exception):
    """The file gives an error in place of its bytes."""

    def __init__(self, cause: Exception) -> None:
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        super().__init__(" ".join(str(reason).split()).lower())


class View(io.RawIOBase):
    """A read-only file of parts, one after the other.  Spans are of file, whose position it moves.

    It is read from C, where exceptions are lost: what the file raises is kept in error, and is an end of the file.
    """

    error: Exception | None = None

    def __init__(self, file: BinaryIO, parts: Sequence[Part]) -> None:
        super().__init__()
        self._file = file
        self._parts = [part for part in parts if _size(part)]
        self._starts = [0]
        for part in self._parts:
            self._starts.append(self._starts[-1] + _size(part))
        self._at = 0

    @property
    def size(self) -> int:
        return self._starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """A seek that a damaged file leads astray stays where it was."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if 0 <= base + offset <= 1 << 62:
            self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self.size - self._at if size is None or size < 0 else size
        pieces = []
        while wanted > 0 and self._at < self.size:
            number = bisect.bisect_right(self._starts, self._at) - 1
            part, offset = self._parts[number], self._at - self._starts[number]
            count = min(wanted, _size(part) - offset)
            if isinstance(part, bytes):
                piece = part[offset : offset + count]
            else:
                try:
                    self._file.seek(part.start + offset)
                    piece = read_exactly(self._file, count)
                except Exception as error:
                    self.error, piece = error, b""
            if not piece:  # the file has become shorter
                break
            pieces.append(piece)
            self._at += len(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_exactly(file: BinaryIO, count: int) -> bytes:
    """count bytes, or all that are left: a raw file may give less at a time."""
    pieces = []
    while count > 0:
        piece = file.read(min(count, 1 << 20))[:count]
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """Up to count bytes from position on; none where a damaged file points to a place that cannot be."""
    if not 0 <= position < 1 << 62:
        return b""
    try:
        file.seek(position)
        return read_exactly(file, count)
    except Exception as error:  # of whatever kind of file it is
        raise ReadError(error) from None


def _size(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part.size
