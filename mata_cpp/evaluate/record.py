"""What one question gave under one setting: a line of a log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

SOUNDS = ("clip", "none", "silence", "other")
"""What was heard: the item's clip, nothing, near silence as long, or the clip of another item."""


class Place(NamedTuple):
    """Which question of a run: the item, what was heard, the form of the prompt, the position of the right answer."""

    item: str
    sound: str
    form: str
    rotation: int


@dataclass(frozen=True)
class Record:
    """key: of the item's content.  setting: its name.  choices: as they were offered.  right: which of them is right,
    None for an open question.  prompt: what was asked.  raw: the answer's text.  chosen: the choice that it names, None
    where none can be told.  error: why there is no answer.  scores: of the choices, where they were compared by
    likelihood.  logprob: of the answer, or of the chosen one.  effect: the audio's share of attention before and after
    MATA, in the boosted layers.  seconds: the whole job's, divided by its settings.
    """

    item: str
    sound: str
    form: str
    rotation: int
    setting: str
    key: str
    groups: Mapping[str, str]
    choices: tuple[str, ...]
    answer: str
    right: int | None
    prompt: str
    raw: str | None = None
    chosen: int | None = None
    error: str | None = None
    scores: tuple[float, ...] | None = None
    confidence: float | None = None
    finish_reason: str | None = None
    effect: tuple[float, float] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return Place(self.item, self.sound, self.form, self.rotation)

    @property
    def answered(self) -> bool:
        """Whether there is any text; an empty one is no answer."""
        return self.error is None and self.raw is not None and bool(self.raw.strip())

    @property
    def correct(self) -> bool:
        """Whether the right choice was named."""
        return self.chosen is not None and self.chosen == self.right

    def to_json(self) -> str:
        """One line; fields without a value are left out."""
        values = {name: value for name, value in self._values().items() if value is not None}
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Raises ValueError for what is not a record."""
        names = {one.name for one in fields(cls)}
        try:
            given = {name: value for name, value in values.items() if name in names}
            for name in ("choices", "scores", "effect"):
                if given.get(name) is not None:
                    given[name] = tuple(given[name])
            return cls(**given)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a record: {error}") from None

    def _values(self) -> dict[str, Any]:
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
