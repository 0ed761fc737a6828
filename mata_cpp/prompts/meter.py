"""How much a chat template may do: every step of it, and everything that it handles, is counted.

A step is a node of the template, an element of a list, or 16 characters of a text.  So a limit of steps bounds the
time that a template takes and the memory that it fills, and it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

from ..errors import CancelledError

if TYPE_CHECKING:
    from .._core import Cancel

STEP = 16
"""Characters of a step."""

MAX_DEPTH = 100
"""Of lists in lists.  Python has no limit of its own where it hashes nested tuples."""

LOOK_EVERY = 10_000
"""Steps between two looks at the request's Cancel."""

KEYS: type[Collection[Any]] = type({}.keys())
CONTAINERS: tuple[type[Collection[Any]], ...] = (
    list,
    tuple,
    set,
    frozenset,
    dict,
    KEYS,
    type({}.values()),
    type({}.items()),
)


class LimitError(Exception):
    """A template does too much: what it does, after "the template"."""


class Meter:
    """Counts the steps of one rendering.  Raises LimitError beyond limit, CancelledError, SecurityError."""

    def __init__(self, limit: int, cancel: Cancel | None = None) -> None:
        self._limit = self._left = limit
        self._next_look = limit + 1
        self._cancel = cancel

    def spend(self, steps: int) -> None:
        if steps > 0:
            self._left -= steps
        if self._left < self._next_look:
            self._look(steps)

    def weigh(self, value: Any) -> int:
        """Steps that it takes to look at all of value.  What it contains twice counts twice, an iterator as one."""
        found = weight(value, self._left)
        if found > self._left:
            self.spend(found)
        return found

    def walk(self, *values: Any) -> None:
        """Pay for an operation that looks at all of values."""
        for value in values:
            self.spend(weight(value, self._left))

    def each(self, items: Iterable[Any], *, deep: bool) -> Iterator[Any]:
        """items, each paid for when it is taken; deep: with what it contains."""
        for item in items:
            self.spend(weight(item, self._left) if deep else 1)
            yield item

    def _look(self, steps: int) -> None:
        if self._left < 0:
            if steps > self._limit // 4:
                raise LimitError("makes a text or a list that is too large")
            raise LimitError("takes too long")
        if self._cancel is not None and self._cancel.cancelled:
            raise CancelledError("cancelled")
        self._next_look = self._left - LOOK_EVERY


def weight(value: Any, most: int) -> int:
    """As Meter.weigh says; not exact where it is more than most.  Raises SecurityError."""
    if isinstance(value, str):
        return 1 + len(value) // STEP
    total, level = 0, [value]
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for item in level:
            total += 1
            if isinstance(item, str | bytes):
                total += len(item) // STEP
            elif isinstance(item, range):
                total += len(item)
            elif isinstance(item, CONTAINERS):
                if total + len(item) > most:
                    return total + len(item)
                inside += item
                if isinstance(item, dict):
                    inside += item.values()
            elif isinstance(item, Namespace):
                raise SecurityError("a namespace cannot be used as a value")
            if total > most:
                return total
        if not inside:
            return total
        level = inside
    raise SecurityError(f"lists are nested deeper than {MAX_DEPTH}")
