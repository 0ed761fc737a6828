"""MMAR (Ma et al. 2025, arXiv 2505.13032).  The sound's name is audio_path: 46 ids differ from it."""

from __future__ import annotations

from collections.abc import Iterator

from ..items import Item, OfficialForm
from .source import Source

GROUPS = ("modality", "category", "sub-category", "language")


def items(source: Source) -> Iterator[Item]:
    for row in source.rows():
        choices, answer = row.texts("choices"), row.text("answer")
        yield Item(
            id=row.text("id"),
            audio=row.sounds("audio_path"),
            question=row.text("question"),
            choices=choices,
            answer=row.right(answer, choices),
            groups=row.groups(*GROUPS),
            official=OfficialForm(choices, answer, {"audio_path": row.text("audio_path")}),
        )
