"""A clip of sound: the object that chats and sessions take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .sources import describe_source

if TYPE_CHECKING:
    from .decode import Decoded
    from .mono import Channel


class Audio:
    """A clip of sound.

    source: a path, bytes of a sound file or of a video with sound, a binary file object, or ``(samples, sample_rate)``
    with samples float or integer, [frames] or [frames, channels]; also (rate, samples) as SciPy and Gradio give it, and
    the dicts of Hugging Face datasets ("array" and "sampling_rate", "bytes", "path").  name: how messages call it.

    channel: "left", "right", a number from 1, or "mix"; None is the mix of all, but the loudest channel where they
    cancel each other out.

    It is decoded at once, so every problem shows here: as an AudioError if there is nothing to hear, as a
    RuntimeWarning if some of it is damaged or missing.
    """

    def __init__(self, source: Any, *, name: str | None = None, channel: Channel = None) -> None:
        from .decode import read_audio  # whoever only names the type does not wait for the decoders

        self.name = describe_source(source) if name is None else name
        self._decoded = read_audio(source, self.name, channel)
        whole = self._decoded.sample_rate == self._decoded.source_rate
        again = not whole and isinstance(source, str | os.PathLike | bytes | tuple | list)
        self._again = (source, channel) if again else None
        self._resampled: dict[int, NDArray[np.float32]] = {}
        self._content_id: str | None = None

    @property
    def seconds(self) -> float:
        return self._decoded.seconds

    @property
    def sample_rate(self) -> int:
        """Hz, of the source."""
        return self._decoded.source_rate

    @property
    def channels(self) -> int:
        """Channels of the source, before the mix-down."""
        return self._decoded.channels

    @property
    def notes(self) -> tuple[str, ...]:
        """What was damaged or missing, or done about it."""
        return self._decoded.notes

    @property
    def content_id(self) -> str:
        """sha256 of the decoded sound: equal sound has an equal id wherever it came from."""
        from .mono import content_id

        if self._content_id is None:
            self._content_id = content_id(self._decoded.samples, self.sample_rate)
        return self._content_id

    def samples(self, sample_rate: int | None = None) -> NDArray[np.float32]:
        """Mono float32 [frames] at sample_rate (Hz; None: the source's own), not to be written to.

        Of a clip with more than 2 ** 25 frames (12 min at 48 kHz) only 16 kHz are kept; for a higher rate its source is
        decoded again.  Raises AudioError where that cannot be done.
        """
        rate = self.sample_rate if sample_rate is None else int(sample_rate)
        found = self._resampled.get(rate)
        if found is None:
            found = self._at(rate)
            self._resampled = {rate: found}
        shown = found.view()
        shown.flags.writeable = False  # conversations share it
        return shown

    def __repr__(self) -> str:
        channels = f"{self.channels} channel{'' if self.channels == 1 else 's'}"
        return f"Audio({self.name!r}, {self.seconds:.2f} s, {self.sample_rate} Hz, {channels})"

    def _at(self, rate: int) -> NDArray[np.float32]:
        from .decode import read_audio, resample

        kept: Decoded = self._decoded
        if rate <= kept.sample_rate or kept.sample_rate == kept.source_rate:
            return resample(kept.samples, kept.sample_rate, rate)
        if self._again is None:
            raise AudioError(
                f"of {self.name} only {kept.sample_rate} Hz are kept: it is long, and came from an open file"
            )
        source, channel = self._again
        return read_audio(source, self.name, channel, at=rate).samples
