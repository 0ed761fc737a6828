"""The data sets that can be asked, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ...checks import short_name, short_repr
from ...errors import MataError
from ..items import Item
from . import hallucination, mmar, mmau, mmau_pro, mmsu, sakura, table
from .source import Source

_READERS: Mapping[str, Callable[[Source], Iterator[Item]]] = {
    "mmau": mmau.items,
    "mmar": mmar.items,
    "mmau-pro": mmau_pro.items,
    "mmsu": mmsu.items,
    "voicebench-mmsu": mmsu.voicebench_items,
    "sakura": sakura.items,
    "audiocaps-hallucination": hallucination.items,
}
NAMES = (*_READERS, "table")


def load(
    name: str,
    data: Path,
    audio: Path | None,
    *,
    columns: Mapping[str, str] | None = None,
    need_audio: bool = True,
    limit: int | None = None,
) -> list[Item]:
    """The items of a data set; choices without any text, as MMAR has some, are left out.

    data: the file of its questions.  audio: the folder of its sounds; None: that of the questions.  columns: see table.
    need_audio: sound files must be there.  limit: only the first so many.  Raises ValueError for an unknown name,
    MataError for data that cannot be used, naming the file and the entry.
    """
    source = Source(Path(data), None if audio is None else Path(audio), need_audio)
    if name == "table":
        items = table.items(source, columns or {})
    elif name in _READERS:
        if columns:
            raise ValueError(f"columns are named for a table only, not for {name}")
        items = _READERS[name](source)
    else:
        raise ValueError(f"there is no data set {short_repr(name)}; there are {', '.join(NAMES)}")
    found = list(islice(items, limit))
    seen: set[str] = set()
    for item in found:
        if item.id in seen:
            raise MataError(f"{short_name(data)} has two entries with the id {short_repr(item.id)}")
        seen.add(item.id)
    return [replace(item, choices=tuple(filter(str.strip, item.choices))) for item in found]
