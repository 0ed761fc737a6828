"""The other side of a contrast: a prompt that differs from the question's own, in a conversation of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .conversation import Beside, Conversation, Prefill
from .decoding.contrast.pair import Begin, Pair
from .decoding.contrast.registry import READ_RELIANCE, RULES
from .decoding.contrast.reliance import Reliance
from .decoding.contrast.rule import Hearing
from .errors import AudioError, MataError
from .readout.effect import MataEffect, effect_of

if TYPE_CHECKING:
    from ._core import Cancel
    from .cache import CacheImage
    from .decoding.contrast.rules import Contrast
    from .decoding.plain import Generation
    from .loaded import Loaded
    from .mata import Boost
    from .prompts.builder import Message
    from .session import Session


class Branch:
    """For one question, whose messages these are; conversation is the question's own.  MATA is off on this side.

    Raises AudioError where there is no clip that the contrast could be about, ValueError, MataError.
    """

    def __init__(
        self, loaded: Loaded, conversation: Conversation, contrast: Contrast, messages: Sequence[Message]
    ) -> None:
        if contrast.text is None and not any(message.clips for message in messages):
            raise AudioError(f"contrast {contrast.name}: there is no audio in this conversation yet")
        hearing = Hearing(loaded.engine.sample_rate, loaded.encoder.audible_seconds)
        self._engine, self._encoder, self._contrast = loaded.engine, loaded.encoder, contrast
        self._own = conversation
        self._messages = RULES[contrast.name].other(messages, contrast, hearing)
        self._other = Conversation(loaded.engine, loaded.encoder, loaded.pool, conversation.prompts.fresh())
        self._reliance = Reliance(loaded.engine) if contrast.name in READ_RELIANCE else None
        self._encode_s = 0.0

    @property
    def reads_attention(self) -> bool:
        """Whether the contrast needs the attention of the question's own sequence."""
        return self._reliance is not None

    def beside(self, cancel: Cancel) -> Beside:
        """What the question has to claim room for; all clips are encoded.  Raises as Conversation.prefill does."""
        plan = self._other.plan(self._messages, cancel=cancel)
        encoded = {}
        for key, clip in plan.clips.items():
            self._other.check_length(clip)
            known = self._encoder.is_known(clip)
            encoded[key] = self._encoder.encode(clip, cancel)
            self._encode_s += 0.0 if known else encoded[key].encoding.embedding.encode_s
        return Beside(plan.keys, encoded)

    def watch(self, session: Session, boost: Boost | None) -> None:
        """Read what the contrast needs of the question's own sequence, and what MATA does to it, from its next feed."""
        assert self._reliance is not None
        self._reliance.start(session, () if boost is None else boost.layers)

    def effect(self, session: Session, boost: Boost) -> MataEffect:
        """Of MATA on the row that was fed last."""
        assert self._reliance is not None
        return effect_of(session, self._reliance.rows_of(boost.layers))

    def prefill(self, own: Prefill, image: CacheImage, forks: int, cancel: Cancel) -> Prefill:
        """Bring the other prompt into the cache, in the room that image's question has claimed; own is what that took,
        and what comes back has the seconds of both."""
        answer = image.target - image.session.n_past
        other = self._other.prefill(self._messages, None, answer=answer, forks=forks, cancel=cancel, of=image)
        encode_s = own.encode_s + self._encode_s + other.encode_s
        return replace(own, encode_s=encode_s, prefill_s=own.prefill_s + other.prefill_s)

    def pair(self, session: Session) -> Pair:
        """Both sequences; session is the question's own."""
        return Pair(self._engine, session, self._other.session, self._contrast, self._reliance)

    def begin(self, session: Session) -> Begin:
        """What makes the tokens of an answer."""
        return self.pair(session).begin

    def record(self, generation: Generation) -> None:
        """Note in the cache what both sequences were fed."""
        self._other.record(generation)

    def running(self, generation: Generation) -> None:
        """The other side's room is given back once the answer has ended, whether anyone takes it or not."""
        self._other.image.generations = [generation.core]

    def release(self) -> None:
        if self._other.has_image:
            self._other.release()
        if self._reliance is not None and self._own.has_image:
            with contextlib.suppress(MataError):  # once it has ended, its sequence may be given to another question
                self._own.session.read_with(None)
