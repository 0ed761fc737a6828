"""AudioCaps-Hallucination (Kuan et al. 2024, arXiv 2406.08402): is there such a sound?  Yes or no."""

from __future__ import annotations

from collections.abc import Iterator

from ..items import Item
from .source import Source

CHOICES = ("Yes", "No")
AUDIO = ("audio", "audio_path", "audio_file", "audio_index")


def items(source: Source) -> Iterator[Item]:
    for row in source.rows():
        name = row.get("entry_id", "id")
        yield Item(
            id=str(row.number) if name is None else str(name),
            audio=row.sounds(*AUDIO),
            question=row.text("prompt_text", "question"),
            choices=CHOICES,
            answer=row.right(row.text("label", "answer"), CHOICES),
            groups=row.groups("sampling", "attribute", "label"),
        )
