"""What the KV cache holds: images of its sequences, and the pool that shares its room among conversations.

An image remembers what was fed into a sequence, unit by unit.  Idle images stay, so that a later question finds what
its prompt has in common with them (the system message, the clip, earlier turns) already computed; the oldest go when
room is needed.  All sequences share n_ctx positions, and a shared prefix takes them once.
"""

from __future__ import annotations

import gc
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from .audio.encoder import AudioEncoder, EncodedClip
from .errors import CancelledError, ContextFullError
from .mata import Mata
from .session import Make, Session

if TYPE_CHECKING:
    from . import _core

Key = int | str
"""A prompt unit in an image: a token, or the content id of a clip."""

MIN_ANSWER = 1
"""Positions that must be left for an answer."""

ROOM_TO_ANSWER = 256
"""And those that should be."""

NO_SEQUENCE = "no sequence is left for the other prompt of the contrast: close sessions, or load with more (n_seq_max)"

WAIT_S = 0.02
"""How often someone who waits for room looks whether it was cancelled, or an answer that nobody takes has ended."""


class Running(Protocol):
    """An answer that is being generated, and may have ended though nobody has taken all of it."""

    @property
    def finished(self) -> bool: ...


def common_length(a: Sequence[Key], b: Sequence[Key]) -> int:
    """How many keys are the same from the start."""
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count


class CacheImage:
    """One sequence of the cache and what is in it.  Made by the pool; one question at a time uses it.

    keys are what was fed, ends the position after each of them.  text is the same as rendered text where that is known,
    pending are tokens of that text which were sampled and not fed.  The first n_plain keys were computed without MATA:
    they are the same for every setting, and may be shared.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.keys: list[Key] = []
        self.ends: list[int] = []
        self.text: str | None = None
        self.pending: list[int] = []
        self.n_plain = 0
        self.target = 0  # positions that a running question may take
        self.promised = 0  # and those kept for a companion that is still to be opened
        self.forks = 0  # and sequences, besides its own
        self.generations: Sequence[Running] = []
        self.adapters = True

    @property
    def lost(self) -> bool:
        """Whether the pool has given its room to others."""
        return self.session.closed

    @property
    def intact(self) -> bool:
        """False when an interrupt came between a feed and its entry here."""
        return not self.lost and self.session.n_past == self.position(len(self.keys))

    def position(self, n_keys: int) -> int:
        """The position after the first n_keys keys."""
        return self.ends[n_keys - 1] if n_keys else 0

    def append(self, run: list[int] | EncodedClip, *, plain: bool) -> None:
        """Note a run that was fed.  plain: MATA had no part in it (the row that predicts is the last one)."""
        before, end = len(self.keys), self.session.n_past
        if isinstance(run, list):
            self.keys += run
            self.ends.extend(range(end - len(run) + 1, end + 1))
        else:
            self.keys.append(run.content_id)
            self.ends.append(end)
        if self.n_plain == before:
            self.n_plain = len(self.keys) - (0 if plain else 1)

    def append_generated(self, tokens: Sequence[int], *, plain: bool) -> None:
        """Note tokens that a generation fed."""
        first = self.position(len(self.keys))
        if plain and self.n_plain == len(self.keys):
            self.n_plain += len(tokens)
        self.keys += tokens
        self.ends.extend(range(first + 1, first + len(tokens) + 1))

    def cut(self, n_keys: int) -> None:
        """Keep the first n_keys keys.  Raises ValueError when the model's memory cannot do so."""
        self.session.truncate(self.position(n_keys))
        del self.keys[n_keys:], self.ends[n_keys:]
        self.n_plain = min(self.n_plain, n_keys)
        self.text, self.pending = None, []

    def fork(self, n_keys: int) -> CacheImage:
        """An image that shares the first n_keys keys.  Raises ContextFullError, ValueError as cut does."""
        twin = CacheImage(self.session.share(self.position(n_keys)))
        twin.keys, twin.ends = self.keys[:n_keys], self.ends[:n_keys]
        twin.n_plain = min(self.n_plain, n_keys)
        twin.adapters = self.adapters
        return twin

    @property
    def growth(self) -> int:
        """Positions that a running question may still take."""
        return 0 if self.finished else max(0, self.target - self.session.n_past) + self.promised

    @property
    def finished(self) -> bool:
        """Whether a question has computed all that it will, though nobody may have taken its answer yet."""
        return bool(self.generations) and all(generation.finished for generation in self.generations)


