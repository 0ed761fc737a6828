"""What a loaded model gives to every question, and who is computing with it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .audio.encoder import AudioEncoder
from .cache import CachePool

if TYPE_CHECKING:
    from ._core import Engine

MAX_KNOWN_SILENCES = 256


class Activity:
    """Which threads are computing: closing a model waits for them, but not for who holds a stream and reads nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: dict[int, int] = {}
        self._then: Callable[[], None] | None = None

    def enter(self) -> None:
        own = threading.get_ident()
        with self._changed:
            self._threads[own] = self._threads.get(own, 0) + 1

    def leave(self) -> None:
        own = threading.get_ident()
        with self._changed:
            self._threads[own] -= 1
            if not self._threads[own]:
                del self._threads[own]
            then = self._then if not self._threads else None
            self._changed.notify_all()
        if then is not None:
            then()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call then once nobody computes: now, after waiting, or at the end of what this thread itself is computing."""
        own = threading.get_ident()
        with self._changed:
            while self._threads and own not in self._threads:
                self._changed.wait()
            if self._threads:
                self._then = then
                return
        then()


class Silences:
    """Scores of options after silence, by everything that they depend on; the latest are kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, list[float]] = OrderedDict()

    def get(self, key: Hashable) -> list[float] | None:
        return self._known.get(key)

    def put(self, key: Hashable, scores: list[float]) -> None:
        self._known[key] = scores
        while len(self._known) > MAX_KNOWN_SILENCES:
            self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._known)


class Loaded:
    """What a loaded model gives to every question.

    load_s: seconds that loading took.  adapters_hear: see CachePool.  find_damage() says what is wrong with the model's
    file, if anything is; it is asked when the model gives NaN.
    """

    def __init__(
        self, engine: Engine, load_s: float, find_damage: Callable[[], str | None], *, adapters_hear: bool
    ) -> None:
        self.engine, self.load_s, self.find_damage = engine, load_s, find_damage
        self._pid = os.getpid()
        self.encoder = AudioEncoder(engine)
        self.pool = CachePool(engine, self.encoder, adapters_hear=adapters_hear)
        self.computing = Activity()
        self.silences = Silences()

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that loaded the model: its locks may be held there for good."""
        return os.getpid() != self._pid
