"""One file over HTTP: gone on with after an interruption, checked by its sha256, in its place only when it is whole.

The requests are made by huggingface_hub's own session, which knows of proxies, redirects and certificates.  Its
hf_hub_download would begin anew after each interruption of the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from ..errors import ModelError
from . import integrity
from .telling import Report, say, shows_bars

if TYPE_CHECKING:
    from tqdm import tqdm

PART = ".incomplete"

SILENCE_S = 15.0
"""Seconds without a byte after which a connection is given up."""

RETRIES = 5
"""So many attempts in a row that bring nothing end it."""

WAIT_S = 1.0
"""Seconds between attempts."""


def part_of(target: Path) -> Path:
    """Where a file is kept while it is being fetched."""
    return target.with_name(target.name + PART)


def fetch(
    url: str,
    target: Path,
    name: str,
    size: int,
    sha256: str,
    headers: Mapping[str, str],
    report: Report | None,
) -> str:
    """Fetch url into target, going on with a part that is there; the sha256 of the whole.

    name: for the bar and for messages.  size: in bytes, 0 where it is not known.  sha256: as it must be, "" where it is
    not known.  The caller holds the lock of target.  Raises ModelError, OSError, and what the client raises.
    """
    part = part_of(target)
    resumed = _get(url, part, name, size, headers, report)
    found = integrity.sha256(part)
    if sha256 and found != sha256 and resumed:
        say(report, f"what was there of {name} does not fit: fetching it from the start")
        part.unlink()
        _get(url, part, name, size, headers, report)
        found = integrity.sha256(part)
    if sha256 and found != sha256:
        part.unlink()
        raise ModelError(f"{name} has the wrong sha256 {found}: it was not kept")
    os.replace(part, target)
    return found


def _get(url: str, part: Path, name: str, size: int, headers: Mapping[str, str], report: Report | None) -> bool:
    """Fetch what is missing of part; whether there was some of it."""
    from huggingface_hub.errors import HfHubHTTPError
    from tqdm import tqdm

    with open(part, "ab") as file, quiet():
        if size and file.tell() > size:
            _empty(file)
        resumed, patience = file.tell() > 0, RETRIES
        look = {"unit": "B", "unit_scale": True, "dynamic_ncols": True, "leave": False, "file": sys.stderr}
        short = name.rsplit("/", 1)[-1]
        with tqdm(desc=short[-40:], total=size or None, disable=not shows_bars(report), **look) as bar:
            while not (size and file.tell() == size):
                have = file.tell()
                try:
                    _go_on(url, file, headers, bar)
                    if not size:
                        break
                    broken: Exception = ModelError(f"the server ended {short} after {file.tell()} of {size} bytes")
                except (HfHubHTTPError, OSError):
                    raise
                except Exception as error:  # of the network; it has another base in each version of the client
                    broken = error
                if size and file.tell() > size:
                    _empty(file)
                    raise ModelError(f"the server sends more than the {size} bytes that {short} should have")
                patience = RETRIES if file.tell() > have else patience - 1
                if patience == 0:
                    raise broken
                if file.tell() != size:
                    time.sleep(WAIT_S)
    return resumed


def _go_on(url: str, file: IO[bytes], headers: Mapping[str, str], bar: tqdm[NoReturn]) -> None:
    """One request for what comes after the end of file."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined,unused-ignore]

    have = file.tell()
    asked = {**headers, "Accept-Encoding": "identity"}  # what is counted is what is kept
    if have:
        asked["Range"] = f"bytes={have}-"
    with get_session().stream("GET", url, headers=asked, timeout=SILENCE_S) as answer:
        hf_raise_for_status(answer)
        if have and answer.status_code != 206:  # the server starts from the beginning
            have = 0
            _empty(file)
        bar.n = have
        bar.refresh()
        for piece in answer.iter_bytes():
            file.write(piece)
            bar.update(len(piece))


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the client's log, which is several lines where one suffices."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