class CachePool:
    """The images of one model's cache, and who may take its room.

    Questions that do not fit beside those that run wait in the order of asking.
    """

    def __init__(self, engine: _core.Engine, encoder: AudioEncoder, *, adapters_hear: bool = False) -> None:
        """adapters_hear: the model's LoRA adapters are for sound, and off in a conversation without any."""
        self._engine, self._encoder = engine, encoder
        self.adapters_hear = adapters_hear
        self._changed = threading.Condition(threading.RLock())
        self._idle: OrderedDict[int, CacheImage] = OrderedDict()  # by id; the latest last
        # By questions that wait or run.  Weak: what an interrupt leaves behind in the middle of open() is given back.
        self._taken: WeakValueDictionary[int, CacheImage] = WeakValueDictionary()
        self._queue: deque[object] = deque()
        self._can_cut = engine.can_cut
        self._spared: tuple[CacheImage | None, ...] = ()  # not to be evicted for their own sake

    def new_session(self, mata: Mata | None = None) -> Session:
        """A plain session, for which an idle image goes where all sequences are in use.  Raises ContextFullError."""
        try:
            return Session(self._engine, self._encoder, mata, with_room=self.with_room)
        except ContextFullError:
            gc.collect()  # sessions that nobody can reach any more
            return Session(self._engine, self._encoder, mata, with_room=self.with_room)

    def with_room(self, make: Make) -> _core.Session:
        """A new sequence; idle images go where none is left.  Raises ContextFullError."""
        while True:
            try:
                return make()
            except ContextFullError:
                if not self._evict(waiting=True):
                    raise

    # Taking and giving back ------------------------------------------------------------------

    def claim(self, image: CacheImage | None) -> CacheImage | None:
        """The image for a question of its owner; None where it is gone or was left in the middle of something."""
        if image is None:
            return None
        with self._changed:
            self._idle.pop(id(image), None)
            self._taken.pop(id(image), None)
            if not image.intact:
                image.session.close()
                return None
            image.generations, image.target, image.promised, image.forks = [], 0, 0, 0
            self._taken[id(image)] = image
            return image

    def release(self, image: CacheImage) -> None:
        """The question has ended: the image is idle."""
        with self._changed:
            self._taken.pop(id(image), None)
            image.generations, image.target, image.promised, image.forks = [], 0, 0, 0
            if not image.lost:
                self._idle[id(image)] = image
                self._idle.move_to_end(id(image))
            self._changed.notify_all()

    def drop(self, image: CacheImage) -> None:
        """Forget the image, for good."""
        with self._changed:
            self._taken.pop(id(image), None)
            self._idle.pop(id(image), None)
            image.session.close()
            self._changed.notify_all()

    def forget(self) -> None:
        """Drop all idle images."""
        while self._evict():
            pass

    @contextmanager
    def held(self, image: CacheImage) -> Iterator[bool]:
        """While the block runs the image is not taken away; whether it is still there."""
        with self._changed:
            yield not image.lost

    def shared_length(self, keys: Sequence[Key]) -> int:
        """How many keys from the start some image has, as far as they may be shared."""
        with self._changed:
            return self._best(keys, True)[1]

    def open(
        self,
        image: CacheImage | None,
        keys: Sequence[Key],
        keep: int,
        encoded: Mapping[str, EncodedClip],
        answer: int,
        forks: int,
        cancel: _core.Cancel,
        *,
        adapters: bool = True,
        beside: int = 0,
        of: CacheImage | None = None,
    ) -> tuple[CacheImage, int] | None:
        """An image that holds a beginning of keys and nothing else, with room for the rest and answer more positions,
        and with so many sequences beside its own, fed with the model's adapters or without.

        image: the question's own (claimed), which holds the first keep keys; None: a new one.  The second value
        says how many keys are there.  None is returned where the image was lost while waiting, or the rest has clips
        that are not among encoded: the question is to be planned again.

        beside: positions of the prompt of a companion, a second sequence of the same question with an answer as long;
        its room is claimed as well, and forks counts it and its forks.  of: open that companion, of this image: it does
        not wait.  Raises ContextFullError, CancelledError.
        """
        ticket = object()
        done = False
        with self._changed:
            self._queue.append(ticket)
            try:
                while True:
                    if cancel.cancelled:
                        raise CancelledError("cancelled")
                    if image is not None and image.lost:
                        return None
                    if of is not None or (self._queue[0] is ticket and self._has_sequences(image, forks)):
                        image, keep = self._with_prefix(image, keys, keep, adapters)
                        if image is None and of is not None:
                            raise ContextFullError(NO_SEQUENCE)
                        if image is not None:
                            rest = keys[keep:]
                            if any(isinstance(key, str) and key not in encoded for key in rest):
                                return None
                            total = image.position(keep) + positions(rest, encoded)
                            if self._make_room(image, total, answer, forks, beside, of):
                                done = True
                                return image, keep
                    self._changed.wait(WAIT_S)
            finally:
                self._queue.remove(ticket)
                if not done and image is not None:
                    (self.release if image.keys else self.drop)(image)  # an empty one is of no use to anybody
                self._changed.notify_all()

    # -------------------------------------------------------------------------------------------

    def _images(self) -> list[CacheImage]:
        return [image for image in (*self._idle.values(), *self._taken.values()) if not image.lost]

    def _best(self, keys: Sequence[Key], adapters: bool) -> tuple[CacheImage | None, int]:
        """The image that shares most with keys.  The last key is not shared: its row has to be computed."""
        best, length = None, 0
        for image in self._images():
            if image.adapters != adapters:
                continue
            count = min(common_length(image.keys, keys), image.n_plain, len(keys) - 1)
            if count > length and (self._can_cut or count == len(image.keys)):
                best, length = image, count
        return best, length

    def _with_prefix(
        self, image: CacheImage | None, keys: Sequence[Key], keep: int, adapters: bool
    ) -> tuple[CacheImage | None, int]:
        """The image cut to its first keep keys, or a new one that shares more; no image if it has to wait for one."""
        source, length = self._best(keys, adapters)
        self._spared = (source, image)
        try:
            return self._prefixed(image, source, length, keep, adapters)
        finally:
            self._spared = ()

    def _prefixed(
        self, image: CacheImage | None, source: CacheImage | None, length: int, keep: int, adapters: bool
    ) -> tuple[CacheImage | None, int]:
        if source is not None and length > keep and source is not image:
            try:
                twin = source.fork(length)
            except ValueError:
                self._can_cut = False
            except ContextFullError:
                pass
            else:
                if image is not None:
                    self.drop(image)
                self._taken[id(twin)] = twin
                return twin, length
            self._spared = (image,)
        if image is not None and keep < len(image.keys):
            try:
                image.cut(keep)
            except ValueError:
                self._can_cut = False
                self.drop(image)
                image, keep = None, 0
        if image is None:
            try:
                session = Session(self._engine, self._encoder, with_room=self.with_room)
            except ContextFullError:
                if not any(not other.lost for other in self._taken.values()):
                    raise
                return None, 0
            image, keep = CacheImage(session), 0
            image.adapters = adapters
            if not adapters:
                session.use_adapters(False)
            self._taken[id(image)] = image
        return image, keep

    def _has_sequences(self, image: CacheImage | None, forks: int) -> bool:
        """Whether the sequences suffice for one more question beside those that run; also if none runs."""
        running = [
            other for other in self._taken.values() if other is not image and other.target and not other.finished
        ]
        needed = 1 + forks + sum(1 + other.forks for other in running)
        return not running or needed <= self._engine.n_seq_max

    def _make_room(
        self, image: CacheImage, total: int, answer: int, forks: int, beside: int, of: CacheImage | None
    ) -> bool:
        """Whether there is room for total positions in image and an answer; then it is the image's.  beside, of: see
        open.

        False: others run, and will leave some.  Raises ContextFullError.
        """
        n_ctx = self._engine.n_ctx
        n_answers = 2 if beside else 1
        others = [other for other in self._taken.values() if other is not image and not other.lost]
        while True:
            used = self._engine.n_used
            free = n_ctx - used - sum(other.growth for other in others) + (0 if of is None else of.promised)
            needed = total - image.session.n_past + beside
            if needed + n_answers * answer <= free:
                _give(image, total + answer, beside and beside + answer, forks, of)
                return True
            if total + beside + n_answers * MIN_ANSWER <= n_ctx:
                if self._evict():
                    continue
                if of is None and any(other.target and not other.finished and not other.lost for other in others):
                    return False
                self._spared = (image,)
                try:
                    if self._evict(waiting=True):
                        continue
                finally:
                    self._spared = ()
                if needed + n_answers * MIN_ANSWER <= free:
                    rest = (free - needed) // n_answers
                    _give(image, total + rest, beside and beside + rest, forks, of)
                    return True
            total += beside + n_answers * MIN_ANSWER
            too_long = total > n_ctx  # whatever others hold
            raise context_full(self._engine, total, 0 if too_long else used - image.session.n_past)

    def _evict(self, *, waiting: bool = False) -> bool:
        """Give up the oldest idle image, or one whose question has ended and waits for its reader; if waiting, also one
        whose question has not begun."""
        with self._changed:
            for key, image in list(self._idle.items()):
                if image not in self._spared:
                    del self._idle[key]
                    if not image.lost:
                        image.session.close()
                        return True
            for key, image in list(self._taken.items()):
                if image.finished and image not in self._spared:
                    del self._taken[key]
                    if not image.lost:
                        image.session.close()
                        return True
            for image in self._taken.values():
                if waiting and not image.target and not image.lost and image not in self._spared:
                    image.session.close()  # its question has not begun, and is planned again
                    return True
        return False


