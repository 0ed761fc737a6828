"""MMAU (Sakshi et al. 2024, arXiv 2410.19168): the JSON of its code, and the hub's parquet, with letters on choices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..items import Item, OfficialForm
from .source import Row, Source, bare

GROUPS = ("task", "category", "sub-category", "difficulty", "dataset")


def items(source: Source) -> Iterator[Item]:
    for row in source.rows():
        yield _published(row) if "other_attributes" in row.values else _item(row)


def _item(row: Row) -> Item:
    choices = row.texts("choices")
    answer = row.text("answer")
    fields = {"audio_id": row.text("audio_id")} if isinstance(row.get("audio_id"), str) else {}
    return Item(
        id=row.text("id"),
        audio=row.sounds("audio_id", "audio", "context"),
        question=row.text("question", "instruction"),
        choices=bare(choices),
        answer=row.right(answer, choices),
        groups=row.groups(*GROUPS),
        official=OfficialForm(choices, answer, fields),
    )


def _published(row: Row) -> Item:
    """An entry of the hub, whose facts are a JSON text."""
    try:
        facts: Any = row.get("other_attributes")
        facts = json.loads(facts) if isinstance(facts, str) else dict(facts or {})
    except (ValueError, TypeError):
        raise row.fail("other_attributes is no JSON") from None
    return _item(replace(row, values={**facts, **row.values}))
