"""The work of a run: each question once for each sound, form of prompt and position of the right answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .items import AudioPart, Item
from .record import SOUNDS, Place

METHODS = ("choose", "likelihood", "generate")
"""By likelihood with the contrast with silence, by likelihood alone, or by an answer in words."""

CHOICE_FORMS = ("listed", "unlisted", "letters")
"""How choices are put to the model when they are compared by likelihood."""

ALL_POSITIONS = 0


@dataclass(frozen=True)
class Job:
    """One question: item, what is heard, and in which order its choices are offered (indices of item.choices)."""

    item: Item
    sound: str
    form: str
    rotation: int
    order: tuple[int, ...]
    audio: tuple[AudioPart, ...]

    @property
    def place(self) -> Place:
        return Place(self.item.id, self.sound, self.form, self.rotation)

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.item.choices[index] for index in self.order)

    @property
    def distinct(self) -> tuple[str, ...]:
        """The choices, of equal ones the first."""
        return tuple(dict.fromkeys(self.choices))

    @property
    def right(self) -> int | None:
        """The place of the right choice; None for an open question."""
        return self.choices.index(self.item.answer) if self.item.choices else None


@dataclass(frozen=True)
class Shard:
    """number of of: every of-th item, from the number-th."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "3/8".  Raises ValueError."""
        number, slash, of = text.partition("/")
        if not slash or not number.isdecimal() or not of.isdecimal() or not 1 <= int(number) <= int(of):
            raise ValueError(f"a shard is NUMBER/OF, for example 3/8, not {text!r}")
        return cls(int(number), int(of))


def jobs(
    items: Sequence[Item],
    *,
    sounds: Sequence[str] = ("clip",),
    forms: Sequence[str],
    positions: int = 1,
    shard: Shard | None = None,
) -> Iterator[Job]:
    """In the order of items.  positions: at how many places the right answer is offered, ALL_POSITIONS for all.

    The clip of another item is that of the item half way around the data set, whatever the shard.
    """
    shard = shard or Shard()
    for number in range(shard.number - 1, len(items), shard.of):
        item = items[number]
        right = item.choices.index(item.answer) if item.choices else None
        for sound in sounds:
            audio = item.audio if sound != SOUNDS[3] else other_audio(items, number)
            for form in forms:
                for rotation, order in enumerate(orders(len(item.choices), right, positions)):
                    yield Job(item, sound, form, rotation, order, audio)


def orders(n: int, right: int | None, positions: int = 1) -> list[tuple[int, ...]]:
    """Orders of n choices: as they are published, or turned so that choice right takes each place, the first first."""
    if positions == 1 or right is None or n < 2:
        return [tuple(range(n))]
    count = n if positions == ALL_POSITIONS else min(n, positions)
    return [tuple((right - place + index) % n for index in range(n)) for place in range(count)]


def other_audio(items: Sequence[Item], number: int) -> tuple[AudioPart, ...]:
    """The clips of an item half way around that has other ones; none where all items have the same."""
    n = len(items)
    for step in range(n):
        other = items[(number + n // 2 + step) % n]
        if other.audio != items[number].audio:
            return other.audio
    return ()
