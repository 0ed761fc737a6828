"""One file over HTTP: gone on with after an interruption, checked by its sha256, in its place only when it is whole.

The requests are made by huggingface_hub's own client, which knows of proxies, redirects and retries.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from . import integrity
from .telling import Report, say, shows_bars

if TYPE_CHECKING:
    from tqdm import tqdm

PART = ".incomplete"


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
    """Whether there was a part to go on with."""
    from huggingface_hub.file_download import http_get

    with open(part, "ab") as file:
        have = file.tell()
        if size and have > size:
            file.truncate(0)
            have = 0
        with quiet():
            http_get(
                url,
                file,
                resume_size=have,
                headers=dict(headers),
                expected_size=size or None,
                displayed_filename=name.rsplit("/", 1)[-1],
                tqdm_class=_bar(shows_bars(report)),
            )
    return have > 0


def _bar(shown: bool) -> type[tqdm[Any]]:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]
        """The client's bar, on standard error, which leaves nothing behind."""

        def __init__(self, *positional: object, **given: Any) -> None:
            given.pop("name", None)  # the client's own
            given.update(disable=not shown, leave=False, file=sys.stderr, dynamic_ncols=True)
            super().__init__(*positional, **given)

    return Bar


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
