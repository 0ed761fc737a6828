"""Clips to audio embeddings, each clip once."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import AudioError
from .clip import Audio

if TYPE_CHECKING:
    from .._core import AudioEmbedding, Engine, Session

MAX_CLIPS = 16
MAX_CACHED_TOKENS = 32768
PROBE_SECONDS = 30
PADDED_TO_SECONDS = {"voxtral": 30}
"""Projector types whose reference lets the model hear the silence up to a multiple of so many seconds."""


@dataclass(frozen=True)
class EncodedClip:
    """A clip's embedding, and how many seconds are heard in it, silence included."""

    embedding: AudioEmbedding
    seconds: float

    @property
    def n_tokens(self) -> int:
        return self.embedding.n_tokens


class AudioEncoder:
    """Encodes clips and remembers the latest embeddings by the clips' content.

    At most MAX_CLIPS clips and MAX_CACHED_TOKENS audio tokens (n_embd floats each) are kept.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache: OrderedDict[str, EncodedClip] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, audio: Audio, session: Session | None = None) -> EncodedClip:
        """session.cancel() stops it.  Raises AudioError for a clip that gives no token, CancelledError."""
        with self._lock:
            found = self._cache.get(audio.content_id)
            if found is not None:
                self._cache.move_to_end(audio.content_id)
                return found
            clip = self._encode(audio, session)
            if clip.n_tokens <= 0:
                raise AudioError(f"{audio.name} gave no audio tokens: it is too short for this model")
            self._cache[audio.content_id] = clip
            while len(self._cache) > 1 and (len(self._cache) > MAX_CLIPS or self._tokens() > MAX_CACHED_TOKENS):
                self._cache.popitem(last=False)
            return clip

    def is_cached(self, audio: Audio) -> bool:
        return audio.content_id in self._cache

    def audible_seconds(self, audio: Audio) -> float:
        """Seconds of the clip that the model hears: all, or those before its reference stops listening."""
        limit = self._engine.max_samples
        return min(audio.seconds, limit / self._engine.sample_rate) if limit else audio.seconds

    def estimate_tokens(self, audio: Audio) -> int:
        """Tokens that a long clip will give, told from its first 30 s: a lower bound, cheap for hours."""
        rate = self._engine.sample_rate
        samples = audio.samples(rate)[: self._engine.max_samples or None]
        if self.is_cached(audio) or len(samples) <= 2 * PROBE_SECONDS * rate:
            return 0
        head = self._engine.count_audio_tokens(samples[: PROBE_SECONDS * rate])
        return head * (len(samples) // (PROBE_SECONDS * rate))

    def _encode(self, audio: Audio, session: Session | None) -> EncodedClip:
        rate = self._engine.sample_rate
        samples = audio.samples(rate)
        embedding = self._engine.encode_audio(samples, session=session)
        seconds = max(audio.seconds, len(samples) / rate)
        if window := PADDED_TO_SECONDS.get(self._engine.projector):
            seconds = max(seconds, window * math.ceil(len(samples) / rate / window))
        if limit := self._engine.max_samples:
            seconds = min(seconds, limit / rate)
        return EncodedClip(embedding, seconds)

    def _tokens(self) -> int:
        return sum(clip.n_tokens for clip in self._cache.values())
