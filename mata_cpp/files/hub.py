"""The Hugging Face hub: what a repository holds, and its files in the hub's own cache, with errors of one line.

huggingface_hub is imported when the hub is asked, and not before: it takes half a second.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ..checks import short_name
from ..errors import ModelError
from . import fetch, integrity
from .download import OFFLINE_VARIABLE, is_offline
from .spec import safe_name
from .store import Stored
from .telling import Report, locked, say, try_lock

if TYPE_CHECKING:
    from huggingface_hub.hf_api import BlobLfsInfo, ModelInfo

SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")

CONNECTING_S = 4.0
"""Seconds until a host that does not answer is given up."""

ASKING_S = 20.0
"""Seconds until a host that was reached must have told what a repository holds."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.  size in bytes; sha256 "" where it is not known."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Listing:
    """What a repository holds at a commit.  asked: the revision that was asked for.  licence: as its card names it.

    cached: read from the hub's cache, without a network.
    """

    repository: str
    asked: str
    revision: str
    licence: str
    files: tuple[RemoteFile, ...]
    cached: bool = False

    @property
    def names(self) -> list[str]:
        return [file.name for file in self.files]

    def file(self, name: str) -> RemoteFile:
        """Raises ModelError, with the names of the files that are there."""
        for file in self.files:
            if file.name == name:
                return file
        have = ", ".join(other for other in self.names if other.lower().endswith(".gguf")) or "no GGUF file"
        raise ModelError(f"{self.repository} has no file {short_name(name)}: it has {have}")


def offline() -> str | None:
    """The variable that forbids to ask the hub, or None."""
    if is_offline():
        return OFFLINE_VARIABLE
    return "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE") else None


def cache_folder() -> Path:
    """Where the hub's files are kept: HF_HUB_CACHE, else below HF_HOME, else the user's cache folder."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def listing(repository: str, asked: str) -> Listing:
    """Ask the hub.  Raises ModelError: no network, no such repository, a gated one, ..."""
    from huggingface_hub import HfApi, constants, get_token

    check_reachable(constants.ENDPOINT)
    with _explained(repository):  # also of what is no answer of a hub
        info = HfApi().model_info(repository, revision=asked, files_metadata=True, timeout=ASKING_S)
        if info.gated and get_token() is None:
            raise ModelError(_gated(repository))
        if not COMMIT.fullmatch(info.sha or ""):
            raise ModelError(f"{constants.ENDPOINT} does not tell the revision of {repository}: is it a hub?")
        siblings = [sibling for sibling in info.siblings or [] if safe_name(sibling.rfilename)]
        files = [RemoteFile(one.rfilename, int(one.size or 0), _sha256(one.lfs)) for one in siblings]
        return Listing(repository, asked, info.sha or "", _licence(info), tuple(files))


def _sha256(lfs: BlobLfsInfo | None) -> str:
    return lfs.sha256 if lfs is not None and SHA256.fullmatch(lfs.sha256) else ""


def cached_listing(repository: str, asked: str) -> Listing | None:
    """What the hub's cache has of a repository, whoever fetched it; None where it has nothing."""
    storage = _storage(repository)
    with contextlib.suppress(OSError, ValueError):
        revision = (storage / "refs" / asked).read_text("utf-8").strip()
        if COMMIT.fullmatch(revision):
            snapshot = storage / "snapshots" / revision
            files = []
            for path in sorted(path for path in snapshot.rglob("*") if path.is_file()):
                blob = path.resolve().name
                name = path.relative_to(snapshot).as_posix()
                files.append(RemoteFile(name, path.stat().st_size, blob if SHA256.fullmatch(blob) else ""))
            return Listing(repository, asked, revision, "", tuple(files), cached=True) if files else None
    return None


