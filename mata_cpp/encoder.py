"""Clips to audio embeddings, each clip once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from .audio import Audio
from .errors import AudioError

if TYPE_CHECKING:
    from ._core import AudioEmbedding, Engine

MAX_CLIPS = 16
MAX_CACHED_TOKENS = 32768
PROBE_SECONDS = 30


class AudioEncoder:
    """Encodes clips and remembers the latest embeddings by the clips' content.

    At most MAX_CLIPS clips and MAX_CACHED_TOKENS audio tokens (n_embd floats each) are kept.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache: OrderedDict[str, AudioEmbedding] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, audio: Audio) -> AudioEmbedding:
        """Raises AudioError for a model without audio and for a clip that gives no token."""
        with self._lock:
            found = self._cache.get(audio.content_id)
            if found is not None:
                self._cache.move_to_end(audio.content_id)
                return found
            self._need_audio()
            embedding = self._engine.encode_audio(audio.samples(self._engine.sample_rate))
            if embedding.n_tokens <= 0:
                raise AudioError(f"{audio.name} gave no audio tokens: it is too short for this model")
            self._cache[audio.content_id] = embedding
            while len(self._cache) > 1 and (len(self._cache) > MAX_CLIPS or self._tokens() > MAX_CACHED_TOKENS):
                self._cache.popitem(last=False)
            return embedding

    def is_cached(self, audio: Audio) -> bool:
        return audio.content_id in self._cache

    def estimate_tokens(self, audio: Audio) -> int:
        """Tokens that a long clip will give, told from its first 30 s: a lower bound, cheap for hours."""
        self._need_audio()
        rate = self._engine.sample_rate
        samples = audio.samples(rate)
        if self.is_cached(audio) or len(samples) <= 2 * PROBE_SECONDS * rate:
            return 0
        head = self._engine.encode_audio(samples[: PROBE_SECONDS * rate])
        return int(head.n_tokens * (len(samples) // (PROBE_SECONDS * rate)))

    def _tokens(self) -> int:
        return sum(embedding.n_tokens for embedding in self._cache.values())

    def _need_audio(self) -> None:
        if not self._engine.has_audio or not self._engine.sample_rate:
            raise AudioError("this model was loaded without an audio projector: give mmproj")
