"""SAKURA (b08202033/SAKURA; Yang et al. 2025): each clip with a question of one step and one of two, options within."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from ..items import Item, OfficialForm
from .source import Row, Source

_OPTION = re.compile(r"\(([a-z])\)\s*(.*?)\s*(?=\([a-z]\)|\Z)", re.S | re.I)


def items(source: Source) -> Iterator[Item]:
    for row in source.rows():
        audio = row.sounds("audio", "file")
        name = row.get("file", "id")
        label = PurePath(name).stem if isinstance(name, str) else str(row.number)
        for hop in ("single", "multi"):
            question, choices = _split(row, row.text(f"{hop}_instruction"))
            answer = row.text(f"{hop}_answer")
            yield Item(
                id=f"{label}-{hop}",
                audio=audio,
                question=question,
                choices=choices,
                answer=row.right(answer, choices),
                groups={"hops": hop, **row.groups("attribute_label", "attribute", "task")},
                official=OfficialForm(choices, answer),
            )


def _split(row: Row, instruction: str) -> tuple[str, tuple[str, ...]]:
    found = _OPTION.findall(instruction)
    choices = tuple(text.strip(" ,;\n") for _, text in found)
    if len(choices) < 2:
        raise row.fail("the instruction names no options (a), (b), ...")
    return instruction[: _OPTION.search(instruction).start()].strip(), choices  # type: ignore[union-attr]
