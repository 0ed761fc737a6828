"""What was fetched: a record for each model, with revision and sha256, by which it is found again without a network.

Records are small JSON files in the folder records/ of the package's cache folder.  The files that they name lie in the
hub's own cache, or, of a URL, in the package's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import integrity
from .choose import is_projector, quantization
from .download import cache_dir


@dataclass(frozen=True)
class Stored:
    """A file as it was when it was checked last.  path: where it is; size in bytes."""

    name: str
    path: str
    size: int
    sha256: str
    mtime_ns: int
    inode: int

    @staticmethod
    def of(name: str, path: Path, sha256: str) -> Stored:
        """Raises OSError."""
        found = path.stat()
        return Stored(name, os.fspath(path), found.st_size, sha256, found.st_mtime_ns, found.st_ino)

    def state(self) -> str:
        """ "unchanged" since it was checked last, "touched" (to be checked by its sha256), or "missing"."""
        try:
            found = os.stat(self.path)
        except OSError:
            return "missing"
        now = (found.st_size, found.st_mtime_ns, found.st_ino)
        return "unchanged" if now == (self.size, self.mtime_ns, self.inode) else "touched"


@dataclass(frozen=True)
class Record:
    """A model that was fetched.

    origin: "owner/repo" or a URL.  asked: the revision that was asked for; revision: the commit it was then ("" of a
    URL).  usual: whether this is what the repository's name alone comes to.  model: its files, the first part first.
    """

    origin: str
    asked: str
    revision: str
    usual: bool
    licence: str
    model: tuple[Stored, ...]
    projector: Stored | None

    @property
    def quantization(self) -> str | None:
        return quantization(self.model[0].name)

    @property
    def is_projector(self) -> bool:
        """Whether it is no model but a projector that was asked for by its own name."""
        return is_projector(self.model[0].name)

    @property
    def files(self) -> tuple[Stored, ...]:
        return self.model if self.projector is None else (*self.model, self.projector)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def is_there(self) -> bool:
        return all(file.state() != "missing" for file in self.files)


def save(record: Record) -> None:
    """Keep a record, in place of the one that its files had.  Raises OSError, ModelError."""
    for other in of_origin(record.origin):
        if record.usual and other.usual and other.asked == record.asked and _path(other) != _path(record):
            _write(replace(other, usual=False))
    _write(record)


def before(record: Record) -> Record | None:
    """The record that save would replace."""
    return next((other for other in of_origin(record.origin) if _path(other) == _path(record)), None)


def forget(record: Record) -> None:
    """Raises OSError."""
    path = _path(record)
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def of_origin(origin: str) -> list[Record]:
    """The records of a repository or a URL."""
    return [record for record in _in_order(_read(_folder(origin))) if record.origin == origin]


def all_records() -> list[Record]:
    """Every record, in the order of their names."""
    folders = sorted(path for path in _root().glob("*") if path.is_dir())
    return _in_order(record for folder in folders for record in _read(folder))


def _in_order(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.origin, record.asked, *(file.name for file in record.files)))


def find(
    origin: str, asked: str = "main", file: str | None = None, wanted: str | None = None, projector: str | None = ""
) -> Record | None:
    """The record that answers a request: a file by its name, a quantization, or neither for the usual one.

    projector: its name, "" for any that goes with the model, or None where the model alone is wanted.
    """
    for record in of_origin(origin):
        has = "" if record.projector is None else record.projector.name
        if record.asked != asked or (projector == "" and not has) or (projector and projector != has):
            continue
        if file:
            fits = record.model[0].name == file
        elif wanted:
            fits = record.quantization == wanted and not record.is_projector
        else:
            fits = record.usual
        if fits:
            return record
    return None


def not_shared(record: Record) -> tuple[Stored, ...]:
    """The files of a record that no other one of its repository has."""
    others = [other for other in of_origin(record.origin) if other != record]
    shared = {file.path for other in others for file in other.files}
    return tuple(file for file in record.files if file.path not in shared)


def changed(record: Record) -> tuple[Record, str | None]:
    """The record with what was touched since checked again, and the path of a file that has another content, or None.

    Raises OSError.
    """
    fresh = dict[Stored, Stored]()
    for file in record.files:
        if file.state() == "touched":
            if integrity.sha256(Path(file.path)) != file.sha256:
                return record, file.path
            fresh[file] = Stored.of(file.name, Path(file.path), file.sha256)
    if fresh:
        projector = None if record.projector is None else fresh.get(record.projector, record.projector)
        model = tuple(fresh.get(file, file) for file in record.model)
        record = replace(record, model=model, projector=projector)
        with contextlib.suppress(OSError):  # in a cache that is read-only they are read again the next time
            _write(record)
    return record, None


def _root() -> Path:
    return cache_dir() / "records"


def _folder(origin: str) -> Path:
    return _root() / (
        hashlib.sha256(origin.encode()).hexdigest()[:16] if "://" in origin else origin.replace("/", "--")
    )


def _path(record: Record) -> Path:
    """One for each pair of model and projector, whose names may be long."""
    names = "\n".join([record.asked, record.model[0].name, record.projector.name if record.projector else ""])
    return _folder(record.origin) / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.json"


def _write(record: Record) -> None:
    path = _path(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".tmp-{os.getpid()}")
    try:
        part.write_text(json.dumps(asdict(record), indent=1) + "\n", "utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _read(folder: Path) -> Iterator[Record]:
    """The records of a folder; what is none is passed over."""
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found = json.loads(path.read_text("utf-8"))
            model = tuple(Stored(**file) for file in found.pop("model"))
            projector = found.pop("projector")
            record = Record(model=model, projector=None if projector is None else Stored(**projector), **found)
            if model and all(isinstance(file.path, str) and isinstance(file.sha256, str) for file in record.files):
                yield record
