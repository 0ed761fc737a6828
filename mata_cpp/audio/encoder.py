"""Clips to audio embeddings, each clip once."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError, CancelledError
from .clip import Audio

if TYPE_CHECKING:
    from .._core import AudioEmbedding, Cancel, Engine

MAX_BYTES = 256 << 20
"""Of embeddings that are remembered: 20 minutes of sound for a model of 3 B, hours for the default one."""

PROBE_SECONDS = 30

WAIT_S = 0.05
"""How often a thread that waits for another's work looks whether it was cancelled."""


@dataclass(frozen=True)
class Encoding:
    """An embedding, and the seconds that are heard in it, silence included."""

    embedding: AudioEmbedding
    heard_seconds: float

    @property
    def nbytes(self) -> int:
        return 4 * self.embedding.n_tokens * self.embedding.n_embd


@dataclass(frozen=True)
class EncodedClip:
    """A clip that a model has heard already: what ``AudioModel.encode`` gives; it can stand wherever an Audio can.

    As long as it is held, questions about it need no encoder.  A model that did not make it encodes the clip again.
    """

    audio: Audio
    encoding: Encoding = field(repr=False)
    encoder: AudioEncoder = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.audio.name

    @property
    def seconds(self) -> float:
        """Of the source."""
        return self.audio.seconds

    @property
    def heard_seconds(self) -> float:
        """What the model hears: see ClipInfo."""
        return self.encoding.heard_seconds

    @property
    def content_id(self) -> str:
        return self.audio.content_id

    @property
    def tokens(self) -> int:
        """Audio tokens."""
        return self.encoding.embedding.n_tokens

    @property
    def windows(self) -> int:
        """Encoder windows the clip was cut into."""
        return self.encoding.embedding.n_windows

    @property
    def nbytes(self) -> int:
        """Of the embeddings."""
        return self.encoding.nbytes

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """[tokens, n_embd], a read-only copy."""
        return self.encoding.embedding.embeddings

    @property
    def positions(self) -> int:
        """Positions of the context that the clip takes, the model's own markers around it included."""
        embedding = self.encoding.embedding
        return len(embedding.begin) + embedding.n_tokens + len(embedding.end)


Clip = Audio | EncodedClip


class AudioEncoder:
    """Encodes clips for one model and remembers the latest embeddings by the clips' content.

    At most max_bytes of embeddings are kept, but always the last one.  Any number of threads may use it: a clip that
    several ask for at once is encoded once.
    """

    def __init__(self, engine: Engine, max_bytes: int = MAX_BYTES) -> None:
        self._engine = engine
        self._max_bytes = max_bytes
        self._cache: OrderedDict[str, Encoding] = OrderedDict()
        self._nbytes = 0
        self._running: set[str] = set()
        self._changed = threading.Condition()
        self.n_runs = 0
        """How often the encoder has run."""

    def encode(self, clip: Clip, cancel: Cancel | None = None) -> EncodedClip:
        """Raises AudioError for a clip that gives no token, ContextFullError, CancelledError."""
        if isinstance(clip, EncodedClip):
            if clip.encoder is self:
                return clip
            clip = clip.audio
        key = clip.content_id
        with self._changed:
            while key not in self._cache and key in self._running:
                self._changed.wait(WAIT_S)
                if cancel is not None and cancel.cancelled:
                    raise CancelledError("cancelled")
            found = self._cache.get(key)
            if found is not None:
                self._cache.move_to_end(key)
                return EncodedClip(clip, found, self)
            self._running.add(key)
        try:
            encoding = self._run(clip, cancel)
            with self._changed:
                self._remember(key, encoding)
        finally:
            with self._changed:
                self._running.discard(key)
                self._changed.notify_all()
        return EncodedClip(clip, encoding, self)

    def is_known(self, clip: Clip) -> bool:
        """Whether encode() would find it ready."""
        return isinstance(clip, EncodedClip) and clip.encoder is self or clip.content_id in self._cache

    def forget(self) -> None:
        """Drop what is remembered; clips that are held stay."""
        with self._changed:
            self._cache.clear()
            self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Of the embeddings that are remembered."""
        return self._nbytes

    def audible_seconds(self, clip: Clip) -> float:
        """Seconds of the clip that the model hears: all, or those before its reference stops listening."""
        limit = self._engine.max_samples
        return min(clip.seconds, limit / self._engine.sample_rate) if limit else clip.seconds

    def estimate_tokens(self, clip: Clip) -> int:
        """Tokens that a long clip will give, told from its first 30 s: a lower bound, cheap for hours; 0 for a short
        clip or one that is known."""
        if self.is_known(clip):
            return 0
        audio = clip.audio if isinstance(clip, EncodedClip) else clip
        rate = self._engine.sample_rate
        samples = audio.samples(rate)[: self._engine.max_samples or None]
        if len(samples) <= 2 * PROBE_SECONDS * rate:
            return 0
        head = self._engine.count_audio_tokens(samples[: PROBE_SECONDS * rate])
        return head * (len(samples) // (PROBE_SECONDS * rate))

    # -------------------------------------------------------------------------------------------

    def _run(self, audio: Audio, cancel: Cancel | None) -> Encoding:
        rate = self._engine.sample_rate
        samples = audio.samples(rate)
        self.n_runs += 1
        embedding = self._engine.encode_audio(samples, cancel=cancel)
        if embedding.n_tokens <= 0:
            raise AudioError(f"{audio.name} gave no audio tokens: it is too short for this model")
        seconds = max(audio.seconds, len(samples) / rate)
        if padded := self._engine.padded_samples:
            seconds = max(seconds, padded / rate * math.ceil(len(samples) / padded))
        if limit := self._engine.max_samples:
            seconds = min(seconds, limit / rate)
        return Encoding(embedding, seconds)

    def _remember(self, key: str, encoding: Encoding) -> None:
        self._cache[key] = encoding
        self._nbytes += encoding.nbytes
        while len(self._cache) > 1 and self._nbytes > self._max_bytes:
            _, oldest = self._cache.popitem(last=False)
            self._nbytes -= oldest.nbytes