def obtain(listed: Listing, file: RemoteFile, known: Stored | None, report: Report | None) -> Stored:
    """A file of a repository in the hub's cache, fetched unless it is there.

    known: the file as it was recorded, if it was; it is read again only if it was touched since.
    Raises ModelError, OSError.
    """
    storage = _storage(listed.repository)
    if listed.cached:
        path = storage / "snapshots" / listed.revision / file.name
        found = integrity.sha256(path)
        if file.sha256 and found != file.sha256:
            raise ModelError(f"{short_name(path)} is damaged or was changed: delete it, and it is fetched again")
        return Stored.of(file.name, path, found)
    if file.sha256:
        _obtain_blob(listed, file, storage / "blobs" / file.sha256, known, report)
    path = _pointer(listed, file)
    return Stored.of(file.name, path, file.sha256 or integrity.sha256(path))


def partial(listed: Listing, file: RemoteFile) -> int:
    """Bytes of a file that are there."""
    blob = _storage(listed.repository) / "blobs" / (file.sha256 or "-")
    for path in (blob, fetch.part_of(blob)):
        with contextlib.suppress(OSError):
            return path.stat().st_size
    return 0


def remove(repository: str, files: tuple[Stored, ...]) -> None:
    """Delete files of a repository from the hub's cache, what of them no other revision needs.  Raises OSError."""
    name = _storage(repository).name
    for file in files:
        path = Path(file.path)
        storage = next(
            (parent for parent in path.parents if parent.name == name), None
        )  # HF_HOME may have been another
        if storage is None:
            continue
        blob = path.resolve()
        path.unlink(missing_ok=True)
        pointers = (other.resolve() for other in storage.glob("snapshots/**/*") if other.is_symlink())
        if blob.parent == storage.resolve() / "blobs" and blob not in pointers:
            blob.unlink(missing_ok=True)
        _tidy(storage)
    _tidy(_storage(repository))


def _tidy(storage: Path) -> None:
    """Delete empty folders, and the names of revisions of which nothing is left."""
    if not any(path.is_file() or path.is_symlink() for path in storage.glob("snapshots/**/*")):
        for ref in storage.glob("refs/*"):
            ref.unlink(missing_ok=True)
    for folder in [*sorted((path for path in storage.rglob("*") if path.is_dir()), reverse=True), storage]:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_parts(repository: str) -> int:
    """Delete what there is of files that were not fetched to their end, unless it is being done; the bytes of it.

    Raises OSError.
    """
    storage, size = _storage(repository), 0
    for part in storage.glob(f"blobs/*{fetch.PART}"):
        lock = _lock_of(part.with_name(part.name.removesuffix(fetch.PART)))
        lock.parent.mkdir(parents=True, exist_ok=True)
        with open(lock, "a+b") as held:
            if try_lock(held):
                size += part.stat().st_size
                part.unlink()
    remove(repository, ())
    return size


def check_reachable(url: str) -> None:
    """Within CONNECTING_S seconds, by way of the proxy if there is one.  Raises ModelError."""
    target = urlsplit(url)
    from urllib.request import getproxies, proxy_bypass  # slow to import, and needed for downloads only

    proxy = getproxies().get(target.scheme)
    if proxy and target.hostname and not proxy_bypass(target.hostname):
        target = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    host, port = target.hostname or "", target.port or (443 if target.scheme == "https" else 80)
    failures: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECTING_S).close()
            failures.append("")
        except OSError as error:
            failures.append(error.strerror or str(error))
        except UnicodeError:
            failures.append("this is no name of a host")

    # In a thread: a name that no server resolves may take longer than any timeout of a socket.
    asking = threading.Thread(target=connect, daemon=True)
    asking.start()
    asking.join(CONNECTING_S + 0.5)
    reason = failures[0] if failures else "no answer"
    if reason:
        raise ModelError(f"cannot reach {host} ({reason}): is the network there?")


def _storage(repository: str) -> Path:
    return cache_folder() / f"models--{repository.replace('/', '--')}"


