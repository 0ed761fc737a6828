"""GGUF files that lie somewhere on the web: fetched into the package's cache folder, and recorded."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..checks import short_name
from ..errors import ModelError
from . import choose, fetch, hub, room, store
from .download import CACHE_VARIABLE, cache_dir
from .spec import UrlSpec
from .store import Record, Stored
from .telling import Report, in_words, locked, say


@dataclass(frozen=True)
class _Head:
    """What a server tells of a file.  size: in bytes, 0 where it does not tell.  tag: changes with the file, or ""."""

    size: int
    tag: str


def folder_of(url: str) -> Path:
    """Where the file of a URL is kept."""
    return cache_dir() / "urls" / hashlib.sha256(url.encode()).hexdigest()[:16]


def obtain(spec: UrlSpec, insist: bool, report: Report | None) -> Record:
    """Fetch a file, or all files of a model whose name tells that it is split.  Raises ModelError, OSError."""
    if (variable := hub.offline()) is not None:
        raise ModelError(f"{spec.name} is not there yet, and {variable} is set")
    names = choose.parts(spec.name)
    base = spec.url.rpartition("/")[0]
    urls = [spec.url] if len(names) == 1 else [f"{base}/{name}" for name in names]
    folder = folder_of(spec.url)
    hub.check_reachable(spec.url)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", report):
        heads = [_head(url) for url in urls]
        # A draft is gone on with only while the server says that the file is still the same.
        drafts = [folder / f"{name}{head.tag}" for name, head in zip(names, heads, strict=True)]
        _announce(spec, folder, heads, drafts, insist, report)
        found = []
        for url, name, head, draft in zip(urls, names, heads, drafts, strict=True):
            if not head.tag:
                fetch.part_of(draft).unlink(missing_ok=True)
            with _explained(url):
                digest = fetch.fetch(url, draft, name, head.size, "", {}, report)
            draft.replace(folder / name)
            found.append(Stored.of(name, folder / name, digest))
        record = Record(spec.url, "main", "", True, "", tuple(found), None)
        store.save(record)
    return record


def remove(record: Record) -> None:
    """Delete the files of a record and what else is in their folder.  Raises OSError."""
    folder = folder_of(record.origin)
    for path in [Path(file.path) for file in record.files] + [*folder.glob(f"*{fetch.PART}"), folder / ".lock"]:
        if path.parent == folder:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _announce(
    spec: UrlSpec, folder: Path, heads: list[_Head], drafts: list[Path], insist: bool, report: Report | None
) -> None:
    """Say what is fetched.  Raises ModelError where there is no room."""
    size, kept = sum(head.size for head in heads), [fetch.part_of(draft) for draft in drafts]
    for left in folder.glob(f"*{fetch.PART}"):
        if left not in kept:
            left.unlink()
    there = sum(part.stat().st_size for part in kept if part.exists())
    room.check_disk(spec.name, max(0, size - there), folder, f"{CACHE_VARIABLE} names another folder")
    room.check_memory(spec.name, size, insist, report)
    some = f" ({in_words(there)} of it are there)" if there else ""
    host = urlsplit(spec.url).hostname
    say(report, f"fetching {spec.name}: {in_words(size) if size else 'of unknown size'}{some} from {host}")
    say(report, "licence: not told; look for it where you have the URL from")


def _head(url: str) -> _Head:
    """Raises ModelError."""
    from huggingface_hub import get_session

    with _explained(url), fetch.quiet():
        answer = get_session().head(url, timeout=hub.ASKING_S, headers={"Accept-Encoding": "identity"})
        if answer.status_code in (403, 405, 501):  # some servers take no such question
            return _Head(0, "")
        if answer.status_code >= 400:
            raise ModelError(f"{short_name(url)} cannot be fetched: the server answers {answer.status_code}")
        length, tag = answer.headers.get("Content-Length", ""), answer.headers.get("ETag", "")
    known = f".{hashlib.sha256(tag.encode()).hexdigest()[:16]}" if tag else ""
    return _Head(int(length) if length.isdigit() else 0, known)


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise
        raise ModelError(_failed(url, error)) from None
    except Exception as error:  # the network's errors, which have another base in each version of the client
        raise ModelError(_failed(url, error)) from None


def _failed(url: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return f"cannot fetch {short_name(url)}: {reason}; the same command goes on from here"
