"""A question of a data set: what is asked about which sound, and what is right."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

AudioPart = Path | bytes
"""A file, or the bytes of one."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class OfficialForm:
    """How the official scorer of a data set sees an item: choices and answer as they are published, and the fields of
    a predictions file that name the item."""

    choices: tuple[str, ...]
    answer: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One question.

    audio: its clips.  choices: bare texts, () for an open question.  answer: the right one, bare.  groups: what results
    are told by ("task": "sound").
    """

    id: str
    audio: tuple[AudioPart, ...]
    question: str
    choices: tuple[str, ...]
    answer: str
    groups: Mapping[str, str] = field(default_factory=dict)
    official: OfficialForm | None = None

    @cached_property
    def key(self) -> str:
        """sha256 of what is asked and heard: equal content has an equal key, wherever its files lie."""
        digest = hashlib.sha256()
        for text in (self.question, self.answer, *self.choices):
            digest.update(text.encode() + b"\0")
        for part in self.audio:
            digest.update(sha256_of(part))
        return digest.hexdigest()


def sha256_of(part: AudioPart) -> bytes:
    """Of a file's content."""
    if isinstance(part, bytes):
        return hashlib.sha256(part).digest()
    digest = hashlib.sha256()
    with open(part, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()
