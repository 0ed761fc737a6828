"""Clips to audio embeddings, each clip once."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
class Silence:
    """What a model was trained to hear after a clip.

    Clips shorter than heard_s are followed by silence that the language model hears too, up to that
    length; further silence, up to encoder_s, is seen by the encoder alone and its tokens are left out.
    """

    heard_s: float = 0.0
    encoder_s: float = 0.0


NO_SILENCE = Silence()


@dataclass(frozen=True)
class EncodedClip:
    """A clip's embedding; the first n_tokens of it are heard, which are seconds long, silence included."""

    embedding: AudioEmbedding
    n_tokens: int
    seconds: float

    @property
    def is_whole(self) -> bool:
        return self.n_tokens == self.embedding.n_tokens


class AudioEncoder:
    """Encodes clips and remembers the latest embeddings by the clips' content.

    At most MAX_CLIPS clips and MAX_CACHED_TOKENS audio tokens (n_embd floats each) are kept.
    """

    def __init__(self, engine: Engine, silence: Silence = NO_SILENCE) -> None:
        self._engine = engine
        self._silence = silence
        self._cache: OrderedDict[str, EncodedClip] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, audio: Audio, session: Session | None = None) -> EncodedClip:
        """session.cancel() stops it.

        Raises AudioError for a model without audio and for a clip that gives no token, CancelledError.
        """
        with self._lock:
            found = self._cache.get(audio.content_id)
            if found is not None:
                self._cache.move_to_end(audio.content_id)
                return found
            self._need_audio()
            heard = self._hear(audio, session)
            if heard.n_tokens <= 0:
                raise AudioError(f"{audio.name} gave no audio tokens: it is too short for this model")
            self._cache[audio.content_id] = heard
            while len(self._cache) > 1 and (len(self._cache) > MAX_CLIPS or self._tokens() > MAX_CACHED_TOKENS):
                self._cache.popitem(last=False)
            return heard

    def is_cached(self, audio: Audio) -> bool:
        return audio.content_id in self._cache

    def audible_seconds(self, audio: Audio) -> float:
        """Seconds of the clip that the model hears: all, or those before its reference stops listening."""
        limit = self._engine.max_samples
        return min(audio.seconds, limit / self._engine.sample_rate) if limit else audio.seconds

    def estimate_tokens(self, audio: Audio) -> int:
        """Tokens that a long clip will give, told from its first 30 s: a lower bound, cheap for hours."""
        self._need_audio()
        rate = self._engine.sample_rate
        samples = audio.samples(rate)[: self._engine.max_samples or None]
        if self.is_cached(audio) or len(samples) <= 2 * PROBE_SECONDS * rate:
            return 0
        head = self._engine.count_audio_tokens(samples[: PROBE_SECONDS * rate])
        return head * (len(samples) // (PROBE_SECONDS * rate))

    def _hear(self, audio: Audio, session: Session | None) -> EncodedClip:
        rate = self._engine.sample_rate
        samples = audio.samples(rate)
        heard = max(len(samples), round(self._silence.heard_s * rate))
        padded = max(heard, round(self._silence.encoder_s * rate))
        if padded > len(samples):  # np.pad copies even when there is nothing to add
            samples = np.pad(samples, (0, padded - len(samples)))
        embedding = self._engine.encode_audio(samples, session=session)
        seconds = max(audio.seconds, heard / rate)
        if window := PADDED_TO_SECONDS.get(self._engine.projector):
            seconds = max(seconds, window * math.ceil(heard / rate / window))
        if limit := self._engine.max_samples:
            seconds = min(seconds, limit / rate)
        return EncodedClip(embedding, round(embedding.n_tokens * heard / padded), seconds)

    def _tokens(self) -> int:
        return sum(heard.n_tokens for heard in self._cache.values())

    def _need_audio(self) -> None:
        if not self._engine.has_audio or not self._engine.sample_rate:
            raise AudioError("this model was loaded without an audio projector: give mmproj")
