"""A clip of sound: the object that chats and sessions take."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decode import describe_source, read_audio, resample


class Audio:
    """A clip of sound.

    source: a path, bytes of an audio file, a binary file object, or ``(samples, sample_rate)`` with
    samples float or integer, [frames] or [frames, channels].  name: how messages call it.  It is decoded
    at once, so every problem shows here as an AudioError.
    """

    def __init__(self, source: Any, *, name: str | None = None) -> None:
        self.name = describe_source(source) if name is None else name
        self._decoded = read_audio(source, self.name)
        self._resampled: dict[int, NDArray[np.float32]] = {}
        self._content_id: str | None = None

    @property
    def seconds(self) -> float:
        return self._decoded.seconds

    @property
    def sample_rate(self) -> int:
        """Hz, of the source."""
        return self._decoded.sample_rate

    @property
    def channels(self) -> int:
        """Channels of the source, before the mix-down."""
        return self._decoded.channels

    @property
    def content_id(self) -> str:
        """sha256 of the decoded sound: equal sound has an equal id wherever it came from."""
        if self._content_id is None:
            digest = hashlib.sha256(f"{self.sample_rate} float32 ".encode())
            digest.update(np.ascontiguousarray(self._decoded.samples).data)
            self._content_id = digest.hexdigest()
        return self._content_id

    def samples(self, sample_rate: int | None = None) -> NDArray[np.float32]:
        """Mono float32 [frames] at sample_rate (Hz; None: the source's own)."""
        rate = self.sample_rate if sample_rate is None else int(sample_rate)
        found = self._resampled.get(rate)
        if found is None:
            found = resample(self._decoded.samples, self.sample_rate, rate)
            self._resampled = {rate: found}
        return found

    def __repr__(self) -> str:
        return f"Audio({self.name!r}, {self.seconds:.2f} s, {self.sample_rate} Hz, {self.channels} channel(s))"
