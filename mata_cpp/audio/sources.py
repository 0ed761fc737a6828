"""What people pass as sound: paths, bytes, open files.  Each becomes a file that can be read from any place."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..checks import short_name
from ..errors import AudioError
from . import sniff

MAX_BYTES = 8 << 30
IN_MEMORY = 64 << 20
"""What comes from a pipe is kept in memory up to here, and in a temporary file beyond."""

AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("wav", "wave", "flac", "mp3", "mp2", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd", "caf"),
        *(
            "w64",
            "rf64",
            "voc",
            "m4a",
            "m4b",
            "aac",
            "mp4",
            "wma",
            "webm",
            "mka",
            "amr",
            "3gp",
            "ac3",
            "wv",
            "ape",
            "tta",
        ),
        *("mkv", "mov", "avi", "spx", "eac3", "dts"),
    )
)
"""File name endings that mean sound, also where this package cannot decode it."""


def describe_source(source: Any) -> str:
    """How messages call this source."""
    if isinstance(source, str | os.PathLike):
        return short_name(_path_text(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return f"<{len(source)} bytes>"
    if isinstance(source, tuple | list | dict):
        return "<samples>"
    name = getattr(source, "name", None)
    return short_name(name) if isinstance(name, str) and name else f"<{type(source).__name__}>"


def looks_like_audio_path(text: str) -> bool:
    """Whether text is a file name with the ending of an audio file."""
    return Path(text).suffix.lower() in AUDIO_SUFFIXES and "\n" not in text


@contextlib.contextmanager
def opened(source: Any, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """The source as a file to read from any place, and its size in bytes.  Raises AudioError."""
    if isinstance(source, str | os.PathLike):
        with _from_path(_path_text(source), name) as found:
            yield found
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        yield io.BytesIO(data), len(data)
    else:
        with _from_file(source, name) as found:
            yield found


def _path_text(source: str | os.PathLike[Any]) -> str:
    path = os.fspath(source)
    return os.fsdecode(path) if isinstance(path, bytes) else path


@contextlib.contextmanager
def _from_path(path: str, name: str) -> Iterator[tuple[BinaryIO, int]]:
    if not path:
        raise AudioError("the name of the audio file is empty")
    if path.startswith("data:") and ";base64," in path[:200]:
        raise AudioError("the audio is a data: URL: decode it and pass its bytes")
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name} is a directory: name an audio file in it")
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise AudioError(f"{name} is a device, not an audio file")
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise AudioError(f"no such file: {name}") from None
    except PermissionError:
        raise AudioError(f"no permission to read {name}") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise AudioError(f"cannot read {name!r}: {_reason(error)}") from None
    with file, _from_file(file, name) as found:
        yield found


@contextlib.contextmanager
def _from_file(file: Any, name: str) -> Iterator[tuple[BinaryIO, int]]:
    try:
        seekable = bool(file.seekable()) if hasattr(file, "seekable") else False
        position = file.tell() if seekable else 0
        if not isinstance(file.read(0), bytes | bytearray):
            raise AudioError(f"{name} is opened as text: open it in binary mode ('rb')")
        if seekable:
            size = file.seek(0, io.SEEK_END)
            size = file.tell() if size is None else size
            file.seek(position)
    except AudioError:
        raise
    except Exception as error:  # of whatever kind of file it is
        raise AudioError(f"cannot read {name}: {_reason(error)}") from None
    if not seekable:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as copy:
            size = _copy(file, cast(BinaryIO, copy), name)
            copy.seek(0)
            yield cast(BinaryIO, copy), size
    elif position == 0:
        yield cast(BinaryIO, file), size
    elif position >= size > 0:
        raise AudioError(f"{name} is read to its end already: seek(0) first")
    else:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as copy:
            size = _copy(file, cast(BinaryIO, copy), name)
            copy.seek(0)
            yield cast(BinaryIO, copy), size


def _copy(file: Any, copy: BinaryIO, name: str) -> int:
    """Everything from here on; a raw file may give less at a time than it is asked for."""
    size, zeros = 0, True
    try:
        while True:
            data = file.read(1 << 20)
            if data is None:
                raise AudioError(f"{name} has nothing to read at the moment (non-blocking): pass its bytes")
            if not isinstance(data, bytes | bytearray):
                raise AudioError(f"{name} is opened as text: open it in binary mode ('rb')")
            if not data:
                return size
            zeros = zeros and not any(data)
            copy.write(data)
            size += len(data)
            if zeros and size >= sniff.PADDING:
                raise AudioError(f"{name} is not audio: it begins with zeros only")
            if size > MAX_BYTES:
                raise AudioError(f"{name} has more than {MAX_BYTES >> 30} GiB: cut it into pieces")
    except AudioError:
        raise
    except Exception as error:  # of whatever kind of file it is
        raise AudioError(f"cannot read {name}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