def _give(image: CacheImage, target: int, promised: int, forks: int, of: CacheImage | None) -> None:
    """The room is the image's; of it, what was promised to it is no longer kept by the image that it goes with."""
    image.target, image.promised, image.forks = target, promised, forks
    if of is not None:
        of.promised, of.forks = 0, max(0, of.forks - 1 - forks)


def positions(keys: Sequence[Key], encoded: Mapping[str, EncodedClip]) -> int:
    """Positions that keys take in the context."""
    return sum(encoded[key].positions if isinstance(key, str) else 1 for key in keys)


def context_full(engine: _core.Engine, total: int, others: int = 0, *, at_least: bool = False) -> ContextFullError:
    """The error of a question that needs total positions while other sessions hold others."""
    n_ctx, trained = engine.n_ctx, engine.n_ctx_train
    about = "at least " if at_least else ""
    shared = f" and other sessions hold {others}" if others else ""
    needed = f"the context is full: the conversation needs {about}{total} tokens{shared}, n_ctx is {n_ctx}"
    enough = 1 << math.ceil(math.log2(total + others + ROOM_TO_ANSWER))
    if trained and total + ROOM_TO_ANSWER > trained:
        return ContextFullError(
            f"{needed}, and the model has learned {trained} at most: shorten the audio, ask about it window by window "
            "(ask_windows, --every 30), or start over (reset, /clear)"
        )
    if trained and not others:
        enough = min(enough, trained)
    return ContextFullError(
        f"{needed}; shorten the audio, start over (reset, /clear) or load with n_ctx={enough} (--ctx {enough})"
    )