def _obtain_blob(listed: Listing, file: RemoteFile, blob: Path, known: Stored | None, report: Report | None) -> None:
    """The hub's client would begin anew after each interruption; here a part is kept and gone on with."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined,unused-ignore]

    lock = _lock_of(blob)
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(lock, report):
        if blob.exists():
            sure = known is not None and known.sha256 == file.sha256 and known.state() == "unchanged"
            if sure or integrity.sha256(blob) == file.sha256:
                return
            say(report, f"{file.name} was changed on the disk: fetching it again")
            blob.unlink()
        elif known is not None:
            blob.unlink(missing_ok=True)  # a link to nothing
        url = hf_hub_url(listed.repository, quote(file.name), revision=listed.revision, endpoint=constants.ENDPOINT)
        with _explained(listed.repository, file.name):
            fetch.fetch(url, blob, file.name, file.size, file.sha256, build_hf_headers(), report)


def _lock_of(blob: Path) -> Path:
    """The client's own."""
    return cache_folder() / ".locks" / blob.parents[1].name / f"{blob.name}.lock"


def _pointer(listed: Listing, file: RemoteFile) -> Path:
    """The file under its own name, as the hub's client lays it out; it fetches what is no large file."""
    from huggingface_hub import hf_hub_download

    folder = cache_folder()
    with _explained(listed.repository, file.name), fetch.quiet():
        path = hf_hub_download(listed.repository, file.name, revision=listed.revision, cache_dir=folder)
    ref = _storage(listed.repository) / "refs" / listed.asked
    if listed.asked != listed.revision:
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(listed.revision, "utf-8")
    return Path(path)


def _licence(info: ModelInfo) -> str:
    card = info.card_data
    for key in ("license_name", "license"):
        value = getattr(card, key, None)
        if isinstance(value, str) and value != "other":
            return short_name(value)
    return next((tag[8:] for tag in info.tags or [] if tag.startswith("license:")), "")


def _gated(repository: str) -> str:
    from huggingface_hub import constants, get_token

    page = f"{constants.ENDPOINT}/{repository}"
    if get_token() is None:
        return f"{repository} is gated: accept its licence at {page}, then set HF_TOKEN to a token of your account"
    return f"{repository} is gated, and the account of HF_TOKEN has no access: accept its licence at {page}"


@contextlib.contextmanager
def _explained(repository: str, file: str = "") -> Iterator[None]:
    """Turns the errors of the hub's client into a ModelError of one line."""
    from huggingface_hub import constants, errors, get_token

    try:
        yield
    except (ModelError, KeyboardInterrupt):
        raise
    except errors.GatedRepoError:
        raise ModelError(_gated(repository)) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{repository} has no such revision") from None
    except errors.LocalEntryNotFoundError as error:  # how the client tells that the network broke
        raise ModelError(_failed(repository, file, error)) from None
    except errors.EntryNotFoundError:
        raise ModelError(f"{repository} has no file {file}, though its list has: try again later") from None
    except errors.RepositoryNotFoundError:
        private = "is not open to the account of HF_TOKEN" if get_token() else "is private (then set HF_TOKEN)"
        raise ModelError(f"{constants.ENDPOINT} has no repository {repository}, or it {private}") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        what = {
            401: f"refuses HF_TOKEN for {repository}: is it right?",
            403: f"does not give {repository} to the account of HF_TOKEN",
            429: "has had too many requests from here: try again later, or set HF_TOKEN",
            404: f"does not know {repository}: is it a hub?",
        }.get(status, f"answers {status} for {repository}: try again later")
        raise ModelError(f"{constants.ENDPOINT} {what}") from None
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise
        raise ModelError(_failed(repository, file, error)) from None
    except Exception as error:  # the network's errors, which have another base in each version of the client
        raise ModelError(_failed(repository, file, error)) from None


def _failed(repository: str, file: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return f"cannot fetch {file or 'the list of files'} of {repository}: {reason}; the same command goes on from here"
