"""The closed questions of MMAU-Pro (gamma-lab-umd/MMAU-Pro): those with choices; some are about several clips."""

from __future__ import annotations

from collections.abc import Iterator

from ..items import Item, OfficialForm
from .source import Source, bare

GROUPS = ("category", "sub-cat", "length_type", "task_identifier")


def items(source: Source) -> Iterator[Item]:
    for row in source.rows():
        choices = row.texts("choices")
        if len(choices) < 2:
            continue  # open, or to be judged by another model
        answer = row.text("answer")
        yield Item(
            id=row.text("id", "unique_id"),
            audio=row.sounds("audio_path", "audio"),
            question=row.text("question"),
            choices=bare(choices),
            answer=row.right(answer, choices),
            groups=row.groups(*GROUPS),
            official=OfficialForm(choices, answer),
        )
